"""A package erased: nothing of it is left but what the chain needs, and all else is unharmed."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from npmmirror.archive import CaptureReader, Damage, ErasedError, TarballStore, blanking
from npmmirror.archive.segments import segment_path
from npmmirror.capture import Kind, Record
from npmmirror.config import Config
from npmmirror.daemon import erase as erasing, standalone
from npmmirror.daemon.erase import Plan, erase
from npmmirror.daemon.reindex import reindex
from npmmirror.daemon.verification.run import Asked
from npmmirror.errors import LockedError, StorageError
from npmmirror.index import IndexWriter
from npmmirror.layout import package_directories
from npmmirror.testing import faults
from npmmirror.testing.history import History
from npmmirror.testing.release import Release
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences
from tests.kill import endstate

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SECRET = "mallory-of-mallorca"
NAME = "victim"
SECTIONS: dict[str, dict[str, Any]] = {
    "storage": {"segment_bytes": 12_000},
    "policy": {"tarballs": "all", "confirm_removal_hours": 0},
}


async def agreed(_: Plan) -> bool:
    return True


async def done(config: Config, name: str = NAME) -> Plan:
    return await erase(config, name, "court order 7", agreed)


async def live(here: RunningMirror) -> None:
    """Several packages; every revision of one of them names somebody."""
    registry = here.upstream.registry
    history = History(registry, seed=3, packages=5, share=0.8)
    async with here.running():
        await here.at_head()
        registry.set_time("2100-01-01T00:00:00Z")
        for minor in range(4):
            manifest = {"author": SECRET, "_npmUser": {"name": SECRET}, "license": SECRET}
            release = Release(f"1.{minor}.0", {"body": SECRET.encode()}, manifest)
            registry.publish_all(NAME, [release], extra={"readme": SECRET})
            registry.tag(NAME, SECRET, "1.0.0")
            history.step()
            await here.at_head()
        registry.add_maintainer(NAME, SECRET)
        registry.serve_stale(NAME, 1)
        registry.deprecate(NAME, "1.1.0", SECRET)
        await here.at_head()


def records(config: Config) -> list[Record]:
    with CaptureReader(config.storage.data_dir / "captures") as reader:
        found = list(reader.scan())
    assert not [one for one in found if isinstance(one, Damage)]
    return [one for one in found if isinstance(one, Record)]


def documents(config: Config) -> list[Record]:
    """The records of documents that are, or were, its."""
    return [one for one in records(config) if one.name == NAME and one.kind is Kind.PACKUMENT]


def others(state: endstate.EndState) -> dict[str, endstate.PackageState]:
    return {name: one for name, one in state.packages.items() if name != NAME}


def readable(config: Config) -> dict[int, str]:
    """The documents of all packages that can be read: their SHA-256 by ordinal."""
    found = {}
    with CaptureReader(config.storage.data_dir / "captures") as reader:
        for record in records(config):
            if record.kind is Kind.PACKUMENT and record.name != NAME:
                digest = hashlib.sha256(reader.document(record.place)).hexdigest()
                assert digest == record.sha256
                found[record.ordinal] = digest
    return found


def assert_gone(config: Config) -> None:
    """No file of the data directory holds a byte of what was erased."""
    assert documents(config)
    with CaptureReader(config.storage.data_dir / "captures") as reader:
        for one in documents(config):
            assert one.erased
            with pytest.raises(ErasedError):
                reader.document(one.place)
    for path in config.storage.data_dir.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    packages = config.storage.packages_path
    assert not [where for where in package_directories(NAME) if (packages / where).exists()]
    with closing(endstate.connect(config.storage.data_dir)) as index:
        assert index.execute("SELECT * FROM resumptions WHERE command = 'erase'").fetchall() == []


async def test_nothing_of_it_is_left_and_all_else_is_unharmed(mirror: Open) -> None:
    """Documents, tarballs and rows; the chain holds, and the others' documents read."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        before, texts = here.end_state(), readable(here.config)
        headers = [(one.ordinal, one.hash) for one in records(here.config)]
        count = len(documents(here.config))
        plan = await done(here.config)
        assert plan.done
        assert (len(plan.documents), len(plan.files)) == (count, 4)
        assert_gone(here.config)
        assert readable(here.config) == texts
        assert [(one.ordinal, one.hash) for one in records(here.config)][: len(headers)] == headers
        after = here.end_state()
        assert others(after) == others(before)
        assert after.packages[NAME].package[0] == "erased"
        assert after.packages[NAME].events == ()
        assert after.files.items() < before.files.items()
        *drops, decision, _ = records(here.config)[len(headers) :]
        assert {one.kind for one in drops} == {Kind.DROPPED}
        assert decision.name == NAME
        assert decision.facts["what"] == "erase"
        assert decision.facts["detail"]["reason"] == "court order 7"


