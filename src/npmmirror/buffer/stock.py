"""What a buffer keeps, for whoever wants to be rid of it while nobody uses it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from npmmirror.buffer.base import BufferUnavailableError

Unit = Literal["file", "record"]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Where a buffer's changes lie (paths, or a topic's name), and how many units those are.

    `size` is in bytes, None where nobody tells it.
    """

    places: tuple[str, ...] = ()
    count: int = 0
    size: int | None = 0
    unit: Unit = "file"


class BufferStock(Protocol):
    """Everything that a buffer keeps. One for each backend; nobody else has it open."""

    async def holdings(self) -> Holdings:
        """What there is.

        Raises:
            BufferUnavailableError: it cannot be looked at now.
        """
        ...

    async def discard(self) -> None:
        """Delete all of it, durably. Done again, or after a kill in between, it ends the same.

        Raises:
            BufferUnavailableError: some of it may be left; the same call may work later.
        """
        ...


class SqliteStock:
    """The files of the embedded buffer, those that were damaged and moved aside among them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def holdings(self) -> Holdings:
        """See `BufferStock.holdings`."""
        files = self._files()
        return Holdings(
            tuple(map(str, files)), len(files), sum(file.stat().st_size for file in files)
        )

    async def discard(self) -> None:
        """See `BufferStock.discard`."""
        try:
            # The file itself last: beside a new one, an old log would be played into it.
            for file in sorted(self._files(), reverse=True):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise BufferUnavailableError(
                f"The buffer {self._path} cannot be deleted: {error.strerror}."
            ) from error

    def _files(self) -> Sequence[Path]:
        patterns = ("", "-wal", "-shm", ".damaged-*")
        found = [self._path.parent.glob(f"{self._path.name}{pattern}") for pattern in patterns]
        return sorted({path for paths in found for path in paths if path.is_file()})
