"""Invariant 10: `reindex` over the archive gives the derived tables that are there."""

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from npmmirror.archive import CaptureReader, Damage, SetAside
from npmmirror.archive.segments import segment_path
from npmmirror.capture import Kind, Record
from npmmirror.config import Config
from npmmirror.daemon.rebuilt import Finding, Rebuilt
from npmmirror.daemon.reindex import reindex
from npmmirror.errors import LockedError, StorageError
from npmmirror.index import Group, IndexWriter, carrying, schema
from npmmirror.testing import faults
from npmmirror.testing.history import History
from npmmirror.testing.release import Release
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import QUERIES, Tables, derived, differences
from tests.kill import endstate

pytestmark = pytest.mark.anyio

LONG = {"readme": Random(0).randbytes(3_000).hex()}
"""What makes deltas worth their while."""


def silent(_: dict[str, Any]) -> None:
    """Tell nobody."""


async def rebuilt(config: Config) -> Rebuilt:
    return await reindex(config, silent)


def tables(config: Config) -> Tables:
    return derived(config.storage.index_path)


def ask(config: Config, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(config.storage.index_path)) as index:
        return index.execute(sql).fetchall()


def lose(config: Config) -> None:
    """As if the disk of the index had died."""
    for file in config.storage.data_dir.glob("index.db*"):
        file.unlink()


def records(config: Config) -> list[Record]:
    with CaptureReader(config.storage.data_dir / "captures") as reader:
        found = list(reader.scan())
    assert not [one for one in found if isinstance(one, Damage)]
    return [one for one in found if isinstance(one, Record)]


async def live(here: RunningMirror, history: History, steps: int) -> None:
    """Let a mirror follow a history step by step."""
    async with here.running():
        await here.at_head()
        here.upstream.registry.set_time("2100-01-01T00:00:00Z")
        for _ in range(steps):
            history.step()
            await here.at_head()


LIVES = [
    (1, {"policy": {"tarballs": "new"}}),
    (2, {"policy": {"tarballs": "all"}, "fetch": {"tarballs_per_job": 1}}),
    (3, {"policy": {"tarballs": "latest"}, "storage": {"segment_bytes": 20_000}}),
    (4, {"policy": {"tarballs": "none"}, "storage": {"commit_count": 1}}),
]


@pytest.mark.parametrize(("seed", "sections"), LIVES)
async def test_after_any_history_the_tables_are_the_same(
    mirror: Open, seed: int, sections: dict[str, dict[str, Any]]
) -> None:
    """Table by table, event ids included: with the index before at hand, and without."""
    sections.setdefault("policy", {})["confirm_removal_hours"] = 0
    async with mirror(**sections) as here:
        await here.sync("package-0")
        history = History(here.upstream.registry, seed=seed, packages=12, share=0.5)
        here.upstream.fault("packument", faults.Status(503), times=3)
        await live(here, history, 8)
        for name in history.names[:3]:
            here.upstream.registry.serve_stale(name, 1)
        await live(here, history, 4)
        before, state = tables(here.config), here.end_state()
        assert before["events"]
        result = await rebuilt(here.config)
        assert differences(before, tables(here.config)) == []
        assert (result.whole, result.carried) == (True, "all")
        assert endstate.differences(state, here.end_state()) == []
        lose(here.config)
        result = await rebuilt(here.config)
        assert differences(before, tables(here.config)) == []
        assert (result.whole, result.carried, result.kept) == (True, "none", None)


async def test_a_mirror_goes_on_with_a_rebuilt_index(mirror: Open) -> None:
    """What changed meanwhile is followed, from where the log says; nothing is an event twice."""
    async with mirror(follow={"since": "now"}, policy={"confirm_removal_hours": 0}) as here:
        history = History(here.upstream.registry, seed=5, packages=10, share=0.5)
        await live(here, history, 3)
        lose(here.config)
        history.step()
        with pytest.raises(BaseExceptionGroup, match="unhandled"):
            async with here.running():
                pass
        await rebuilt(here.config)
        async with here.running():
            await here.at_head()
        state = here.end_state()
        mirrored = {
            name: told
            for name, told in here.upstream.registry.state().items()
            if name in state.packages
        }
        assert len(mirrored) > 3
        assert endstate.untruths(state, mirrored) == []
        assert endstate.leftovers(here.config.storage.data_dir, state) == []
        await rebuilt(here.config)
        assert endstate.differences(state, here.end_state()) == []


