"""Gzip streams unpacked: by ISA-L where it is there, which takes half the time that zlib takes."""

import zlib
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol, cast

_fast: Any = import_module("isal.isal_zlib") if find_spec("isal") is not None else zlib

BrokenError: tuple[type[Exception], ...] = (zlib.error, _fast.error)
"""What is raised where the bytes are no gzip stream."""
GZIP = 31
ZLIB = 15
DEFLATE = -15
"""What a stream is wrapped in: gzip's header, zlib's, none (`wbits` of `zlib.decompressobj`)."""


class Inflating(Protocol):
    """A decompressor, as `zlib.decompressobj` makes them."""

    @property
    def eof(self) -> bool:
        """Whether the stream is at its end."""
        ...

    @property
    def unconsumed_tail(self) -> bytes:
        """What was not taken in yet, since the output had its full length."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What follows the end."""
        ...

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """The next bytes; raises one of `BrokenError`."""
        ...


_FLAGS_AT: Final = 3
_READ_RIGHT: Final = frozenset({0, 4, 8, 16})
"""The flags of a gzip header that ISA-L reads right where the header comes in pieces: none, or one of
those for a field more (a name, say). With a checksum, or two such fields, it may find an error."""


def inflating(head: bytes | memoryview, wrapped: int = GZIP) -> Inflating:
    """For one stream; of gzip, for one of its members, which begins so: as far as it is known."""
    of_isal = wrapped != GZIP or (len(head) > _FLAGS_AT and head[_FLAGS_AT] in _READ_RIGHT)
    return cast("Inflating", (_fast if of_isal else zlib).decompressobj(wrapped))