async def test_reindex_gives_the_same_tables(mirror: Open) -> None:
    """Also where the index is lost, so that nothing is known of what was erased."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        await done(here.config)
        before = derived(here.config.storage.index_path)
        for _ in range(2):
            await reindex(here.config, lambda _: None)
            assert differences(before, derived(here.config.storage.index_path)) == []
            for path in here.config.storage.data_dir.glob("index.db*"):
                path.unlink()
        assert (await reindex(here.config, lambda _: None)).whole
        assert differences(before, derived(here.config.storage.index_path)) == []
        assert_gone(here.config)


async def test_what_comes_later_is_seen_for_the_first_time(mirror: Open) -> None:
    """A whole frame, no news of what is old; files that were dropped stay so. And reindex agrees."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        await done(here.config)
        async with here.running():
            await here.at_head()
            assert here.upstream.registry.publish(NAME, "2.0.0")
            await here.at_head()
        state = here.end_state().packages[NAME]
        assert {row[0]: row[13] for row in state.versions} == {
            **dict.fromkeys(("1.0.0", "1.1.0", "1.2.0", "1.3.0"), "dropped"),
            "2.0.0": "held",
        }
        assert "package_unpublished" not in [row[1] for row in state.events]
        newest = [one for one in records(here.config) if one.name == NAME and not one.erased]
        assert next(one for one in newest if one.kind is Kind.PACKUMENT).number == 0
        before = derived(here.config.storage.index_path)
        for path in here.config.storage.data_dir.glob("index.db*"):
            path.unlink()
        await reindex(here.config, lambda _: None)
        assert differences(before, derived(here.config.storage.index_path)) == []
        plan = await done(here.config)
        assert len(plan.documents) == 1
        assert_gone(here.config)


async def test_erasing_again_does_nothing(mirror: Open) -> None:
    """No second decision, nobody is asked."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        await done(here.config)
        count = len(records(here.config))

        async def refuse(_: Plan) -> bool:
            raise AssertionError

        plan = await erase(here.config, NAME, "again", refuse)
        assert plan.done
        assert plan.nothing_left
        assert len(records(here.config)) == count


async def test_what_is_not_agreed_to_is_not_done(mirror: Open) -> None:
    """A dry run tells what there is."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        before, count = here.end_state(), len(records(here.config))

        async def no(plan: Plan) -> bool:
            assert len(plan.documents) == len(documents(here.config))
            return False

        plan = await erase(here.config, NAME, "?", no)
        assert not plan.done
        assert endstate.differences(before, here.end_state()) == []
        assert len(records(here.config)) == count


def _killed(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


async def _killed_later(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def _half_removed(store: TarballStore, paths: Any) -> int:
    """Dies behind the first file."""
    first = next(iter(paths), None)
    if first is not None:
        store._final(first).unlink()
    raise KeyboardInterrupt


KILLS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "before the log": (erasing, "seal", _killed),
    "before the index": (IndexWriter, "commit", _killed_later),
    "before the files": (erasing._Eraser, "_remove", _killed),
    "amid the files": (TarballStore, "remove", _half_removed),
    "before the documents": (erasing, "blank", _killed),
    "amid the documents": (blanking, "_blank_segment", _killed),
    "before the file is written anew": (IndexWriter, "vacuum", _killed_later),
    "at the end": (IndexWriter, "forget_resumption", _killed_later),
}


@pytest.mark.parametrize("moment", KILLS)
@pytest.mark.parametrize("between", ["nothing", "a daemon", "reindex", "a lost index"])
async def test_a_kill_is_made_good_by_the_same_command(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, moment: str, between: str
) -> None:
    """Whatever was done, and whoever was there meanwhile: nothing wedges, nothing is left."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        before = here.end_state()
        with monkeypatch.context() as patched:
            patched.setattr(*KILLS[moment])
            with pytest.raises(KeyboardInterrupt):
                await done(here.config)
        await _meanwhile(here, between)
        assert (await done(here.config)).done
        for path in here.config.storage.data_dir.glob("index.db.before-reindex*"):
            path.unlink()
        assert_gone(here.config)
        after = here.end_state()
        assert others(after).keys() == others(before).keys()
        assert after.packages[NAME].package[0] == "erased"
        decisions = [one for one in records(here.config) if one.kind is Kind.DECISION]
        assert len(decisions) == 1
        tables = derived(here.config.storage.index_path)
        await reindex(here.config, lambda _: None)
        assert differences(tables, derived(here.config.storage.index_path)) == []


async def _meanwhile(here: RunningMirror, what: str) -> None:
    if what == "a daemon":
        async with here.running():
            await here.at_head()
    elif what == "reindex":
        await reindex(here.config, lambda _: None)
    elif what == "a lost index":
        for path in here.config.storage.data_dir.glob("index.db*"):
            path.unlink()
        await reindex(here.config, lambda _: None)


async def test_a_start_tells_of_an_erasure_that_is_not_finished(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that nobody believes it done."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        with monkeypatch.context() as patched:
            patched.setattr(erasing, "blank", _killed)
            with pytest.raises(KeyboardInterrupt):
                await done(here.config)
        async with here.running():
            pass
        assert "erase_unfinished" in capsys.readouterr().out


async def test_a_record_that_is_damaged_is_told(mirror: Open) -> None:
    """All others are blanked."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        count = len(documents(here.config))
        hit = documents(here.config)[0]
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 500] ^= 4
        path.write_bytes(data)
        plan = await done(here.config)
        assert len(plan.documents) == count - 1
        assert len(plan.damaged) == 1
        assert f"damaged at byte {hit.place.offset}" in plan.damaged[0]


