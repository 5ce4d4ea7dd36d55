"""The archive: the capture log and the tarball files. It is the truth; all else is made of it."""

from npmmirror.archive.blanking import blank
from npmmirror.archive.damage import Damage
from npmmirror.archive.deltas import MAX_FRAMES, PayloadEncoder, base_of, needed_numbers
from npmmirror.archive.disk import make_directory
from npmmirror.archive.errors import (
    CaptureDamagedError,
    DiskFaultError,
    ErasedError,
    OutOfMeansError,
    TarballTooLargeError,
    disk_faults,
)
from npmmirror.archive.log import CaptureLog
from npmmirror.archive.marker import ENOUGH_HELD, Marker, TarballsAwayError
from npmmirror.archive.reader import CaptureReader
from npmmirror.archive.receiving import Staged, write_whole
from npmmirror.archive.recovery import SetAside, Tip
from npmmirror.archive.tarballs import TarballStore

__all__ = [
    "ENOUGH_HELD",
    "MAX_FRAMES",
    "CaptureDamagedError",
    "CaptureLog",
    "CaptureReader",
    "Damage",
    "DiskFaultError",
    "ErasedError",
    "Marker",
    "OutOfMeansError",
    "PayloadEncoder",
    "SetAside",
    "Staged",
    "TarballStore",
    "TarballTooLargeError",
    "TarballsAwayError",
    "Tip",
    "base_of",
    "blank",
    "disk_faults",
    "make_directory",
    "needed_numbers",
    "write_whole",
]
