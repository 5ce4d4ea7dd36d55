"""The buffer lost, or older than the index, while changes wait in it: nothing is missing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kill.pair import Pair
from tests.kill.places import kill_at

pytestmark = [pytest.mark.kill, pytest.mark.timeout(120), pytest.mark.long]


def files(data_dir: Path) -> list[Path]:
    """The buffer's file, and those that SQLite keeps beside it."""
    return list(data_dir.glob("buffer.db*"))


def delete(data_dir: Path, kept: Path) -> None:
    """All of it is gone."""
    del kept
    for file in files(data_dir):
        file.unlink()


def delete_but_the_wal(data_dir: Path, kept: Path) -> None:
    """Somebody removed the file that he saw, and left what SQLite keeps beside it."""
    del kept
    (data_dir / "buffer.db").unlink()


def empty(data_dir: Path, kept: Path) -> None:
    """Files of no bytes."""
    del kept
    for file in files(data_dir):
        file.write_bytes(b"")


def put_older_back(data_dir: Path, kept: Path) -> None:
    """A backup from before the changes that the index knows to be in it."""
    delete(data_dir, kept)
    for file in files(kept):
        shutil.copy(file, data_dir)


def lose_the_wal(data_dir: Path, kept: Path) -> None:
    """Only what was carried over into the file itself is left."""
    del kept
    (data_dir / "buffer.db-wal").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "lose",
    [delete, delete_but_the_wal, empty, put_older_back, lose_the_wal],
    ids=lambda f: f.__name__,
)
def test_a_lost_buffer_costs_nothing(
    pair: Pair, tmp_path: Path, lose: Callable[[Path, Path], None]
) -> None:
    """Killed with changes pending behind some that are finished, then the buffer is lost."""
    for file in files(pair.disturbed.data_dir):
        shutil.copy(file, tmp_path)
    assert kill_at(pair, "record.committed")
    assert pair.disturbed.unfinished()
    lose(pair.disturbed.data_dir, tmp_path)
    pair.recover()
