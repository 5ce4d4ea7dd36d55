"""What was in work when the process died: kept in a file that outlives it.

A package that gets the process killed would do so again after each restart. So the packages in
work stand in the file `in_work`, from which the next start counts their deaths. The innocent were
in work beside it, so a suspect is tried alone, and only who was in work at too many deaths is set
aside. That is three where the kernel killed for want of memory or the process crashed. Deaths
without a known cause, such as those by `kill -9`, say little, and it takes more of them.

The file is written without any sync: it has to outlive the process, not the machine.
"""

import faulthandler
import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import structlog

SUSPECT_DEATHS: Final = 2
"""From so many deaths on a package is tried alone."""
CLEAR_DEATHS: Final = 3
"""At so many deaths of known cause a package is set aside."""
MOST_DEATHS: Final = 12
"""At so many deaths of whatever cause. A mirror that somebody kills all the time gets on
nevertheless, and whoever keeps dying at the same package would not."""

log = structlog.get_logger(__name__)

_MAGIC: Final = b"npm work"
_HEADER: Final = struct.Struct("<8s40sq")
_CRASH_AT: Final = 4096
"""What faulthandler writes lies from here to the first slot."""
_SLOTS_AT: Final = 65536
_SLOT: Final = struct.Struct("<32sBBBB")
_FREE: Final = bytes(_SLOT.size)
_MANY: Final = 255


class Vitals(NamedTuple):
    """Of the machine: which start of it this is, and how often it killed for want of memory."""

    boot: str
    kills: int | None


def vitals() -> Vitals:
    """Those of this machine, as Linux tells them; a kill within a container is counted, too."""
    boot = _read(Path("/proc/sys/kernel/random/boot_id")).strip()
    counts = dict(line.split(" ", 1) for line in _read(Path("/proc/vmstat")).splitlines())
    return Vitals(boot, int(counts["oom_kill"]) if "oom_kill" in counts else None)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


@dataclass(slots=True)
class Record:
    """A package's deaths: of known cause, and others; whether it was set aside since."""

    clear: int = 0
    others: int = 0
    aside: bool = False

    @property
    def is_suspect(self) -> bool:
        """Whether it is to be tried alone."""
        return self.clear + self.others >= SUSPECT_DEATHS

    @property
    def is_guilty(self) -> bool:
        """Whether it is to be set aside."""
        return self.clear >= CLEAR_DEATHS or self.clear + self.others >= MOST_DEATHS

    def after_death(self, *, clear: bool) -> "Record":
        """The record with one death more."""
        return Record(
            min(self.clear + clear, _MANY), min(self.others + (not clear), _MANY), self.aside
        )


