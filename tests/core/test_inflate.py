"""Streams are inflated as zlib does it, by whichever library, and however they come."""

import gzip
import random
import struct
import zlib

import pytest

from npmmirror.inflate import DEFLATE, GZIP, ZLIB, BrokenError, inflating

DOCUMENT = random.Random(7).randbytes(500) * 40
CHECKSUM, EXTRA, NAME, COMMENT = 2, 4, 8, 16


def headed(flags: int) -> tuple[bytes, int]:
    """The document as a gzip member with these fields in its header; the header's length."""
    header = b"\x1f\x8b\x08" + bytes([flags]) + b"\0\0\0\0\0\xff"
    if flags & EXTRA:
        header += struct.pack("<H", 5) + b"abcde"
    if flags & NAME:
        header += b"package.tar\0"
    if flags & COMMENT:
        header += b"a comment\0"
    if flags & CHECKSUM:
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    trailer = struct.pack("<II", zlib.crc32(DOCUMENT), len(DOCUMENT))
    return header + packed(DOCUMENT, DEFLATE) + trailer, len(header)


def packed(data: bytes, wrapped: int) -> bytes:
    """The data deflated."""
    deflating = zlib.compressobj(6, zlib.DEFLATED, wrapped)
    return deflating.compress(data) + deflating.flush()


def inflated(pieces: list[bytes], wrapped: int = GZIP, most: int = 1 << 18) -> bytes:
    """What the pieces are together."""
    stream = inflating(pieces[0], wrapped)
    out = b""
    for piece in pieces:
        data, more = piece, True
        while more:
            got = stream.decompress(data, most)
            out += got
            data = stream.unconsumed_tail
            more = not stream.eof and (bool(data) or len(got) == most)
    assert stream.eof
    return out


@pytest.mark.parametrize("flags", range(0, 32, 2))
def test_a_header_is_read_however_it_is_cut(flags: int) -> None:
    """ISA-L takes some for damaged that have more than one field and come in pieces."""
    member, length = headed(flags)
    assert gzip.decompress(member) == DOCUMENT
    for cut in range(1, length + 2):
        assert inflated([member[:cut], member[cut:]]) == DOCUMENT
    single = [member[at : at + 1] for at in range(length)]
    assert inflated([*single, member[length:]]) == DOCUMENT
    assert inflated([member[:4], *single[4:], member[length:]]) == DOCUMENT


@pytest.mark.parametrize("wrapped", [GZIP, ZLIB, DEFLATE])
@pytest.mark.parametrize("most", [1, 1000, 1 << 18])
def test_what_follows_the_end_is_left(wrapped: int, most: int) -> None:
    """However little is asked for at a time."""
    stream = packed(DOCUMENT[:3000], wrapped)
    assert inflated([stream[:700], stream[700:] + b"tail"], wrapped, most) == DOCUMENT[:3000]


@pytest.mark.parametrize("place", [-1, -5, 300])
def test_a_damaged_stream_is_broken(place: int) -> None:
    """Its length, its checksum, or what is in it."""
    member = bytearray(headed(0)[0])
    member[place] ^= 1
    with pytest.raises(BrokenError):
        inflated([bytes(member)])
