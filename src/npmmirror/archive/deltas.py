"""Documents as zstd frames: whole, or deltas of an earlier revision, eight frames deep at most.

The revision at position `n` of a chain is a delta of the one at `n & (n - 1)`: its number with
the lowest set bit cleared. So reading it takes as many deltas as `n` has set bits, half of the
revisions are deltas of the one just before them, and none waits for a long way back.
"""

import hashlib
import io
from typing import Protocol

from npmmirror.archive.errors import CaptureDamagedError, ErasedError
from npmmirror.capture import Chain, Location, Payload
from npmmirror.zstd import (
    CompressionParameter,
    DecompressionParameter,
    ZstdDecompressor,
    ZstdDict,
    ZstdError,
    compress,
)

MAX_FRAMES = 8
"""How many frames any revision is read from, at most."""
LEVEL = 3
"""For deltas, and for small documents whole: levels 4 to 9 gain 5 % at most, and take two to four
times as long (`benchmarks/README.md`)."""
LARGE_LEVEL = 8
"""For large documents whole, made once in 255 revisions: up to 30 % smaller."""
LARGE_BYTES = 1 << 20
Octets = bytes | memoryview
Prefix = tuple[ZstdDict, int]
"""A document that a frame refers to, as the zstd module passes it around."""

_CHUNK = 1 << 20
_MAX_WINDOW_LOG = 31
_MIN_WINDOW_LOG = 10
_WELL_SMALLER = 64


class Documents(Protocol):
    """Where the encoder finds the documents that deltas are made of."""

    def document(self, place: Location) -> bytes:
        """The raw document of a record."""
        ...


def base_of(number: int) -> int | None:
    """The position that this one is a delta of; None where it has to be a whole frame."""
    if number == 0 or number.bit_count() >= MAX_FRAMES:
        return None
    return number & (number - 1)


def needed_numbers(newest: int) -> frozenset[int]:
    """The positions whose places a `Chain` holds when `newest` is its last.

    The base of the next revision, and the newest itself, which a stale document is laid beside.
    """
    base = base_of(newest + 1)
    return frozenset({newest} if base is None else {newest, base})


class PayloadEncoder:
    """Makes payloads of documents. Stateless: many threads may use one at the same time.

    Beside the document and its base, which are both in memory, encoding takes about 20 MB; reading
    the base from other deltas takes three times its size for a moment.
    """

    def encode(
        self, raw: Octets, chain: Chain | None, documents: Documents, *, aside: bool = False
    ) -> Payload:
        """The document as a delta of its chain, or whole where that is better or all there is.

        `aside` is for stale documents: laid beside the newest revision they are no part of the
        chain, and `number` is that of the record that they are a delta of.
        """
        sha256 = hashlib.sha256(raw).hexdigest()
        number, base = _place_aside(chain) if aside else _next_place(chain)
        if base is not None:
            stored = self._delta(raw, base, documents)
            if stored is not None:
                return Payload(stored, len(raw), sha256, number, base)
        return Payload(_whole(raw), len(raw), sha256)

    @staticmethod
    def whole(raw: bytes) -> Payload:
        """A document that is in no chain."""
        return Payload(_whole(raw), len(raw), hashlib.sha256(raw).hexdigest())

    def _delta(self, raw: Octets, place: Location, documents: Documents) -> bytes | None:
        """The delta; None where its base cannot be read, or it saves less than a quarter."""
        try:
            base = documents.document(place)
        except (CaptureDamagedError, ErasedError):
            return None
        window_log = _window_log(len(base) + len(raw))
        prefix = prefix_of(base)
        del base  # a document of 100 MB must not lie here twice
        stored = compress(
            raw,
            options={
                CompressionParameter.compression_level: LEVEL,
                CompressionParameter.enable_long_distance_matching: 1,
                CompressionParameter.window_log: window_log,
                CompressionParameter.checksum_flag: 0,
            },
            zstd_dict=prefix,
        )
        del prefix
        # Far below what any whole frame could be, there is no need to make one and compare.
        if len(stored) * _WELL_SMALLER <= len(raw):
            return stored
        return stored if 4 * len(stored) < 3 * len(_whole(raw)) else None


def _whole(raw: Octets) -> bytes:
    level = LARGE_LEVEL if len(raw) >= LARGE_BYTES else LEVEL
    return compress(
        raw,
        options={
            CompressionParameter.compression_level: level,
            # The chained header holds the SHA-256 of the document.
            CompressionParameter.checksum_flag: 0,
        },
    )


def prefix_of(document: bytes) -> Prefix:
    """A document as the base of a delta. A copy: the document itself can be let go of."""
    return ZstdDict(document, is_raw=True).as_prefix


def decode(stored: bytes | memoryview, length: int, prefix: Prefix | None) -> bytes:
    """A document from its frame; `length` caps what is taken out of it.

    Raises:
        ValueError: the frame is not one, or makes another length.
    """
    out = io.BytesIO()
    try:
        frame = ZstdDecompressor(
            zstd_dict=prefix, options={DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
        )
        out.write(frame.decompress(stored, _CHUNK))
        while not frame.eof and not frame.needs_input and out.tell() <= length:
            out.write(frame.decompress(b"", _CHUNK))
    except ZstdError as error:
        raise ValueError(str(error)) from error
    if not frame.eof or out.tell() != length:
        raise ValueError("the frame does not make the length that the header tells")
    return out.getvalue()


def _next_place(chain: Chain | None) -> tuple[int, Location | None]:
    if chain is None:
        return 0, None
    number = chain.number + 1
    base = base_of(number)
    return number, None if base is None else chain.places.get(base)


def _place_aside(chain: Chain | None) -> tuple[int, Location | None]:
    """The newest position known that one more delta may follow."""
    places = chain.places if chain is not None else {}
    shallow = [number for number in places if number.bit_count() + 2 <= MAX_FRAMES]
    newest = max(shallow, default=0)
    return newest, places.get(newest)


def _window_log(length: int) -> int:
    """The window that reaches from the end of the document to the start of its base."""
    return min(max(length.bit_length(), _MIN_WINDOW_LOG), _MAX_WINDOW_LOG)