async def small(here: RunningMirror) -> None:
    """A mirror of six packages with a few revisions each, in several segments."""
    history = History(here.upstream.registry, seed=7, packages=6, share=0.7)
    await live(here, history, 5)


SMALL: dict[str, dict[str, Any]] = {
    "storage": {"segment_bytes": 8_000},
    "policy": {"confirm_removal_hours": 0, "tarballs": "all"},
}


@pytest.mark.parametrize("after", [1, 3, 5])
async def test_a_kill_is_made_good_by_the_next_call(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Whichever group was the last: it goes on there, and ends with the same tables."""
    async with mirror(**SMALL) as here:
        await small(here)
        before, commit, groups = tables(here.config), IndexWriter.commit, 0
        monkeypatch.setattr("npmmirror.daemon.reindex.BATCH_BYTES", 0)

        async def dying(index: IndexWriter, group: Group) -> None:
            nonlocal groups
            groups += 1
            if groups > after:
                raise KeyboardInterrupt
            await commit(index, group)

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "commit", dying)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        assert differences(before, tables(here.config)) == []
        marks = [one.ordinal for one in records(here.config) if one.kind is Kind.MARK]
        result = await rebuilt(here.config)
        assert result.resumed_at == marks[after - 1]
        assert result.records == marks[-1] - marks[after - 1]
        assert differences(before, tables(here.config)) == []
        assert not list(here.config.storage.data_dir.glob("index.db.new*"))


@pytest.mark.parametrize("step", ["carry", "take_bearings", "forget_resumption"])
async def test_a_kill_behind_the_last_group(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What is not yet in its place does no harm, whatever the daemon did meanwhile."""
    async with mirror(**SMALL) as here:
        await small(here)

        async def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, step, killed)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        async with here.running():
            here.upstream.registry.publish("young", "1.0.0")
            await here.at_head()
        before, state = tables(here.config), here.end_state()
        await rebuilt(here.config)
        assert differences(before, tables(here.config)) == []
        assert endstate.differences(state, here.end_state()) == []


