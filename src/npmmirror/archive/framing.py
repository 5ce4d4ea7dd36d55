"""The bytes of the capture log: segment headers, frames and chained headers. No input or output.

`docs/captures.md` is the description for readers; a test holds it against this module.
"""

import base64
import hashlib
import json
import re
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from npmmirror.capture import Kind, Location, NewRecord, Record

FORMAT = "npmmirror captures 1"
MAGIC = b"\xf5NMC"
"""Starts each frame. 0xf5 is in no UTF-8 text, so no header can hold it."""
NO_HASH = "0" * 64
"""What the first record's header has as the hash of the one before it."""
SEGMENT_HEADER_BYTES = 256
FRAME_BYTES = 32
MAX_HEADER_BYTES = 16 * 1024 * 1024

_T = TypeVar("_T")
Octets = bytes | bytearray | memoryview

_FRAME = struct.Struct("<4sIIIBBHIQ")
_AFTER_CRC = 8
_SEGMENT_LINE = re.compile(rb"(\{.*\}) *([0-9a-f]{8})\n", re.DOTALL)


class Encoding(IntEnum):
    """How the stored bytes of a payload are to be read."""

    NONE = 0
    WHOLE = 1
    DELTA = 2
    ERASED = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """The fixed part in front of each record. It is not in the chain: a payload may change form.

    `number` and `base` are as in `npmmirror.capture.Payload`.
    """

    crc: int
    header_length: int
    stored_length: int
    encoding: Encoding
    number: int = 0
    base: Location | None = None

    @property
    def length(self) -> int:
        """The bytes of the whole record."""
        return FRAME_BYTES + self.header_length + self.stored_length


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself, so that it can be read without the ones before it.

    `first` is the ordinal of its first record, `prev` the hash of the header before that.
    `mark` and `mark_at` are of the last mark before it (0 and "" where there is none).
    """

    segment: int
    first: int
    prev: str
    mark: int
    mark_at: str

    def pack(self) -> bytes:
        """One line of JSON padded to its fixed length, a CRC-32 at its end."""
        said = {
            "first": self.first,
            "format": FORMAT,
            "mark": self.mark,
            "mark_at": self.mark_at,
            "prev": _in_base64(self.prev),
            "segment": self.segment,
        }
        body = _canonical(said).ljust(SEGMENT_HEADER_BYTES - 9)
        return b"%s%08x\n" % (body, zlib.crc32(body))

    @classmethod
    def unpack(cls, line: bytes) -> "SegmentHeader":
        """The header that `pack` wrote.

        Raises:
            ValueError: it is damaged, or of another format.
        """
        match = _SEGMENT_LINE.fullmatch(line)
        if match is None or len(line) != SEGMENT_HEADER_BYTES:
            raise ValueError("no segment header")
        if zlib.crc32(line[:-9]) != int(match[2], 16):
            raise ValueError("the segment header's checksum is wrong")
        said = json.loads(match[1])
        if said.pop("format") != FORMAT:
            raise ValueError(f"the segment is not of the format {FORMAT!r}")
        return cls(**said | {"prev": _in_hex(said["prev"])})


@dataclass(frozen=True, slots=True)
class Packed:
    """A record's bytes, in the pieces that they are written from."""

    parts: tuple[bytes, bytes, bytes]
    length: int
    header_hash: str


def pack_record(record: NewRecord, *, ordinal: int, at: str, prev: str) -> Packed:
    """Frame, chained header and stored payload of a record."""
    said: dict[str, Any] = {
        "at": at,
        "kind": record.kind.value,
        "ordinal": ordinal,
        "prev": _in_base64(prev),
    }
    if record.name is not None:
        said["name"] = record.name
    if record.facts:
        said["facts"] = record.facts
    stored, encoding, number, base = b"", Encoding.NONE, 0, None
    if (payload := record.payload) is not None:
        said["length"], said["sha256"] = payload.length, _in_base64(payload.sha256)
        stored, number, base = payload.stored, payload.number, payload.base
        encoding = Encoding.WHOLE if base is None else Encoding.DELTA
    header = _canonical(said)
    frame = pack_frame(header, stored, encoding, number, base)
    parts = (frame, header, stored)
    return Packed(parts, sum(map(len, parts)), header_hash(header))


