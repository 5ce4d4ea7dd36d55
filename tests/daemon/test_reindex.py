"""Invariant 10: `reindex` over the archive gives the derived tables that are there."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.archive import SetAside
from npmmirror.capture import Kind
from npmmirror.daemon.rebuilt import Finding
from npmmirror.daemon.reindex import reindex
from npmmirror.errors import LockedError, StorageError
from npmmirror.index import carrying, schema
from npmmirror.testing import faults
from npmmirror.testing.history import History
from tests.daemon.conftest import Open
from tests.daemon.derived import QUERIES, derived, differences
from tests.daemon.reindexed import (
    SMALL,
    ask,
    at_head_once,
    live,
    lose,
    rebuilt,
    records,
    small,
    tables,
)
from tests.kill import endstate

pytestmark = [pytest.mark.anyio, pytest.mark.long]


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


async def test_when_a_document_was_announced_is_taken_over(mirror: Open) -> None:
    """By it is told how long its versions took."""
    async with mirror(fetch={"retry_seconds": 60.0, "retry_max_seconds": 60.0}) as here:
        here.upstream.registry.publish("there", "1.0.0")
        async with here.running():
            await here.at_head()
            here.upstream.fault("packument", faults.Status(400), times=None)
            here.upstream.registry.publish("there", "1.1.0")
            await here.until(lambda status: bool(status["last_errors"]))
        rows = "SELECT item, rev, seq, announced_at, origin FROM work_list"
        before = ask(here.config, rows)
        assert before[0][3] is not None
        assert (await rebuilt(here.config)).carried == "all"
        assert ask(here.config, rows) == before


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
        here.upstream.fault("packument", faults.Stall(), name="p3", times=1)
        async with here.running():
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
            tasks.start_soon(at_head_once, here)
            await here.upstream.asked("root")
            here.upstream.release()
        behind = [one.kind for one in records(here.config) if one.ordinal > before]
        assert behind[0] is Kind.FOLLOWING
        assert Kind.TARBALL in behind