@pytest.mark.parametrize("step", ["hardlink_to", "rename"])
async def test_a_kill_while_the_new_index_takes_its_place(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """There is a whole index at any moment; work that was put meanwhile is not forgotten."""
    async with mirror(**SMALL) as here:
        await small(here)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(Path, step, killed)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        async with here.running():
            here.upstream.fault("tarball", faults.Status(404), times=None)
            here.upstream.registry.publish("young", "1.0.0")
            await here.until(lambda status: bool(status["last_errors"]))
        before, state = tables(here.config), here.end_state()
        result = await rebuilt(here.config)
        assert result.resumed_at is None
        assert differences(before, tables(here.config)) == []
        assert endstate.differences(state, here.end_state()) == []


async def test_what_another_program_began_is_begun_anew(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of an index made by other rules, or of another log, or damaged, is of no use."""
    async with mirror(**SMALL) as here:
        await small(here)
        before = tables(here.config)
        new = here.config.storage.data_dir / "index.db.new"

        async def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "carry", killed)
            patched.setattr("npmmirror.daemon.reindex.__version__", "0.0.0")
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        assert (await rebuilt(here.config)).resumed_at is None
        new.write_bytes(b"no database" * 1000)
        assert (await rebuilt(here.config)).resumed_at is None
        assert differences(before, tables(here.config)) == []


async def test_beside_a_daemon_it_is_refused(mirror: Open) -> None:
    """The lock is held: exit status 75."""
    async with mirror(**SMALL) as here, here.running():
        with pytest.raises(LockedError):
            await rebuilt(here.config)
        assert LockedError.exit_status == 75


async def test_without_a_log_there_is_nothing_to_do(mirror: Open) -> None:
    """One sentence, and no index is made."""
    async with mirror() as here:
        with pytest.raises(StorageError, match="no capture log"):
            await rebuilt(here.config)
        assert not here.config.storage.data_dir.exists()


async def test_what_only_the_index_knew_is_taken_over(mirror: Open) -> None:
    """Work list with its attempts, skips, checks, what is finished, progress and receipts."""
    async with mirror(policy={"max_tarball_bytes": 50_000}) as here:
        registry = here.upstream.registry
        registry.publish("large", "1.0.0", files={"body": bytes(range(256)) * 1000})
        registry.publish("gone", "1.0.0")
        here.upstream.fault("tarball", faults.Status(404), name="gone", times=None)
        async with here.running():
            await here.until(lambda status: bool(status["last_errors"]) and status["skips"])
        operational = {
            table: ask(here.config, f"SELECT * FROM {table}")  # noqa: S608 - constants
            for table in ("progress", "receipts", "skips")
        }
        state = here.end_state()
        assert (await rebuilt(here.config)).carried == "all"
        for table, rows in operational.items():
            assert ask(here.config, f"SELECT * FROM {table}") == rows  # noqa: S608 - as above
        assert endstate.differences(state, here.end_state()) == []
        assert ask(here.config, "SELECT command, place FROM resumptions") == [("reconcile", "")]


async def test_a_lost_index_wants_what_is_not_held(mirror: Open) -> None:
    """Its work list is made of the policy and of the files that are there; the cursor of marks."""
    async with mirror(policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            registry.publish("a", version)
        here.upstream.fault("tarball", faults.Status(404), times=None)
        async with here.running():
            await here.until(lambda status: sum(status["work_list"].values()) == 3)
            here.upstream.registry.unpublish_version("a", "1.1.0")
            await here.until(lambda status: status["totals"]["revisions"] == 2)
        cursor = ask(here.config, "SELECT cursor FROM progress")
        lose(here.config)
        await rebuilt(here.config)
        assert ask(here.config, "SELECT item, reason, attempts FROM work_list ORDER BY item") == [
            ("1.0.0", "wanted", 0),
            ("1.2.0", "wanted", 0),
        ]
        assert ask(here.config, "SELECT cursor, checkpoint FROM progress") == [(*cursor[0], None)]


async def test_changes_that_wait_in_the_buffer_are_not_forgotten(mirror: Open) -> None:
    """The cursor of the last mark is ahead of what is finished; the buffer still has the rest."""
    async with mirror(fetch={"concurrency": 1}, storage={"commit_count": 1}) as here:
        for number in range(6):
            here.upstream.registry.publish(f"p{number}", "1.0.0")
        async with here.running():
            here.upstream.fault("packument", faults.Stall(), name="p3", times=1)
            await here.upstream.asked("packument", "p3")
            await here.until(lambda status: status["totals"]["revisions"] >= 1)
        held = {row[0] for row in ask(here.config, "SELECT name FROM packages WHERE state <> ''")}
        assert held < {f"p{number}" for number in range(6)}
        lose(here.config)
        await rebuilt(here.config)
        here.upstream.release()
        async with here.running():
            status = await here.at_head()
        assert status["totals"]["packages"] == {"live": 6}


async def test_an_older_index_is_brought_up(mirror: Open) -> None:
    """The log is ahead: everything is there, and what the index calls finished still holds."""
    async with mirror(**SMALL) as here:
        await small(here)
        older = here.config.storage.index_path.read_bytes()
        async with here.running():
            here.upstream.registry.publish("young", "1.0.0")
            await here.at_head()
        before = tables(here.config)
        lose(here.config)
        here.config.storage.index_path.write_bytes(older)
        result = await rebuilt(here.config)
        assert (result.whole, result.carried) == (True, "all")
        assert differences(before, tables(here.config)) == []
        assert result.kept is not None
        assert len(derived(result.kept)["marks"]) < len(before["marks"])


async def test_an_index_ahead_of_the_log(mirror: Open) -> None:
    """An older copy of the archive: the index is refused, rebuilt, and what is lost comes again."""
    async with mirror(**SMALL) as here:
        await small(here)
        captures = here.config.storage.data_dir / "captures"
        older = {path.name: path.read_bytes() for path in captures.glob("*.log")}
        before = tables(here.config)
        async with here.running():
            here.upstream.registry.publish("young", "1.0.0")
            await here.at_head()
        for path in captures.glob("*.log"):
            path.unlink()
        for name, content in older.items():
            (captures / name).write_bytes(content)
        result = await rebuilt(here.config)
        assert result.carried == "some"
        assert differences(before, tables(here.config)) == []
        assert ask(here.config, "SELECT count(*) FROM finished") == [(0,)]
        async with here.running():
            status = await here.at_head()
        assert status["totals"]["packages"]["live"] >= 2
        state = here.end_state()
        assert endstate.untruths(state, here.upstream.registry.state()) == []


async def test_an_index_that_is_no_database(mirror: Open) -> None:
    """Nothing is taken over from it; it is kept beside."""
    async with mirror(**SMALL) as here:
        await small(here)
        before = tables(here.config)
        spoilt = b"SQLite format 3\0" + b"\xa5" * 50_000
        lose(here.config)
        here.config.storage.index_path.write_bytes(spoilt)
        result = await rebuilt(here.config)
        assert result.carried == "none"
        assert result.kept is not None
        assert result.kept.read_bytes() == spoilt
        assert differences(before, tables(here.config)) == []


async def test_a_torn_tail_is_set_aside(mirror: Open) -> None:
    """Half a record at the end was promised to nobody."""
    async with mirror(**SMALL) as here:
        await small(here)
        before = tables(here.config)
        last = max((here.config.storage.data_dir / "captures").glob("*.log"))
        with last.open("ab") as file:
            file.write(b"\xf5NMC half a record")
        result = await rebuilt(here.config)
        assert [aside.length for aside in result.set_aside] == [18]
        assert result.whole
        assert differences(before, tables(here.config)) == []


async def test_a_flipped_bit_in_the_last_group_is_no_torn_tail(mirror: Open) -> None:
    """What the index before had committed was there once: it is named, and stays where it is."""
    async with mirror(**SMALL) as here:
        await small(here)
        here.upstream.registry.publish("young", "1.0.0")
        async with here.running():
            await here.at_head()
        hit = next(one for one in reversed(records(here.config)) if one.kind is Kind.PACKUMENT)
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 600] ^= 4
        path.write_bytes(data)
        result = await rebuilt(here.config)
        assert result.set_aside == ()
        assert [(one.ordinal, one.package) for one in result.damaged] == [(hit.ordinal, "young")]
        async with here.running():
            await here.at_head()
        state = here.end_state()
        assert endstate.untruths(state, here.upstream.registry.state()) == []


async def test_records_without_a_mark_are_given_one(mirror: Open) -> None:
    """What was durable when the process died counts."""
    async with mirror(**SMALL) as here:
        await small(here)
        last = records(here.config)[-1]
        before = tables(here.config)
        path = segment_path(here.config.storage.data_dir / "captures", last.place.segment)
        with path.open("r+b") as file:
            file.truncate(last.place.offset)
        await rebuilt(here.config)
        after = tables(here.config)
        timeless: Tables = {"marks": [], "latency_counts": []}
        assert differences(before | timeless, after | timeless) == []
        assert len(after["marks"]) == len(before["marks"])


async def packages_but(here: RunningMirror, name: str) -> dict[str, endstate.PackageState]:
    packages = here.end_state().packages
    return {each: one for each, one in packages.items() if each != name}


async def test_a_flipped_bit_is_named_and_all_else_is_there(mirror: Open) -> None:
    """Segment, ordinal, package; the deltas of it too; a later whole frame is used again."""
    async with mirror(**SMALL) as here:
        registry = here.upstream.registry
        registry.publish("b", "1.0.0")
        async with here.running():
            for minor in range(6):
                registry.publish_all("a", [Release(f"1.{minor}.0")], extra=LONG)
                await here.at_head()
        documents = [
            one for one in records(here.config) if one.name == "a" and one.kind is Kind.PACKUMENT
        ]
        assert [one.number for one in documents] == [0, 1, 2, 3, 4, 5]
        others = await packages_but(here, "a")
        hit = documents[2]
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 600] ^= 4
        path.write_bytes(data)
        result = await rebuilt(here.config)
        assert not result.whole
        assert [(one.segment, one.ordinal, one.package) for one in result.damaged] == [
            (hit.place.segment, hit.ordinal, "a"),
            (documents[3].place.segment, documents[3].ordinal, "a"),
        ]
        assert f"record {hit.ordinal}" in result.damaged[1].reason
        assert await packages_but(here, "a") == others
        held = ask(
            here.config,
            "SELECT r.ordinal FROM revisions AS r JOIN packages AS p ON p.id = r.package_id "
            "WHERE p.name = 'a' ORDER BY 1",
        )
        assert held == [(documents[place].ordinal,) for place in (0, 1, 4, 5)]
        assert ask(here.config, "SELECT item, reason FROM work_list") == [("", "damaged_capture")]
        async with here.running():
            await here.at_head()
            registry.publish("a", "2.0.0")
            await here.at_head()
        state = here.end_state()
        assert endstate.untruths(state, registry.state()) == []
        assert len(state.packages["a"].versions) == 7


async def test_damage_is_told_again_after_a_kill(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of a call that went on is whole."""
    async with mirror(**SMALL) as here:
        await small(here)
        monkeypatch.setattr("npmmirror.daemon.reindex.BATCH_BYTES", 0)
        hit = next(one for one in records(here.config) if one.kind is Kind.PACKUMENT)
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 600] ^= 4
        path.write_bytes(data)

        async def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "drop_unwanted", killed)
            with pytest.raises(KeyboardInterrupt):
                await rebuilt(here.config)
        result = await rebuilt(here.config)
        assert result.resumed_at is not None
        assert (hit.ordinal, hit.name) in [(one.ordinal, one.package) for one in result.damaged]