async def test_files_that_the_index_does_not_know_go_too(mirror: Open) -> None:
    """Orphans, whatever the layout was when they were stored, and what was set aside as damaged."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        packages = here.config.storage.packages_path
        aside = here.config.storage.data_dir / "damaged"
        first, *_, last = package_directories(NAME)
        for top, where in ((packages, first), (packages, last), (aside, last)):
            (top / where).mkdir(parents=True, exist_ok=True)
            (top / where / f"{NAME}-9.0.0.tgz").write_text(SECRET)
        other = packages / first / "other" / "other-1.0.0.tgz"
        other.parent.mkdir()
        other.write_text("another package's, where no hash was wanted")
        assert len((await done(here.config)).files) == 6
        assert other.exists()
        other.unlink()
        other.parent.rmdir()
        other.parent.parent.rmdir()
        assert_gone(here.config)


async def test_copies_are_named(mirror: Open) -> None:
    """What the mirror itself copied is the operator's to look after."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        await reindex(here.config, lambda _: None)
        plan = await done(here.config)
        assert [path.name for path in plan.elsewhere] == ["index.db.before-reindex"]


async def test_lost_files_of_it_are_not_fetched_again(mirror: Open) -> None:
    """`verify` does not miss what was erased, and `retry` has nothing to try."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        here.upstream.fault("tarball", faults.Status(404), times=None)
        here.upstream.registry.publish(NAME, "3.0.0")
        async with here.running():
            await here.until(lambda status: bool(status["last_errors"]))
        assert here.work_list(NAME)
        await done(here.config)
        assert here.work_list(NAME) == {}
        assert here.rows("SELECT count(*) FROM versions WHERE reason = 'missing'") == [(0,)]


async def test_beside_a_daemon_it_is_refused(mirror: Open) -> None:
    """The lock is held: exit status 75."""
    async with mirror(**SECTIONS) as here, here.running():
        with pytest.raises(LockedError):
            await done(here.config)


async def test_a_package_that_nothing_is_known_of(mirror: Open) -> None:
    """One sentence; and none is made where there is no mirror at all."""
    async with mirror() as here:
        with pytest.raises(StorageError, match="there is no mirror"):
            await done(here.config)
        assert not here.config.storage.data_dir.exists()
        here.upstream.registry.publish("a", "1.0.0")
        async with here.running():
            await here.at_head()
        with pytest.raises(StorageError, match="nothing was ever captured of victim"):
            await done(here.config)


async def test_verify_finds_nothing_wrong(mirror: Open) -> None:
    """Blanked documents are counted as such, and their chain is verified."""
    async with mirror(**SECTIONS) as here:
        await live(here)
        await done(here.config)
        asked = Asked(None, repair=False, restart=False, force=False)
        report = await standalone.verify(here.config, here.source, asked, tell=lambda _: None)
        assert report is not None
        assert report["findings"] == []
        assert report["well"]
        assert report["documents_erased"] == len(documents(here.config))
