"""The note of a reset that was begun: while it is there, nothing is to be made of what is left."""

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from npmmirror.errors import StorageError

NAME = "reset.json"


@dataclass(frozen=True, slots=True)
class ResetNote:
    """`<data_dir>/reset.json`: which parts are being reset, from before the first step to the last."""

    data_dir: Path

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.data_dir / NAME

    def parts(self) -> tuple[str, ...]:
        """The parts of a reset that was begun and not finished; none where there is none."""
        try:
            return tuple(orjson.loads(self.path.read_bytes())["parts"])
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{self.path} cannot be read: {error}") from error

    def write(self, parts: tuple[str, ...], at: str) -> None:
        """Note them, durably."""
        new = self.path.with_suffix(".new")
        with new.open("wb") as file:
            file.write(orjson.dumps({"parts": list(parts), "begun_at": at}))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)
        _sync(self.data_dir)

    def remove(self) -> None:
        """The reset is finished, durably."""
        self.path.unlink(missing_ok=True)
        _sync(self.data_dir)


def refuse_half_reset(data_dir: Path) -> None:
    """Let nobody work on what a reset has left half-way.

    Raises:
        StorageError: one was begun, and not finished.
    """
    if parts := ResetNote(data_dir).parts():
        words = " ".join(f"--{part}" for part in parts)
        raise StorageError(
            f"a reset of {data_dir} was begun and not finished: run `npmmirror reset {words}`"
        )


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