@pytest.mark.parametrize("turned", range(3))
async def test_a_damaged_mark_does_not_mix_groups_up(mirror: Open, turned: int) -> None:
    """Two documents of a package behind each other are still compared one by one."""
    async with mirror(storage={"commit_count": 1}) as here:
        registry = here.upstream.registry
        registry.publish("b", "1.0.0")
        async with here.running():
            for minor in range(4):
                registry.publish("a", f"1.{minor}.0")
                await here.at_head()
        before = tables(here.config)
        hit = [one for one in records(here.config) if one.kind is Kind.MARK][turned + 2]
        path = segment_path(here.config.storage.data_dir / "captures", hit.place.segment)
        data = bytearray(path.read_bytes())
        data[hit.place.offset + 33] ^= 4
        path.write_bytes(data)
        result = await rebuilt(here.config)
        assert [(one.ordinal, one.package) for one in result.damaged] == [(hit.ordinal, None)]
        after = tables(here.config)
        timeless: Tables = {"marks": [], "latency_counts": []}
        assert differences(before | timeless, after | timeless) == []
        assert len(after["marks"]) == len(before["marks"]) - 1


async def test_missing_files_are_fetched_again_and_altered_ones_told(mirror: Open) -> None:
    """The log says that they are missing; the work list has them."""
    async with mirror() as here:
        for name in ("a", "b", "c"):
            here.upstream.registry.publish(name, "1.0.0")
        async with here.running():
            await here.at_head()
        packages = here.config.storage.packages_path
        paths = dict(
            ask(here.config, "SELECT name, path FROM versions JOIN packages ON id = package_id")
        )
        (packages / paths["a"]).unlink()
        (packages / paths["b"]).write_bytes(b"short")
        result = await rebuilt(here.config)
        assert not result.whole
        assert result.files.missing == [("a", "1.0.0")]
        assert result.files.altered == [("b", "1.0.0")]
        assert ask(here.config, "SELECT result FROM checks ORDER BY 1") == [
            ("altered",),
            ("missing",),
        ]
        again = await rebuilt(here.config)
        assert again.files.missing == []
        async with here.running():
            await here.at_head()
        assert (packages / paths["a"]).exists()


