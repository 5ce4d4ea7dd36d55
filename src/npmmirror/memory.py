"""Memory that the process has freed, given back to the system."""

import ctypes


def give_back() -> None:
    """Give it back, where libc can. For a worker thread: it takes milliseconds.

    glibc has an arena for each thread, and keeps in each what was ever in use below the last block
    that still is. Sixteen arenas that took 10 MB each now and then are 160 MB that nobody uses, and
    days make them more (`benchmarks/README.md`, "Soak").
    """
    if _trim is not None:
        _trim(0)


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
