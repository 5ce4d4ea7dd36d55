"""Cold start: every package that upstream lists, without and with a daemon, and no gap behind it."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from npmmirror.backfill import Wish
from npmmirror.clock import SystemClock
from npmmirror.daemon import cold_commands
from npmmirror.daemon.cold_start import ColdStart
from npmmirror.daemon.mirror import Manner, Source
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.daemon.reindex import reindex
from npmmirror.errors import UsageError
from npmmirror.outcome import WorkItem
from npmmirror.pipeline import backfill as pipeline_backfill, listing
from npmmirror.testing import ScriptedUpstream, faults
from npmmirror.testing.asked import Asked
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Ended(faults.Fault):
    """A list without rows, of which more are told."""

    def play(self, answer: faults.Answer) -> faults.Delivery:
        """See `Fault.play`."""
        body = b'{"total_rows":40,"offset":0,"rows":[]}'
        return faults.Delivery(answer.with_body(body))


NOW = {"follow": {"since": "now"}}


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, transactions and polls that a small registry meets the ends of."""
    monkeypatch.setattr(pipeline_backfill, "PUT_ROWS", 3)
    monkeypatch.setattr(pipeline_backfill, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(listing, "PAGE_ROWS", 7)


def publish(here: RunningMirror, count: int, prefix: str = "p") -> list[str]:
    """So many packages of a version each."""
    names = [f"{prefix}{number:03}" for number in range(count)]
    for name in names:
        here.upstream.registry.publish(name, "1.0.0")
    return names


async def lines(*names: str) -> AsyncIterator[bytes]:
    """A file of names."""
    yield "".join(f"{name}\n" for name in names).encode()


async def alone(
    here: RunningMirror,
    wish: Wish | None = None,
    names: AsyncIterator[bytes] | None = None,
    *,
    feed: bool = True,
    stop: anyio.Event | None = None,
) -> dict[str, Any]:
    """What `npmmirror backfill` does where no daemon runs."""
    source = here.source if feed else Source(here.source.registry)
    with anyio.fail_after(30):
        return await cold_commands.backfill(
            here.config, source, wish, names, tell=lambda _: None, stop=stop
        )


def held(here: RunningMirror) -> set[str]:
    """The packages of which something is captured."""
    return {name for (name,) in here.rows("SELECT name FROM packages WHERE state <> ''")}


def tarballs(here: RunningMirror) -> int:
    """How many files are held."""
    [(count,)] = here.rows("SELECT count(*) FROM versions WHERE state = 'held'")
    return int(count)


async def test_everything_that_is_listed_is_there(mirror: Open) -> None:
    """Packages and their tarballs, over several pages; design documents are none."""
    async with mirror(**NOW) as here:
        names = publish(here, 20)
        here.upstream.registry.design_document()
        report = await alone(here)
        assert held(here) == set(names)
        assert tarballs(here) == 20
    assert (report["state"], report["queued"], report["left"]) == ("done", 20, 0)


async def test_what_is_current_is_not_fetched_again(mirror: Open) -> None:
    """The second backfill asks only for what changed since."""
    async with mirror(**NOW) as here:
        publish(here, 10)
        await alone(here)
        here.upstream.registry.publish("p003", "1.1.0")
        before = here.upstream.count("packument")
        report = await alone(here)
        assert here.upstream.count("packument") == before + 1
    assert (report["queued"], report["current"]) == (1, 9)


async def test_metadata_only_brings_no_tarball(mirror: Open) -> None:
    """Whatever the policy says; what is published later is fetched as it says."""
    async with mirror(**NOW) as here:
        names = publish(here, 5)
        await alone(here, Wish(metadata_only=True))
        assert held(here) == set(names)
        assert tarballs(here) == 0
        async with here.running():
            here.upstream.registry.publish("p000", "2.0.0")
            await here.at_head()
        assert tarballs(here) == 1


async def test_metadata_only_is_remembered_while_it_fails(mirror: Open) -> None:
    """The retry of a document brings no tarball either."""
    async with mirror(**NOW) as here:
        publish(here, 2)
        here.upstream.fault("packument", faults.Status(404), name="p001", times=2)
        await alone(here, Wish(metadata_only=True))
        assert held(here) == {"p000", "p001"}
        assert tarballs(here) == 0


async def test_metadata_only_outlives_a_rebuilt_index(mirror: Open) -> None:
    """The capture log tells it: `reindex` puts no tarball on the work list."""
    async with mirror(**NOW) as here:
        names = publish(here, 3)
        await alone(here, Wish(metadata_only=True))
        here.config.storage.index_path.unlink()
        await reindex(here.config, lambda _: None)
        assert here.rows("SELECT * FROM work_list") == []
        async with here.running():
            await here.until(lambda _: not here.rows("SELECT * FROM resumptions"))
            await here.at_head()
        assert held(here) == set(names)
        assert tarballs(here) == 0


async def test_only_what_matches_is_brought(mirror: Open) -> None:
    """Patterns of names, several of them."""
    async with mirror(**NOW) as here:
        publish(here, 3)
        publish(here, 3, "@scope/q")
        report = await alone(here, Wish(only=("@scope/*", "p001")))
        assert held(here) == {"p001", *(f"@scope/q{n:03}" for n in range(3))}
    assert report["left_out"] == 2


async def test_what_the_policy_denies_is_not_brought(mirror: Open) -> None:
    """The call where names are filtered."""
    async with mirror(policy={"deny": ("p00*",)}, **NOW) as here:
        publish(here, 3)
        publish(here, 1, "q")
        await alone(here)
        assert held(here) == {"q000"}


async def test_names_of_a_file_need_no_feed(mirror: Open) -> None:
    """A plain registry; comments and empty lines say nothing."""
    async with mirror(**NOW) as here:
        publish(here, 4)
        report = await alone(here, Wish("file"), lines("p001", "", "# p000", "p003"), feed=False)
        assert held(here) == {"p001", "p003"}
        assert here.upstream.count("feed") == here.upstream.count("all_docs") == 0
    assert report["state"] == "done"


async def test_a_name_that_is_nowhere_is_left_and_told(mirror: Open) -> None:
    """It stays on the work list, and the report counts it."""
    async with mirror(fetch={"retry_seconds": 1000.0, "retry_max_seconds": 2000.0}, **NOW) as here:
        publish(here, 1)
        report = await alone(here, Wish("file"), lines("p000", "nowhere"), feed=False)
        assert held(here) == {"p000"}
    assert (report["state"], report["failed"], report["left"]) == ("done", 1, 1)


async def test_the_cursor_is_taken_before_the_list(mirror: Open) -> None:
    """A package published while names are listed, behind the place reached, is there in the end."""
    async with mirror(**NOW) as here:
        publish(here, 20)

        async def meddle(asked: Asked) -> None:
            if asked.scope == "all_docs" and here.upstream.count("all_docs") == 2:
                here.upstream.hooks.remove(meddle)
                here.upstream.registry.set_time("2099-01-01T00:00:00.000Z")
                here.upstream.registry.publish("a-first", "1.0.0")
                here.upstream.registry.publish("p000", "1.1.0")

        here.upstream.hooks.append(meddle)
        await alone(here)
        assert "a-first" not in held(here), "it was to be published behind the place"
        async with here.running():
            await here.at_head()
        assert "a-first" in held(here)
        [(latest,)] = here.rows("SELECT latest FROM packages WHERE name = 'p000'")
        assert latest == "1.1.0"
        created = here.rows(
            "SELECT name FROM events JOIN packages AS p ON p.id = package_id "
            "WHERE kind = 'package_created'"
        )
        assert created == [("a-first",)], "what was there before is history"


async def test_a_cursor_that_is_there_stands(mirror: Open) -> None:
    """A backfill of a mirror that followed once takes no other."""
    async with mirror(**NOW) as here:
        publish(here, 3)
        async with here.running():
            await here.at_head()
        [(before,)] = here.rows("SELECT cursor FROM progress")
        publish(here, 3, "q")
        await alone(here)
        assert here.rows("SELECT cursor FROM progress") == [(before,)]


async def test_stopped_it_goes_on_where_it_was(mirror: Open) -> None:
    """What was fetched is not fetched again; the names come from the place that was reached."""
    async with mirror(fetch={"concurrency": 2}, **NOW) as here:
        names = publish(here, 30)
        stop = anyio.Event()

        async def interrupt(asked: Asked) -> None:
            if asked.scope == "packument" and here.upstream.count("packument") == 8:
                stop.set()

        here.upstream.hooks.append(interrupt)
        report = await alone(here, stop=stop)
        assert report["state"] in {"listing", "fetching"}
        assert 0 < len(held(here)) < 30
        await alone(here)
        assert held(here) == set(names)
        assert here.upstream.count("packument") == 30


async def test_a_daemon_goes_on_with_what_was_begun_alone(mirror: Open) -> None:
    """Nobody has to ask it to."""
    async with mirror(fetch={"concurrency": 2}, **NOW) as here:
        names = publish(here, 30)
        stop = anyio.Event()

        async def interrupt(asked: Asked) -> None:
            if asked.scope == "packument":
                stop.set()

        here.upstream.hooks.append(interrupt)
        await alone(here, stop=stop)
        here.upstream.hooks.clear()
        async with here.running():
            await here.until(lambda status: status["backfill"] is None)
        assert held(here) == set(names)


async def test_a_daemon_does_it_and_tells_how_far_it_is(mirror: Open) -> None:
    """Beside live changes; the last report has the sums."""
    async with mirror(**NOW) as here:
        names = publish(here, 20)
        async with here.running(), here.control() as daemon:
            asked = {"wish": None, "begins": True}
            reports = [report async for report in daemon.backfill(asked, None)]
            assert held(here) == set(names)
            status = await here.status()
        assert reports[-1]["end"]
        assert (reports[-1]["queued"], reports[-1]["state"]) == (20, "done")
        assert status["backfill"] is None


async def test_a_daemon_takes_the_names_of_a_file(mirror: Open) -> None:
    """They come over the control socket, and are kept until they are worked off."""
    async with mirror(**NOW) as here:
        publish(here, 20)
        async with here.running(), here.control() as daemon:
            asked = {"wish": {"source": "file"}, "begins": True}
            reports = [report async for report in daemon.backfill(asked, lines("p001", "p017"))]
        assert reports[-1]["state"] == "done"
        assert held(here) == {"p001", "p017"}
        assert not (here.config.storage.data_dir / "backfill.names").exists()


async def test_it_goes_on_when_whoever_asked_goes_away(mirror: Open) -> None:
    """Ctrl-C ends the command, not the work."""
    async with mirror(fetch={"concurrency": 1}, **NOW) as here:
        names = publish(here, 20)
        async with here.running():
            async with here.control() as daemon:
                async for _ in daemon.backfill({"wish": None, "begins": True}, None):
                    break
            await here.until(lambda status: status["backfill"] is None)
        assert held(here) == set(names)


async def test_paused_it_hands_out_nothing_until_it_is_resumed(mirror: Open) -> None:
    """Not even what is on the work list already; over a restart, too."""
    async with mirror(fetch={"concurrency": 1}, **NOW) as here:
        names = publish(here, 20)
        async with here.running(), here.control() as daemon:
            async for _ in daemon.backfill({"wish": None, "begins": True}, None):
                break
            assert (await daemon.steer_backfill("pause"))["there"]
        before = held(here)
        assert len(before) < 20
        async with here.running(), here.control() as daemon:
            here.upstream.registry.publish("live", "1.0.0")
            await here.until(
                lambda status: status["totals"]["packages"].get("live", 0) > len(before)
            )
            status = await here.status()
            assert status["backfill"]["state"] == "paused"
            assert held(here) == before | {"live"}
            await daemon.steer_backfill("resume")
            await here.until(lambda status: status["backfill"] is None)
        assert held(here) == {*names, "live"}


async def test_given_up_it_leaves_what_was_fetched(mirror: Open) -> None:
    """And nothing on the work list."""
    async with mirror(fetch={"concurrency": 1}, **NOW) as here:
        publish(here, 20)
        async with here.running(), here.control() as daemon:
            async for _ in daemon.backfill({"wish": None, "begins": True}, None):
                break
            await daemon.steer_backfill("pause")
            await daemon.steer_backfill("cancel")
            status = await here.until(lambda status: not status["work_list"])
        assert status["backfill"] is None
        assert not (await status_of_resumption(here))


async def status_of_resumption(here: RunningMirror) -> list[Any]:
    """The notes of long commands."""
    return here.rows("SELECT command FROM resumptions")


async def test_another_one_is_refused_while_one_is_under_way(mirror: Open) -> None:
    """In a sentence that says what to do."""
    async with mirror(fetch={"concurrency": 1}, **NOW) as here:
        publish(here, 20)
        async with here.running(), here.control() as daemon:
            async for _ in daemon.backfill({"wish": None, "begins": True}, None):
                break
            asked = {"wish": {"only": ["q*"]}, "begins": True}
            [refusal] = [report async for report in daemon.backfill(asked, None)]
        assert refusal["status"] == UsageError.exit_status
        assert "--cancel" in refusal["error"]


async def test_of_two_files_at_once_the_names_kept_are_those_of_the_one_that_begins(
    mirror: Open,
) -> None:
    """The other, slower to come, is refused without a trace."""
    async with mirror(**NOW) as here:
        manner = Manner(patient=False)
        async with open_mirror(
            here.config, here.source, clock=SystemClock(), manner=manner
        ) as opened:
            cold_start, began = ColdStart(opened, here.source), list[str]()
            first, come = anyio.Event(), anyio.Event()

            async def names(name: str) -> AsyncIterator[bytes]:
                yield f"{name}\n".encode()
                if name == "slow":
                    first.set()
                    await come.wait()

            async def begin(name: str) -> None:
                with suppress(UsageError):
                    await cold_start.begin(Wish("file"), names(name))
                    began.append(name)
                come.set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(begin, "slow")
                await first.wait()
                tasks.start_soon(begin, "quick")
                with anyio.move_on_after(0.5):
                    await come.wait()
                come.set()
            kept = (here.config.storage.data_dir / pipeline_backfill.NAMES).read_text()
            assert began == [kept.strip()]


async def test_no_more_than_some_rows_wait_at_a_time(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work list stays short, however long the list is."""
    monkeypatch.setattr(pipeline_backfill, "AHEAD", 5)
    async with mirror(**NOW) as here:
        publish(here, 40)
        most = 0

        async def look(asked: Asked) -> None:
            nonlocal most
            if asked.scope == "packument":
                [(count,)] = here.rows("SELECT count(*) FROM work_list")
                most = max(most, count)

        here.upstream.hooks.append(look)
        await alone(here)
        assert held(here) == {f"p{n:03}" for n in range(40)}
        assert 5 <= most <= 5 + 3


async def test_a_list_that_ends_too_early_is_asked_again(mirror: Open) -> None:
    """A feed that gives an empty page once does not end the backfill."""
    served = ScriptedUpstream()
    async with mirror(served, **NOW) as here:
        names = publish(here, 40)
        served.fault("all_docs", Ended(), times=1)
        await alone(here)
        assert held(here) == set(names)


async def test_the_feed_may_be_away_meanwhile(mirror: Open) -> None:
    """A page that fails is asked for again; nothing is passed over."""
    async with mirror(**NOW) as here:
        names = publish(here, 20)
        here.upstream.fault("all_docs", faults.Status(503), times=2)
        await alone(here)
        assert held(here) == set(names)


async def test_what_was_given_up_is_brought_again(mirror: Open) -> None:
    """By a list and by a file alike: a dead letter is no reason to leave a package out."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        registry, upstream = here.upstream.registry, here.upstream
        for name in ("a", "b", "c"):
            registry.publish(name, "1.0.0")
        async with here.running():
            await here.at_head()
            for name in ("b", "c"):
                upstream.fault("packument", faults.Status(403), name=name, times=2)
                registry.publish(name, "1.1.0")
            await here.until(lambda status: status["dead_letters"] == {"http_403": 2})
        report = await alone(here, Wish())
        assert (report["woken"], report["queued"], report["current"]) == (2, 0, 1)
        report = await alone(here, Wish("file"), lines("c"))
        assert (report["woken"], report["queued"]) == (1, 0)
        assert tarballs(here) == 4
        assert here.rows("SELECT not_before FROM work_list") == [(None,)]


async def test_an_erased_package_is_not_brought_back(mirror: Open) -> None:
    """Whoever lists it is not whoever had it erased."""
    async with mirror(**NOW) as here:
        publish(here, 2)
        await alone(here)
        execute(here, "UPDATE packages SET state = 'erased', rev = NULL WHERE name = 'p000'")
        report = await alone(here)
    assert report["queued"] == 0


def execute(here: RunningMirror, sql: str) -> None:
    """Change the index as nobody else may, while nothing runs."""
    with closing(sqlite3.connect(here.config.storage.index_path)) as index, index:
        index.execute(sql)


async def test_tarballs_come_by_a_backfill_without_metadata_only(mirror: Open) -> None:
    """With an unchanged policy: what the policy wants of packages that are captured and current."""
    async with mirror(policy={"tarballs": "all", "deny": ["p003"]}, **NOW) as here:
        for name in publish(here, 4):
            here.upstream.registry.publish(name, "1.1.0")
        await alone(here, Wish(metadata_only=True))
        assert tarballs(here) == 0
        asked = here.upstream.count("packument")
        report = await alone(here, Wish())
        assert (report["queued"], report["current"], report["tarballs"]) == (0, 3, 6)
        assert here.upstream.count("packument") == asked
        assert tarballs(here) == 6
        again = await alone(here, Wish())
        assert (again["tarballs"], again["state"]) == (0, "done")


async def test_a_file_of_names_brings_the_tarballs_of_those_alone(mirror: Open) -> None:
    """Those of the others stay where they are."""
    async with mirror(**NOW) as here:
        publish(here, 4)
        await alone(here, Wish(metadata_only=True))
        report = await alone(here, Wish("file"), lines("p001", "p002", "nowhere"))
        assert report["tarballs"] == 2
        assert here.rows("SELECT count(*) FROM versions WHERE state = 'held'") == [(2,)]


async def test_a_document_that_failed_comes_with_its_tarballs_then(mirror: Open) -> None:
    """The row that was left of a backfill of documents alone asks for more from now on."""
    async with mirror(fetch={"retry_seconds": 1000.0, "retry_max_seconds": 2000.0}, **NOW) as here:
        publish(here, 1)
        here.upstream.fault("packument", faults.Status(403), name="p000", times=1)
        await alone(here, Wish(metadata_only=True))
        await alone(here, Wish())
        async with open_mirror(
            here.config, here.source, clock=SystemClock(), manner=Manner()
        ) as opened:
            await opened.opened.index.recall("2000-01-01T00:00:00.000000Z", "2000-01-01")
        await alone(here, Wish())
        assert tarballs(here) == 1


async def test_given_up_it_takes_its_tarballs_back(mirror: Open) -> None:
    """Those that nobody tried, as it does the packages."""
    async with mirror(**NOW) as here:
        publish(here, 3)
        await alone(here, Wish(metadata_only=True))
        stop = anyio.Event()
        stop.set()
        await alone(here, Wish(), stop=stop)
        async with open_mirror(
            here.config, here.source, clock=SystemClock(), manner=Manner()
        ) as opened:
            names = [f"p{number:03}" for number in range(3)]
            rows = [
                WorkItem(name, "1.0.0", "wanted", "2000-01-01", since="2000", origin="backfill")
                for name in names
            ]
            await opened.opened.index.put_new_work(rows)
        assert await cold_commands.steer(here.config, "cancel") == {"there": True}
        assert here.rows("SELECT count(*) FROM work_list") == [(0,)]
