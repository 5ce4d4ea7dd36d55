"""Content encodings: undone exactly, piece by piece, and never beyond what is asked for."""

import gzip
import os
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped, unused-ignore]  # ships no types
import pytest
from hypothesis import given, settings, strategies as st

from npmmirror import zstd
from npmmirror.upstream.decoding import ACCEPTED, MOST_MEMBERS, PIECE, decoder
from npmmirror.upstream.errors import BadAnswer, ServerFault

Encode = Callable[[bytes], bytes]


def bare_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


ENCODERS: dict[str, tuple[str, Encode]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZIP", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstd.compress),
}
every_encoding = pytest.mark.parametrize(("name", "encode"), ENCODERS.values(), ids=ENCODERS)


def decoded(name: str, data: bytes, step: int = 1 << 30) -> bytes:
    decoding = decoder(name)
    pieces = [
        piece for at in range(0, len(data), step) for piece in decoding.decode(data[at : at + step])
    ]
    decoding.finish()
    return b"".join(pieces)


@every_encoding
@given(data=st.binary(max_size=300), step=st.integers(1, 40))
@settings(max_examples=60)
def test_what_was_encoded_comes_back(name: str, encode: Encode, data: bytes, step: int) -> None:
    """Whatever the bytes, and however they are cut on the way."""
    assert decoded(name, encode(data), step) == data


@every_encoding
def test_large_documents_come_in_pieces(name: str, encode: Encode) -> None:
    """A megabyte that compresses well is never given at once."""
    data = b"0123456789abcdef" * (1 << 18)
    pieces = list(decoder(name).decode(encode(data)))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 4 * PIECE


@every_encoding
def test_a_cut_stream_is_truncated(name: str, encode: Encode) -> None:
    """A compressed body that ends before its end did not arrive whole."""
    with pytest.raises(ServerFault) as cut:
        decoded(name, encode(os.urandom(1000))[:-12])
    assert cut.value.reason == "truncated"


@pytest.mark.parametrize("name", ["gzip", "br", "zstd", "deflate"])
def test_another_body_than_the_header_says_is_a_wrong_encoding(name: str) -> None:
    """HTML under any compressed encoding is refused as such."""
    with pytest.raises(BadAnswer) as wrong:
        decoded(name, b"<!doctype html><html><body>" * 20)
    assert wrong.value.reason == "wrong_encoding"


@pytest.mark.parametrize("name", ["gzip, br", "compress", "aws-chunked"])
def test_encodings_that_were_not_asked_for_are_refused(name: str) -> None:
    """Nothing is guessed about an encoding that is not known."""
    with pytest.raises(BadAnswer) as wrong:
        decoder(name)
    assert wrong.value.reason == "wrong_encoding"


@every_encoding
def test_an_empty_body_is_whole(name: str, encode: Encode) -> None:
    """Servers say `gzip` of empty bodies too."""
    assert encode(b"")
    assert decoded(name, b"") == b""


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_members_that_follow_each_other_are_one_document(name: str, step: int) -> None:
    """A body may be a chain of gzip members or zstd frames."""
    encode = ENCODERS[name][1]
    body = encode(b"one ") + encode(b"") + encode(b"two")
    assert decoded(name, body, step) == b"one two"


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("tail", [b"\x00" * 20, b"\x1f", b"\x28\xb5", b"trailing"])
@pytest.mark.parametrize("name", ["gzip", "zstd", "deflate"])
def test_what_trails_the_stream_is_ignored(name: str, tail: bytes, step: int) -> None:
    """Padding behind the last member is no part of the document."""
    assert decoded(name, ENCODERS[name][1](b"document") + tail, step) == b"document"


def test_a_skippable_zstd_frame_is_skipped() -> None:
    """The format allows frames that hold no data."""
    frame = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"note"
    assert decoded("zstd", frame + zstd.compress(b"document")) == b"document"


def test_a_zstd_window_beyond_the_standard_is_refused() -> None:
    """A frame could ask for gigabytes of window; in HTTP it may have 8 MiB."""
    options = {int(zstd.CompressionParameter.window_log): 27}
    compressor = zstd.ZstdCompressor(options=options)
    frame = compressor.compress(os.urandom(1 << 20)) + compressor.flush()
    with pytest.raises(BadAnswer) as wrong:
        decoded("zstd", frame)
    assert wrong.value.reason == "wrong_encoding"


def test_members_without_number_are_refused() -> None:
    """Each member costs a copy of the rest: their number has a limit."""
    with pytest.raises(BadAnswer) as wrong:
        decoded("gzip", gzip.compress(b"") * (MOST_MEMBERS + 1))
    assert wrong.value.reason == "wrong_encoding"


def test_all_encodings_that_are_asked_for_can_be_undone() -> None:
    """`Accept-Encoding` promises nothing that `decoder` refuses."""
    for name in ACCEPTED.split(", "):
        decoder(name)
