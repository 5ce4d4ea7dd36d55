"""A large document in memory that makes room while something else of its size is worked on."""

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from npmmirror.archive import disk_faults


class LargeDocument:
    """A document whose bytes lie in a file, too, from which they come back after an absence.

    `content` stays where it is, so that what was parsed of it is valid before and after. It is no
    mapping of the file: a disk that fails would kill the process where this one raises.
    """

    def __init__(self, file: int, length: int) -> None:
        self._file = file
        self._memory = mmap.mmap(-1, length)
        self._length = length
        self.content = memoryview(self._memory).toreadonly()

    @classmethod
    def take(cls, path: Path) -> Self:
        """Read a document that is not empty; its file is unlinked, and kept until `close`.

        Raises:
            DiskFaultError: it cannot be read.
        """
        with disk_faults(path):
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                path.unlink()
                document = cls(file, os.fstat(file).st_size)
                document._fill()
            except BaseException:
                os.close(file)
                raise
        return document

    @contextmanager
    def absent(self) -> Iterator[None]:
        """Do without the memory inside the block; `content` is not to be looked at meanwhile.

        Raises:
            DiskFaultError: it cannot be read back.
        """
        self._memory.madvise(mmap.MADV_DONTNEED)
        yield
        with disk_faults(Path(f"/proc/self/fd/{self._file}")):
            self._fill()

    def close(self) -> None:
        """Let the file go; what refers to the content keeps that."""
        os.close(self._file)

    def _fill(self) -> None:
        place = 0
        with memoryview(self._memory) as memory:
            while place < self._length:
                read = os.preadv(self._file, [memory[place:]], place)
                if not read:
                    raise OSError(errno.EIO, f"the file ends at byte {place}")
                place += read
