"""Files whose package.json is not what the packument says: rows, and counts of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from npmmirror.confusion import Confusion, Difference
from npmmirror.index import Group, IndexReader, IndexWriter
from tests.index.building import captured, drop, tarball

pytestmark = pytest.mark.anyio

DIFFERS = Confusion("differs", (Difference.cut("scripts.install", None, "\ud800 x"),), 3)
NONE = Confusion("no_package_json")


async def test_they_are_found_by_package_and_version(path: Path) -> None:
    """With all that is kept of the difference, and counted by their reasons."""
    files = (
        tarball("a", "1.0.0", 2, confusion=NONE),
        tarball("a", "1.1.0", 3),
        tarball("a", "1.2.0", 4, confusion=Confusion("differs", DIFFERS.differences[:0], 3)),
        tarball("b", "1.0.0", 5, confusion=NONE),
    )
    async with await IndexWriter.open(path) as writer, await IndexReader.open(path) as reader:
        await writer.commit(captured("a", 1, "1.0.0", "1.1.0", "1.2.0"))
        await writer.commit(Group(tarballs=files))
        assert await reader.confusions("a") == {"1.0.0": NONE, "1.2.0": files[2].confusion}
        assert await reader.confusions("a", "1.0.0") == {"1.0.0": NONE}
        assert await reader.confusions("a", "1.1.0") == {}
        assert await reader.confusions("c") == {}
        status = await reader.status()
        assert status.manifest_confusions == {"no_package_json": 2, "differs": 1}


async def test_a_file_that_is_stored_anew_is_judged_anew(path: Path) -> None:
    """What its predecessor said is forgotten; that a file is dropped changes nothing."""
    async with await IndexWriter.open(path) as writer, await IndexReader.open(path) as reader:
        await writer.commit(Group(tarballs=(tarball("a", "1.0.0", 1, confusion=NONE),)))
        await writer.commit(Group(drops=(drop("a", "1.0.0", 2),)))
        assert await reader.confusions("a") == {"1.0.0": NONE}
        again = tarball("a", "1.0.0", 3)
        await writer.commit(Group(tarballs=(replace(again, ordinal=2, confusion=NONE), again)))
        assert await reader.confusions("a") == {}


async def test_what_no_table_can_hold_is_held(path: Path) -> None:
    """A lone surrogate in a script."""
    async with await IndexWriter.open(path) as writer, await IndexReader.open(path) as reader:
        await writer.commit(Group(tarballs=(tarball("a", "1.0.0", 1, confusion=DIFFERS),)))
        [found] = (await reader.confusions("a")).values()
    assert found.reason == "differs"
    assert found.differences == (Difference("scripts.install", None, "\\ud800 x"),)
