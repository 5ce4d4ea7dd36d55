"""Examining documents, and small tarballs, in a process of its own: its program, and its messages.

Both ways go messages that begin with their length; a question comes in two parts, of which the
second is the document or the tarball. The daemon's first message names the directory of the capture
log; the process says that it is ready by an empty one. It answers one question after the other, reads
the capture log by itself, writes nothing but the files that it is told to, and ends with the
connection, however the daemon ended.
"""

import ctypes
import faulthandler
import gc
import os
import signal
import socket
import struct
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from npmmirror.archive import CaptureReader, DiskFaultError, PayloadEncoder, write_whole
from npmmirror.effects import Effects
from npmmirror.manifest import Dist
from npmmirror.packument import NotAPackumentError, Packument
from npmmirror.pipeline.examiner import Examiner, Finding, Question
from npmmirror.pipeline.intake import Claim, Intake, Judgement
from npmmirror.policy import Settings, Want, wanted_tarballs

LENGTHS: Final = struct.Struct(">II")
LENGTH: Final = struct.Struct(">I")

KILL_FIRST: Final = "500"
"""Where memory runs out the kernel is to take this process, without which the daemon goes on."""

_PR_SET_PDEATHSIG: Final = 1
_READ_BYTES: Final = 1 << 18


class Asked(msgspec.Struct, frozen=True, array_like=True, tag="asked"):
    """What goes in front of a document; `rows` are tarballs that the work list wants."""

    question: Question
    settings: Settings
    rows: tuple[str, ...]


class Brought(msgspec.Struct, frozen=True, array_like=True, tag="brought"):
    """What goes in front of a tarball: what is claimed of it (`Claim`), and where it is to lie."""

    package: str
    version: str
    integrity: str | None
    shasum: str | None
    manifest: bytes | None
    path: bytes


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """The versions whose tarballs the policy wants, and where these and the asked-for ones are.

    `manifests` is what the document says of each of them, in JSON.
    """

    versions: tuple[str, ...]
    dists: dict[str, Dist]
    manifests: dict[str, bytes]


class Answered(msgspec.Struct, frozen=True, array_like=True, tag="answered"):
    """What was found; `damages` are records of the capture log that cannot be read."""

    finding: Finding
    choice: Choice
    damages: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """The document is none, for this reason (`NotAPackumentError`)."""

    reason: str


class Faulted(msgspec.Struct, frozen=True, array_like=True, tag="faulted"):
    """The capture log cannot be read, or the tarball not be written (`DiskFaultError`)."""

    error: str


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """A bug: the exception in a line, and its traceback."""

    error: str
    trace: str


Reply = Answered | Judgement | Refused | Faulted | Failed

encode = msgspec.msgpack.Encoder().encode
decode_asked = msgspec.msgpack.Decoder(Asked | Brought).decode
decode_reply = msgspec.msgpack.Decoder(Reply).decode


class Child:
    """Answers questions until the connection ends."""

    def __init__(self, wire: socket.socket, captures: CaptureReader) -> None:
        self._wire = wire
        self._damages: list[str] = []
        self._examiner = Examiner(
            captures, PayloadEncoder(), lambda _, error: self._damages.append(error)
        )

    def serve(self) -> None:
        """Return when the daemon is gone or has closed the connection."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._send(b"")
            with self._wire.makefile("rb", _READ_BYTES) as questions:
                while len(head := questions.read(LENGTHS.size)) == LENGTHS.size:
                    lengths = LENGTHS.unpack(head)
                    asked, body = map(questions.read, lengths)
                    if (len(asked), len(body)) != lengths:
                        return  # the daemon died in the midst of it
                    self._send(encode(self._reply(decode_asked(asked), body)))

    def _reply(self, asked: Asked | Brought, body: bytes) -> Reply:
        try:
            return self._examined(asked, body) if isinstance(asked, Asked) else _judged(asked, body)
        except NotAPackumentError as error:
            return Refused(error.reason)
        except DiskFaultError as error:
            return Faulted(str(error))
        except Exception as bug:  # noqa: BLE001 - whatever it is, the daemon tells it
            return Failed(f"{type(bug).__name__}: {bug}", traceback.format_exc())

    def _examined(self, asked: Asked, document: bytes) -> Answered:
        self._damages.clear()
        finding, packument = self._examiner.examine(document, asked.question)
        choice = _choice(packument, finding.effects, asked)
        return Answered(finding, choice, tuple(self._damages))

    def _send(self, message: bytes) -> None:
        self._wire.sendall(LENGTH.pack(len(message)) + message)


def _judged(asked: Brought, body: bytes) -> Judgement:
    write_whole(Path(os.fsdecode(asked.path)), body)
    claim = Claim(asked.version, None, asked.integrity, asked.shasum, manifest=asked.manifest)
    intake = Intake(asked.package, claim)
    intake.update(body)
    return intake.judgement


def _choice(packument: Packument, effects: Effects | None, asked: Asked) -> Choice:
    known = asked.question.known
    chosen: tuple[str, ...] = ()
    if effects is not None:
        chosen = wanted_tarballs(packument, effects, known, asked.settings, Want())
    named = [one for one in dict.fromkeys((*chosen, *asked.rows)) if one in packument.versions]
    return Choice(
        chosen,
        {one: packument.manifest(one).dist for one in named},
        {one: bytes(packument.versions[one]) for one in named},
    )


def _die_with_the_daemon() -> None:
    """At once, so that nothing is written to staging while the next daemon clears up there."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """The child's own program; its standard input is the connection."""
    faulthandler.enable()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A service's stop, and Ctrl-C, are sent to all processes: the daemon has yet to drain.
        signal.signal(number, signal.SIG_IGN)
    _die_with_the_daemon()
    with suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    gc.collect()
    gc.freeze()
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(KILL_FIRST, "ascii")
    with socket.socket(fileno=0) as wire:
        if (directory := _directory(wire)) is not None:
            with CaptureReader(directory) as captures:
                Child(wire, captures).serve()


def _directory(wire: socket.socket) -> Path | None:
    """Where the capture log is, once the daemon has said it; None: it ended before."""
    with suppress(ConnectionResetError):
        if len(head := wire.recv(LENGTH.size, socket.MSG_WAITALL)) == LENGTH.size:
            (length,) = LENGTH.unpack(head)
            if len(path := wire.recv(length, socket.MSG_WAITALL)) == length:
                return Path(os.fsdecode(path))
    return None


if __name__ == "__main__":
    main()