class InWork:
    """The packages in work and those with a record. Used from one event loop.

    Made by `InWork.open`, by whoever holds the data directory's lock.
    """

    def __init__(self, file: int, records: dict[bytes, Record], look: Callable[[], Vitals]) -> None:
        self._file = file
        self._records = records
        self._look = look
        self._slots = {digest: number for number, digest in enumerate(records)}
        self._image = [_packed(digest, records[digest], in_work=False) for digest in records]
        self._free: list[int] = []
        self._watching = False

    @classmethod
    def open(cls, path: Path, look: Callable[[], Vitals] = vitals) -> Self:
        """Count the deaths that the last end was, if it was none in good order.

        A kill at any moment of this leaves them to be counted once.

        Where the file cannot be written, nothing is counted.
        """
        now = look()
        records = _counted(path, now)
        try:
            file = _replaced(path, _content(now, records))
        except OSError as error:
            log.warning("in_work_unwritten", error=str(error))
            file = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        return cls(file, records, look)

    def begin(self, package: str) -> None:
        """The package is in work from now on."""
        digest = _digest(package)
        self._put(digest, self._records.get(digest, Record()), in_work=True)

    def end(self, packages: Iterable[str]) -> None:
        """What came of them is committed; their records are forgotten."""
        ended: list[int] = []
        for digest in map(_digest, packages):
            self._records.pop(digest, None)
            number = self._slots.pop(digest, None)
            if number is not None:
                self._image[number] = _FREE
                ended.append(number)
        if ended:
            self._free += ended
            self._write_slots(min(ended), max(ended) + 1)

    def set_aside(self, package: str) -> None:
        """It is a dead letter; when it is tried again, one more death makes it one again."""
        digest = _digest(package)
        record = Record(CLEAR_DEATHS - 1, aside=True)
        self._records[digest] = record
        self._put(digest, record, in_work=False)

    def record(self, package: str) -> Record | None:
        """Its record; None where it was in work at no death."""
        return self._records.get(_digest(package)) if self._records else None

    def look_around(self) -> None:
        """Take note of what the machine killed so far: it was not us. To be called often."""
        self._write(0, _header(self._look()))

    def watch_crashes(self) -> None:
        """Have Python note in the file where it crashed. There can be one such file a process."""
        os.lseek(self._file, _CRASH_AT, os.SEEK_SET)
        faulthandler.enable(self._file, all_threads=False)
        self._watching = True

    def close(self) -> None:
        """End in good order: nothing is in work."""
        if self._watching:
            faulthandler.disable()
        for digest, number in self._slots.items():
            record = self._records.get(digest)
            self._image[number] = _FREE
            if record is not None:
                self._image[number] = _packed(digest, record, in_work=False)
        self._write_slots(0, len(self._image))
        os.close(self._file)

    def __enter__(self) -> Self:
        """The ledger itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def _put(self, digest: bytes, record: Record, *, in_work: bool) -> None:
        number = self._slots.get(digest)
        if number is None:
            number = self._slots[digest] = self._free_slot()
        self._image[number] = _packed(digest, record, in_work=in_work)
        self._write_slots(number, number + 1)

    def _free_slot(self) -> int:
        if self._free:
            return self._free.pop()
        self._image.append(_FREE)
        return len(self._image) - 1

    def _write_slots(self, first: int, end: int) -> None:
        """Write these slots, all in one call."""
        self._write(_SLOTS_AT + first * _SLOT.size, b"".join(self._image[first:end]))

    def _write(self, offset: int, content: bytes) -> None:
        # A full disk must stop nothing here: then a death goes uncounted.
        try:
            os.pwrite(self._file, content, offset)
        except OSError as error:
            log.warning("in_work_unwritten", error=str(error))


def _counted(path: Path, now: Vitals) -> dict[bytes, Record]:
    """The records by digest, the deaths of the last end among them."""
    try:
        content = path.read_bytes()
        magic, boot, kills = _HEADER.unpack_from(content)
    except (OSError, struct.error):
        return {}
    if magic != _MAGIC:
        return {}
    crash = content[_CRASH_AT:_SLOTS_AT].rstrip(b"\0").decode("utf-8", "replace")
    found = list(_slots(content))
    dead = sum(in_work for *_, in_work in found)
    same_boot = boot.rstrip(b"\0").decode("ascii", "replace") == now.boot
    cause = _cause(crash, kills, now)
    if dead and same_boot:
        log.warning("sudden_death", in_work=dead, cause=cause, crash=crash or None)
    records: dict[bytes, Record] = {}
    for digest, record, in_work in found:
        counts = in_work and same_boot
        after = record.after_death(clear=cause is not None) if counts else record
        if after.clear or after.others:
            records[digest] = after
    return records


def _cause(crash: str, kills: int, now: Vitals) -> str | None:
    """What the process died of, as far as it is known: `crash` or `memory`."""
    if crash:
        return "crash"
    return "memory" if now.kills is not None and 0 <= kills < now.kills else None


def _slots(content: bytes) -> Iterator[tuple[bytes, Record, bool]]:
    whole = (len(content) - _SLOTS_AT) // _SLOT.size * _SLOT.size
    for digest, clear, others, aside, in_work in _SLOT.iter_unpack(
        content[_SLOTS_AT : _SLOTS_AT + max(whole, 0)]
    ):
        if any(digest):
            yield digest, Record(clear, others, aside == 1), in_work == 1


def _header(now: Vitals) -> bytes:
    kills = -1 if now.kills is None else now.kills
    return _HEADER.pack(_MAGIC, now.boot.encode("ascii", "replace")[:40], kills)


def _content(now: Vitals, records: dict[bytes, Record]) -> bytes:
    slots = (_packed(digest, record, in_work=False) for digest, record in records.items())
    return _header(now).ljust(_SLOTS_AT, b"\0") + b"".join(slots)


def _replaced(path: Path, content: bytes) -> int:
    """A file that takes the place of another, all at once; its descriptor."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(content)
    file = os.open(fresh, os.O_RDWR | os.O_CLOEXEC)
    fresh.replace(path)
    return file


def _packed(digest: bytes, record: Record, *, in_work: bool) -> bytes:
    return _SLOT.pack(digest, record.clear, record.others, record.aside, in_work)


def _digest(package: str) -> bytes:
    """Names may be long, and hold whatever JSON can; their digests are all of one length."""
    return hashlib.sha256(package.encode("utf-8", "surrogatepass")).digest()
