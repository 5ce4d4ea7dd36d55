"""The file that a reconciliation compares in."""

from pathlib import Path

import pytest

from npmmirror.index import reconciling
from npmmirror.index.reconciling import Listing
from npmmirror.index.schema import IndexUnavailableError

pytestmark = pytest.mark.anyio


def left_in(directory: Path) -> list[str]:
    """The files that are there."""
    return [file.name for file in directory.iterdir()]


async def test_a_listing_that_finds_no_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It left its file in staging, with its connection open, until the next one came so far."""
    full = "PRAGMA max_page_count = 1; CREATE TABLE listed (name TEXT); CREATE TABLE b (a TEXT)"
    monkeypatch.setattr(reconciling, "_SCHEMA", full)
    with pytest.raises(IndexUnavailableError, match="full"):
        await Listing.begin(tmp_path / "listing.db", tmp_path / "index.db")
    assert left_in(tmp_path) == []
