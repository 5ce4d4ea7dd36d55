"""The errors that reach a person: one sentence each, and the exit status they end with.

Expected failures of packages are not here: those are values (`npmmirror.outcome`).
"""

from typing import ClassVar


class NpmmirrorError(Exception):
    """Something a person has to act on. `str()` is one plain sentence; no traceback is shown."""

    exit_status: ClassVar[int] = 1


class UsageError(NpmmirrorError):
    """The command line or the configuration is wrong."""

    exit_status: ClassVar[int] = 2


class StorageError(NpmmirrorError):
    """The data directory, the archive, the index or the buffer cannot be used as it is."""


class FeedStalledError(NpmmirrorError):
    """The feed stands still for this process, whatever it did about it (EX_UNAVAILABLE)."""

    exit_status: ClassVar[int] = 69


class LockedError(NpmmirrorError):
    """Another process holds the data directory and does not answer (EX_TEMPFAIL)."""

    exit_status: ClassVar[int] = 75
