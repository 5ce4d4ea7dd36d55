"""What `npmmirror show` knows: of packages, versions and captured documents."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from npmmirror.daemon.nearest import nearest
from npmmirror.daemon.showing import UnknownError, shown
from npmmirror.daemon.standing import standing
from npmmirror.errors import StorageError
from npmmirror.index import VersionRow
from npmmirror.outcome import WorkItem
from npmmirror.testing import ScriptedRegistry
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def followed(mirror: Open, **sections: dict[str, Any]) -> AsyncIterator[RunningMirror]:
    """A mirror that was at the head of a small history and runs on."""
    async with mirror(**sections) as here:
        publish(here.upstream.registry)
        async with here.running():
            await here.at_head()
            yield here


def publish(registry: ScriptedRegistry) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        registry.publish("left-pad", version)


async def of_package(here: RunningMirror, name: str) -> dict[str, Any]:
    async with shown(here.config) as showing:
        return await showing.package(name)


async def test_a_package_is_told_with_what_is_not_held_and_why(mirror: Open) -> None:
    """Beside a running daemon: the state, each version's standing, revisions, events."""
    async with followed(mirror) as here:
        report = await of_package(here, "left-pad")
    assert report["state"] == "live"
    assert report["dist_tags"] == {"latest": "1.2.0"}
    assert {each["version"]: each["tarball"] for each in report["versions"]} == {
        "1.0.0": "not_wanted",
        "1.1.0": "not_wanted",
        "1.2.0": "held",
    }
    assert [each["revision"] for each in report["revisions"]] == [1]
    assert [each["kind"] for each in report["events"]] == ["package_observed"]


async def test_a_failing_tarball_is_told_with_its_attempts_and_next_try(mirror: Open) -> None:
    """What is on the work list: the reason, how often it was tried, when it is tried again."""
    async with mirror(
        fetch={"retry_seconds": 3000.0, "retry_max_seconds": 9000.0, "max_attempts": 5}
    ) as here:
        publish(here.upstream.registry)
        here.upstream.registry.replace_tarball("left-pad", "1.2.0", b"other bytes")
        async with here.running():
            await here.until(lambda status: bool(status["work_list"]))
            report = await of_package(here, "left-pad")
    [failed] = [each for each in report["versions"] if each["tarball"] == "failed"]
    assert (failed["version"], failed["reason"], failed["attempts"]) == (
        "1.2.0",
        "digest_mismatch",
        1,
    )
    assert failed["next_try"] > report["observed_at"]


async def test_a_version_is_told_by_itself_and_by_its_tag(mirror: Open) -> None:
    """Its claims, its file, its dependencies where a tag names it; and none where none does."""
    async with followed(mirror) as here, shown(here.config) as showing:
        report = await showing.version("left-pad", "latest")
        other = await showing.version("left-pad", "1.0.0")
    body = here.upstream.registry.tarball("left-pad", "1.2.0")
    assert report["version"] == "1.2.0"
    assert report["dist_tags"] == ["latest"]
    assert report["size"] == len(body)
    assert report["sha512"] == hashlib.sha512(body).hexdigest()
    assert report["dist"]["integrity"].startswith("sha512-")
    assert isinstance(report["dependencies"], list)
    assert other["dependencies"] is None
    assert other["path"] is None


async def test_documents_are_given_byte_for_byte(mirror: Open) -> None:
    """Each revision by its number, the newest where none is named."""
    async with followed(mirror) as here:
        registry = here.upstream.registry
        first = registry.document("left-pad")
        registry.publish("left-pad", "1.3.0")
        await here.at_head()
        async with shown(here.config) as showing:
            assert await showing.document("left-pad", 1) == first
            assert await showing.document("left-pad") == registry.document("left-pad")
            report = await showing.revision("left-pad", 2)
            with pytest.raises(UnknownError, match="no revision 3: 2 of it"):
                await showing.document("left-pad", 3)
    assert report["version_count"] == 4
    assert report["length"] == len(registry.document("left-pad"))


async def test_a_stale_document_is_marked_and_never_the_newest(mirror: Open) -> None:
    """What came older than announced is kept, with its number."""
    async with mirror() as here:
        registry = here.upstream.registry
        publish(registry)
        registry.serve_stale("left-pad", 1)
        async with here.running():
            await here.at_head()
            async with shown(here.config) as showing:
                report = await showing.package("left-pad")
                stale = await showing.revision("left-pad", 1)
                newest = await showing.document("left-pad")
    assert [each["stale"] for each in report["revisions"]] == [True, False]
    assert stale["stale"]
    assert newest == registry.document("left-pad")


async def test_what_is_unknown_is_refused_with_the_nearest_names(mirror: Open) -> None:
    """A misspelt package or version: the sentence names what may have been meant."""
    async with followed(mirror) as here, shown(here.config) as showing:
        with pytest.raises(UnknownError, match="no package 'leftpad'; did you mean 'left-pad'"):
            await showing.package("leftpad")
        with pytest.raises(UnknownError, match=r"no version '1\.2' .* '1\.2\.0'"):
            await showing.version("left-pad", "1.2")
        with pytest.raises(
            UnknownError, match=r"no package 'zzz'; `npmmirror sync zzz` mirrors it"
        ):
            await showing.document("zzz")


async def test_where_there_is_no_mirror_that_is_said(mirror: Open) -> None:
    """Nothing is made by looking."""
    async with mirror() as here:
        with pytest.raises(StorageError, match="there is no mirror in"):
            await of_package(here, "left-pad")
        assert not here.config.storage.data_dir.exists()


def row(**facts: Any) -> VersionRow:
    """A version that was never stored, but for these facts."""
    none: dict[str, Any] = dict.fromkeys(VersionRow.__dataclass_fields__)
    told: dict[str, Any] = {
        "version": "1.0.0",
        "present": True,
        "has_install_script": False,
        "state": "",
    }
    return VersionRow(**(none | told | facts))


def item(reason: str, not_before: str | None, attempts: int) -> WorkItem:
    return WorkItem("a", "1.0.0", reason, not_before, attempts)


@pytest.mark.parametrize(
    ("found", "work", "word"),
    [
        (row(state="held"), None, "held"),
        (row(state="unverifiable"), item("repair", "2026", 0), "held"),
        (row(), None, "not_wanted"),
        (row(present=False), None, "unpublished"),
        (row(missing="too_large"), None, "skipped"),
        (row(state="dropped", missing="pruned"), None, "dropped"),
        (row(state="dropped", missing="repair"), item("repair", "2026", 0), "waiting"),
        (row(missing="wanted"), item("wanted", "2026", 0), "waiting"),
        (row(missing="reset"), item("reset", "2026", 1), "failed"),
        (row(missing="reset"), item("reset", None, 9), "set_aside"),
    ],
)
def test_a_tarball_stands_in_one_of_eight_ways(
    found: VersionRow, work: WorkItem | None, word: str
) -> None:
    """One word for why a file is here or is not."""
    assert standing(found, work).word == word


def test_the_nearest_names_are_few() -> None:
    """At most three, the likeliest first, none that is far."""
    assert nearest("chalk", ["chalks", "chalkk", "chalky", "chal", "react"])[0] in {
        "chalks",
        "chalkk",
        "chalky",
    }
    assert len(nearest("chalk", ["chalks", "chalkk", "chalky", "chal"])) == 3
    assert nearest("chalk", ["react"]) == []