def pack_frame(
    header: bytes, stored: Octets, encoding: Encoding, number: int, base: Location | None
) -> bytes:
    """The frame of a header and a stored payload, with the CRC-32 over all that follows it."""
    stored = memoryview(stored)
    frame = bytearray(
        _FRAME.pack(
            MAGIC,
            0,
            len(header),
            len(stored),
            encoding,
            number,
            0,
            base.segment if base else 0,
            base.offset if base else 0,
        )
    )
    crc = record_crc(frame, header, stored)
    struct.pack_into("<I", frame, 4, crc)
    return bytes(frame)


def unpack_frame(frame: bytes) -> Frame:
    """The frame in these 32 bytes; its CRC is not yet compared.

    Raises:
        ValueError: these are no frame's bytes.
    """
    if len(frame) != FRAME_BYTES:
        raise ValueError("the record is cut off")
    magic, crc, header, stored, encoding, number, spare, segment, offset = _FRAME.unpack(frame)
    if magic != MAGIC or spare or header > MAX_HEADER_BYTES:
        raise ValueError("no record begins here")
    base = Location(segment, offset) if segment else None
    return Frame(crc, header, stored, Encoding(encoding), number, base)


def record_crc(frame: Octets, header: Octets, stored: Octets) -> int:
    """The CRC-32 of a record: the frame behind its own CRC, the header, the stored bytes."""
    crc = zlib.crc32(memoryview(frame)[_AFTER_CRC:])
    return zlib.crc32(stored, zlib.crc32(header, crc))


def header_hash(header: bytes) -> str:
    """The hash that the next record's header vouches with."""
    return hashlib.sha256(header).hexdigest()


@dataclass(frozen=True, slots=True)
class ChainedHeader:
    """A record's header, read; hashes in hex, which it has in base64 to be short."""

    at: str
    kind: Kind
    ordinal: int
    prev: str
    name: str | None
    facts: dict[str, Any]
    length: int | None
    sha256: str | None

    def record(self, frame: Frame, place: Location, digest: str) -> Record:
        """The record that it heads; `digest` is the header's own."""
        return Record(
            ordinal=self.ordinal,
            kind=self.kind,
            at=self.at,
            name=self.name,
            facts=self.facts,
            place=place,
            length=self.length,
            sha256=self.sha256,
            number=frame.number,
            base=frame.base,
            stored_length=frame.stored_length,
            erased=frame.encoding is Encoding.ERASED,
            hash=digest,
        )


def unpack_header(header: bytes) -> ChainedHeader:
    """A chained header from its bytes.

    Raises:
        ValueError: it is none.
    """
    try:
        said = json.loads(header)
        return ChainedHeader(
            at=_of(str, said["at"]),
            kind=Kind(said["kind"]),
            ordinal=_of(int, said["ordinal"]),
            prev=_in_hex(said["prev"]),
            name=_of(str, said["name"]) if "name" in said else None,
            facts=_of(dict, said.get("facts", {})),
            length=_of(int, said["length"]) if "length" in said else None,
            sha256=_in_hex(said["sha256"]) if "sha256" in said else None,
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("no chained header") from error


def _of(kind: type[_T], found: Any) -> _T:
    if type(found) is not kind:
        raise TypeError(f"{found!r:.80} is no {kind.__name__}")
    return found


def _in_base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _in_hex(digest: str) -> str:
    return base64.b64decode(digest, validate=True).hex()


def _canonical(said: dict[str, Any]) -> bytes:
    """JSON in one spelling: sorted keys, no spaces, everything beyond ASCII escaped.

    The standard library's writer, because names may hold lone surrogates, which orjson refuses.
    """
    return json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
