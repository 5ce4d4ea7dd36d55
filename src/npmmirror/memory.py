"""Memory that the process has freed, given back to the system.

glibc's malloc makes an arena for each thread, sixteen on two processors, and keeps in each what was
ever in use around the blocks that still are. Where a document of megabytes passes now in this
thread, now in that, all of them fill up: 30 MB in use, 170 MB taken (`benchmarks/README.md`, "Soak").
"""

import ctypes

_ARENA_MAX = -8
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
ARENAS = 2
"""The threads of a mirror seldom ask for memory at the same time: most hold the interpreter's lock."""
LARGE_BYTES = 1 << 20
"""Blocks from this size on are the system's own, and its again once they are freed. By itself malloc
raises the bound with each such block that is freed, up to 32 MiB."""
SPARE_BYTES = 16 << 20
"""What an arena may keep free at its end. With malloc's 128 KiB, which a bound of our own for large
blocks leaves as it is, each tarball's pieces were asked of the system and given back."""


def bound() -> None:
    """Have malloc keep little for itself, where libc can. To be called before threads are started."""
    if _mallopt is not None:
        _mallopt(_ARENA_MAX, ARENAS)
        _mallopt(_MMAP_THRESHOLD, LARGE_BYTES)
        _mallopt(_TRIM_THRESHOLD, SPARE_BYTES)


def give_back() -> None:
    """Give back what is freed, where libc can. For a worker thread: it takes milliseconds."""
    if _trim is not None:
        _trim(0)


_libc = ctypes.CDLL(None)
_trim = getattr(_libc, "malloc_trim", None)
_mallopt = getattr(_libc, "mallopt", None)