async def test_a_disk_that_is_not_mounted_is_no_loss(mirror: Open) -> None:
    """What is missing from an empty mount point is not dropped, and nothing is written there."""
    async with mirror(**SMALL) as here:
        await small(here)
        before = tables(here.config)
        packages = here.config.storage.packages_path
        packages.rename(packages.with_name("elsewhere"))
        packages.mkdir()
        result = await rebuilt(here.config)
        assert result.files.unreachable is not None
        assert "Is the disk mounted?" in result.files.unreachable
        assert not result.whole
        assert differences(before, tables(here.config)) == []
        assert not list(packages.iterdir())


async def test_a_disk_that_holds_a_small_part_is_no_loss(mirror: Open) -> None:
    """Where most files are missing nothing is dropped."""
    async with mirror(policy={"tarballs": "all"}) as here:
        registry = here.upstream.registry
        registry.publish_all("a", [Release(f"1.0.{patch}") for patch in range(120)])
        async with here.running():
            await here.at_head()
        before = tables(here.config)
        for file in here.config.storage.packages_path.rglob("*.tgz"):
            file.unlink()
        result = await rebuilt(here.config)
        assert result.files.too_many
        assert not result.whole
        assert differences(before, tables(here.config)) == []


async def test_progress_is_told(mirror: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many records, and how many bytes of how many."""
    monkeypatch.setattr("npmmirror.daemon.reindex.TELL_SECONDS", 0)
    async with mirror(**SMALL) as here:
        await small(here)
        told: list[dict[str, Any]] = []
        await reindex(here.config, told.append)
    assert [report["bytes"] for report in told] == sorted(report["bytes"] for report in told)
    assert 0 < told[-1]["bytes"] < told[-1]["total_bytes"]
    assert told[-1]["done"] == len(told) - 1


async def test_every_operational_table_has_its_lot() -> None:
    """Whoever adds one says what a rebuilt index has of it."""
    script = (Path(schema.__file__).parent / "schema.sql").read_text("utf-8")
    named = re.findall(r"-- OPERATIONAL(?:.*\n--)*.*\nCREATE TABLE (\w+)", script)
    assert set(named) == carrying.CARRIED | carrying.CARRIED_IF_COMMON
    assert not carrying.CARRIED & carrying.CARRIED_IF_COMMON


async def test_derived_tables_are_all_compared() -> None:
    """These tests look at every table that is derived."""
    script = (Path(schema.__file__).parent / "schema.sql").read_text("utf-8")
    named = re.findall(r"-- DERIVED(?:.*\n--)*.*\nCREATE TABLE (\w+)", script)
    assert set(named) == set(QUERIES)


async def test_the_report_is_the_documents_example(mirror: Open) -> None:
    """docs/commands.md has the keys that the command prints."""
    async with mirror(**SMALL) as here:
        await small(here)
        result = await rebuilt(here.config)
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
    found = re.search(r"<!-- reindex -->\n```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    example, told = json.loads(found[1]), result.to_json()
    assert list(example) == list(told)
    assert list(example["files"]) == list(told["files"])
    assert list(example["totals"]) == list(told["totals"])
    assert list(example["damages"][0]) == [field.name for field in fields(Finding)]
    assert list(example["set_aside"][0]) == [field.name for field in fields(SetAside)]


async def test_what_is_news_is_known_before_the_work_list_is_served(mirror: Open) -> None:
    """Behind the start of following stands all that was judged by it: a replay judges alike."""
    async with mirror(follow={"since": "now"}) as here:
        here.upstream.registry.publish("a", "1.0.0")
        here.upstream.fault("tarball", faults.Status(404), times=2)
        await here.sync("a")
        assert here.work_list("a")
        before = records(here.config)[-1].ordinal
        here.upstream.fault("root", faults.Stall(), times=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_at_head_once, here)
            await here.upstream.asked("root")
            here.upstream.release()
        behind = [one.kind for one in records(here.config) if one.ordinal > before]
        assert behind[0] is Kind.FOLLOWING
        assert Kind.TARBALL in behind


async def _at_head_once(here: RunningMirror) -> None:
    async with here.running():
        await here.at_head()
