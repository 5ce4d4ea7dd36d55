"""An index in a directory of its own, with its writer and a reader."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from npmmirror.index import IndexReader, IndexWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the index lies."""
    return tmp_path / "index.db"


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[IndexWriter]:
    """A new index."""
    async with await IndexWriter.open(path) as writer:
        yield writer


@pytest.fixture
async def reader(
    writer: IndexWriter,  # noqa: ARG001  it makes the file
    path: Path,
) -> AsyncIterator[IndexReader]:
    """A reader beside the writer."""
    async with await IndexReader.open(path) as reader:
        yield reader
