"""Changes as records of a topic, and back. Pure: no broker is met here."""

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import orjson

from npmmirror.change import Change

SCHEMA: Final = 1
HEADER: Final = "npmmirror-schema"
HEADERS: Final = ((HEADER, str(SCHEMA).encode()),)
MOST_BYTES: Final = 900_000
"""The largest record that is sent: brokers take 1 MiB at once, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a record says."""

    change: Change
    observed_at: str
    source: str


class ForeignRecordError(ValueError):
    """A record that this program did not write; the message is a clause that says so."""


def key_of(change: Change) -> bytes:
    """The record's key: the package's name."""
    return change.id.encode("utf-8", "surrogatepass")


def partition_of(key: bytes, partitions: int) -> int:
    """Where a package's records go: the choice that librdkafka calls "consistent"."""
    return zlib.crc32(key) % partitions


def encode(change: Change, observed_at: str, source: str) -> bytes:
    """The record's value."""
    record = {
        "v": SCHEMA,
        "seq": change.seq,
        "id": change.id,
        "rev": change.rev,
        "deleted": change.deleted,
        "observed_at": observed_at,
        "source": source,
    }
    try:
        return orjson.dumps(record)
    except TypeError:
        # Lone surrogates and integers of more than 64 bits, which JSON may hold.
        return json.dumps(record).encode()


def decode(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Decoded:
    """What a record says.

    Raises:
        ForeignRecordError: it is none of ours.
    """
    if tuple(headers) != HEADERS:
        _check_schema(headers)
    try:
        return _WIRE.decode(value or b"").decoded()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _tolerantly(value)


class _Wire(msgspec.Struct, gc=False):
    """A record's value, as nearly all are."""

    seq: int | str
    id: str
    rev: str | None
    deleted: bool
    observed_at: str
    source: str

    def decoded(self) -> Decoded:
        change = Change(self.seq, self.id, self.rev, self.deleted)
        return Decoded(change, self.observed_at, self.source)


_WIRE: Final = msgspec.json.Decoder(_Wire)


def _check_schema(headers: Iterable[tuple[str, bytes]]) -> None:
    version = dict(headers).get(HEADER)
    if version is None:
        raise ForeignRecordError(f"it has no header {HEADER}")
    if version != HEADERS[0][1]:
        raise ForeignRecordError(f"its header {HEADER} is {version[:20]!r}, not {SCHEMA}")


def _tolerantly(value: bytes | None) -> Decoded:
    """With lone surrogates and other things that are JSON to Python's own parser alone."""
    record = _json(value)
    if not isinstance(record, dict):
        raise ForeignRecordError("its value is no JSON object")
    try:
        return Decoded(_change(record), _text(record, "observed_at"), _text(record, "source"))
    except (KeyError, TypeError) as error:
        raise ForeignRecordError(f"its JSON object lacks a right {error}") from error


def tail_of(value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Any:
    """What a receipt remembers of the last record of a partition, as a JSON value."""
    try:
        change = decode(value, headers).change
    except ForeignRecordError:
        return {"sha256": hashlib.sha256(value or b"").hexdigest()}
    return tail_of_change(change)


def tail_of_change(change: Change) -> Any:
    """As `tail_of`, of a record that is just being written."""
    return [change.seq, change.id, change.rev]


def _json(value: bytes | None) -> Any:
    if value is None:
        raise ForeignRecordError("it has no value")
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ForeignRecordError("its value is no JSON") from error


def _change(record: dict[str, Any]) -> Change:
    seq, rev, deleted = record["seq"], record["rev"], record["deleted"]
    if isinstance(seq, bool) or not isinstance(seq, int | str):
        raise TypeError("'seq'")
    if rev is not None and not isinstance(rev, str):
        raise TypeError("'rev'")
    if not isinstance(deleted, bool):
        raise TypeError("'deleted'")
    return Change(seq, _text(record, "id"), rev, deleted)


def _text(record: dict[str, Any], name: str) -> str:
    value = record[name]
    if not isinstance(value, str):
        raise TypeError(f"{name!r}")
    return value


def written_offsets(offsets: Sequence[int]) -> str:
    """The value of a position: an offset for each partition."""
    return json.dumps([*offsets])


def read_offsets(value: str, partitions: int) -> list[int]:
    """The offsets of a position; 0 for partitions that were added since it was written."""
    offsets: list[int] = json.loads(value)
    return [*offsets, *[0] * (partitions - len(offsets))]


def read_tails(tail: str, partitions: int) -> list[Any]:
    """What a receipt remembers of each partition; None for those that were added since."""
    tails: list[Any] = json.loads(tail)
    return [*tails, *[None] * (partitions - len(tails))]
