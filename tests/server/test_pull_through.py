"""What is not held is fetched when it is asked for, once, verified, and sent on meanwhile."""

from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from npmmirror.testing.faults import Altered, Drip, Reset, Stall, Status, Truncated
from tests.server.pulling import LARGE, Got, Pull, Pulled, pull_opener

pytestmark = pytest.mark.anyio


@pytest.fixture
def pull(tmp_path: Path) -> Pull:
    """Opens a mirror that fetches what its clients ask for."""
    return pull_opener(tmp_path / "data")


async def test_a_tarball_that_is_not_held_is_fetched_stored_and_sent(pull: Pull) -> None:
    """The document shows the version; the second client gets the stored file."""
    async with pull() as pulled:
        tarball = pulled.publish("a")
        await pulled.mirror.at_head()
        shown = (await pulled.ask("/a")).json
        assert shown["dist-tags"] == {"latest": "1.0.0"}
        assert (await pulled.tarball("a")).body == tarball
        await pulled.until_held("a")
        again = await pulled.tarball("a")
        assert again.body == tarball
        assert again.headers["ETag"]
        assert pulled.upstream.count("tarball", "a") == 1


async def test_a_package_that_was_never_seen_is_fetched(pull: Pull) -> None:
    """Its document at once, tarballs as they are asked for; a scoped one, too."""
    async with pull(follow={"since": "now", "poll_seconds": 1000.0}) as pulled:
        tarball = pulled.publish("late")
        pulled.publish("@s/late", "2.0.0")
        assert (await pulled.ask("/@s%2flate")).json["dist-tags"] == {"latest": "2.0.0"}
        assert pulled.upstream.count("tarball") == 0
        assert (await pulled.ask("/late")).json["versions"].keys() == {"1.0.0"}
        assert (await pulled.tarball("late")).body == tarball


async def test_a_lock_file_needs_no_document_first(pull: Pull) -> None:
    """`npm ci` asks for tarballs alone, of packages that nobody has seen either."""
    async with pull(follow={"since": "now", "poll_seconds": 1000.0}) as pulled:
        tarball = pulled.publish("late")
        assert (await pulled.tarball("late")).body == tarball


async def test_one_fetch_however_many_ask(pull: Pull) -> None:
    """Who comes late reads from the beginning."""
    async with pull() as pulled:
        tarball = pulled.publish("a")
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Drip(rate=LARGE), name="a", times=None)
        got: list[Got] = []

        async def one(after: float) -> None:
            await anyio.sleep(after)
            got.append(await pulled.tarball("a"))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number * 0.04)
        assert [one.body == tarball for one in got] == [True] * 20
        assert pulled.upstream.count("tarball", "a") == 1


async def _begun(pulled: Pulled, tasks: TaskGroup, name: str, *, after: int) -> "Reading":
    """A client that has so many bytes of a tarball, of which upstream has sent no more."""
    reading = Reading(pulled, name)
    tasks.start_soon(reading.run)
    with anyio.fail_after(20):
        await reading.first.wait()
        assert 0 < len(reading.body) <= after
    return reading


class Reading:
    """A client of a tarball that tells how far it is."""

    def __init__(self, pulled: Pulled, name: str) -> None:
        self._pulled = pulled
        self._name = name
        self.first, self.over = anyio.Event(), anyio.Event()
        self.body = b""
        self.got: Got | None = None

    async def run(self) -> None:
        """Ask, and read to the end."""
        path = f"{self._pulled.url}/{self._name}/-/{self._name}-1.0.0.tgz"
        async with self._pulled.client.get(path) as answer:
            broken = False
            try:
                async for piece in answer.content.iter_any():
                    self.body += piece
                    self.first.set()
            except Exception:  # noqa: BLE001 - whatever it is, the connection broke
                broken = True
            self.got = Got(answer.status, answer.headers, self.body, broken)
        self.over.set()


async def test_a_client_has_the_beginning_while_the_rest_is_still_to_come(pull: Pull) -> None:
    """And the length, where upstream tells it."""
    async with pull() as pulled, anyio.create_task_group() as tasks:
        tarball = pulled.publish("a")
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Stall(after=LARGE // 2), name="a")
        reading = await _begun(pulled, tasks, "a", after=LARGE // 2)
        assert pulled.held("a") == set()
        pulled.upstream.release()
        await reading.over.wait()
        assert reading.got is not None
        assert reading.got.headers["Content-Length"] == str(len(tarball))
        assert reading.got.body == tarball


async def test_a_client_that_leaves_stops_no_fetch(pull: Pull) -> None:
    """Neither for others who wait, nor for the mirror."""
    async with pull() as pulled, anyio.create_task_group() as tasks:
        pulled.publish("a")
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Stall(after=LARGE // 2), name="a")
        async with anyio.create_task_group() as leaving:
            await _begun(pulled, leaving, "a", after=LARGE // 2)
            leaving.cancel_scope.cancel()
        other = await _begun(pulled, tasks, "a", after=LARGE // 2)
        pulled.upstream.release()
        await other.over.wait()
        assert other.got is not None
        assert not other.got.broken
        await pulled.until_held("a")
        assert pulled.upstream.count("tarball", "a") == 1


@pytest.mark.parametrize("fault", [Altered(), Truncated(part=0.9), Reset(after=LARGE - 50_000)])
async def test_what_is_not_verified_has_no_good_ending(
    pull: Pull, fault: Altered | Truncated | Reset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sees its connection break before the last bytes; nothing is stored.

    Or 502, where the fault came before it was sent anything.
    """
    monkeypatch.setattr("npmmirror.pipeline.pull.FAILED_SECONDS", 0.1)
    async with pull(fetch={"retry_seconds": 1000.0, "retry_max_seconds": 1000.0}) as pulled:
        tarball = pulled.publish("a")
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", fault, name="a", times=None)
        got = await pulled.tarball("a")
        assert (got.status == 200 and got.broken) or got.status == 502
        assert len(got.body) < len(tarball) - 8
        with anyio.fail_after(20):
            while pulled.files() or not pulled.mirror.work_list("a"):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert pulled.held("a") == set()
        pulled.upstream.heal()
        with anyio.fail_after(20):  # the refusal is remembered for a moment
            while (got := await pulled.tarball("a")).status != 200:  # noqa: ASYNC110
                await anyio.sleep(0.2)
        assert got.body == tarball


async def test_wrong_bytes_that_come_right_the_second_time_are_stored(pull: Pull) -> None:
    """A client that had a part of the wrong ones is cut; one that had none yet gets the right ones."""
    async with pull() as pulled:
        tarball = pulled.publish("a")
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Altered(), name="a", times=1)
        got = await pulled.tarball("a")
        assert got.broken or got.body == tarball
        await pulled.until_held("a")
        assert (await pulled.tarball("a")).body == tarball


async def test_wrong_bytes_of_a_small_tarball_cost_a_client_nothing(pull: Pull) -> None:
    """It was sent none of them before they were asked for once more."""
    async with pull() as pulled:
        tarball = pulled.publish("a", size=10_000)
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Altered(), name="a", times=1)
        got = await pulled.tarball("a")
        assert (got.status, got.body) == (200, tarball)
        assert pulled.upstream.count("tarball", "a") == 2


async def test_an_empty_tarball_is_sent(pull: Pull) -> None:
    """There are such on npm, with the digests of nothing."""
    async with pull() as pulled:
        pulled.upstream.registry.publish("a", "1.0.0", archive=b"")
        await pulled.mirror.at_head()
        got = await pulled.tarball("a")
        assert (got.status, got.body) == (200, b"")
        await pulled.until_held("a")


async def test_what_upstream_does_not_have_is_not_found(pull: Pull) -> None:
    """And for a while upstream is not asked again."""
    patient = {"retry_seconds": 1000.0, "retry_max_seconds": 1000.0}
    async with pull(fetch=patient) as pulled:
        pulled.publish("a")
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Status(404), name="a", times=None)
        assert (await pulled.tarball("a")).status == 404
        asked = pulled.upstream.count("tarball", "a")
        assert (await pulled.tarball("a")).status == 404
        assert (await pulled.tarball("a", "9.9.9")).status == 404
        assert (await pulled.ask("/a/-/b-1.0.0.tgz")).status == 404
        assert (await pulled.ask("/nobody/-/nobody-1.0.0.tgz")).status == 404
        assert pulled.upstream.count("tarball", "a") == asked


async def test_a_name_that_nobody_has_leaves_nothing_behind(pull: Pull) -> None:
    """Neither a row of the index nor a second request."""
    async with pull() as pulled:
        assert (await pulled.ask("/nobody")).status == 404
        assert (await pulled.ask("/nobody")).status == 404
        assert pulled.upstream.count("packument", "nobody") == 1
        assert pulled.mirror.rows("SELECT name FROM packages WHERE name = 'nobody'") == []


async def test_names_that_npm_would_not_ask_for_are_not_asked_for(pull: Pull) -> None:
    """Whatever a client writes into the address."""
    async with pull() as pulled:
        for path in (
            "/.hidden",
            "/_design",
            "/node_modules",
            "/a%20b",
            "/%2e%2e%2fx",
            "/@s",
            "/-x",
        ):
            assert (await pulled.ask(path)).status in {400, 404}
        assert not any(
            one.path.startswith(("/.", "/_", "/node_m")) for one in pulled.upstream.requests
        )


async def test_a_host_that_asks_for_quiet_is_left_alone(pull: Pull) -> None:
    """The client is told when to come again."""
    async with pull() as pulled:
        pulled.publish("a")
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Status(429, retry_after="30"), name="a")
        got = await pulled.tarball("a")
        assert got.status == 503
        assert 1 <= int(got.headers["Retry-After"]) <= 40


async def test_the_policy_is_heeded(pull: Pull) -> None:
    """What `deny` names is not fetched; what keep_versions would drop is, for somebody needs it."""
    async with pull(policy={"tarballs": "none", "deny": ["bad"], "keep_versions": 1}) as pulled:
        pulled.publish("bad")
        old = pulled.publish("a", "1.0.0")
        pulled.publish("a", "2.0.0")
        await pulled.mirror.at_head()
        got = await pulled.ask("/bad")
        assert (got.status, got.json) == (
            404,
            {"error": "The mirror's policy does not want this package"},
        )
        assert (await pulled.tarball("bad")).status == 404
        assert pulled.upstream.count("packument", "bad") == 0
        assert (await pulled.tarball("a", "1.0.0")).body == old


async def test_a_tarball_that_is_too_large_is_not_given(pull: Pull) -> None:
    """`policy.max_tarball_bytes` holds here, too."""
    async with pull(policy={"tarballs": "none", "max_tarball_bytes": 1000}) as pulled:
        pulled.publish("a")
        await pulled.mirror.at_head()
        got = await pulled.tarball("a")
        assert (got.status, got.json) == (
            404,
            {"error": "The mirror takes no tarball of this size"},
        )


async def test_the_head_of_a_tarball_fetches_nothing(pull: Pull) -> None:
    """Its length is not known; a range is answered with the whole."""
    async with pull() as pulled:
        tarball = pulled.publish("a")
        await pulled.mirror.at_head()
        head = await pulled.tarball("a", method="HEAD")
        assert head.status == 200
        assert "ETag" not in head.headers
        assert pulled.upstream.count("tarball", "a") == 0
        ranged = await pulled.tarball("a", headers={"Range": "bytes=10-20"})
        assert (ranged.status, ranged.body) == (200, tarball)


async def test_what_is_withheld_is_not_fetched(pull: Pull) -> None:
    """451 by any address, in every view; the document of others is not touched."""
    async with pull(server={"withhold": ["a@1.0.0", "evil"]}) as pulled:
        pulled.publish("a", "1.0.0")
        pulled.publish("a", "1.1.0")
        pulled.publish("evil")
        await pulled.mirror.at_head()
        assert (await pulled.ask("/a")).json["versions"].keys() == {"1.1.0"}
        for path in (
            "/a/-/a-1.0.0.tgz",
            "/-/raw/a/-/a-1.0.0.tgz",
            "/a/1.0.0",
            "/evil",
            "/evil/1.0.0",
        ):
            got = await pulled.ask(path)
            assert (got.status, got.json) == (451, {"error": "Withheld by this mirror"}), path
        assert (await pulled.ask("/-/raw/a")).json["versions"].keys() == {"1.0.0", "1.1.0"}
        assert pulled.upstream.count("tarball") == 0


async def test_more_fetches_than_workers_wait_for_their_turn(pull: Pull) -> None:
    """All of them come to their end, also where they are twenty times as many."""
    async with pull(server={"unheld_fetches": 1}) as pulled:
        tarballs = {f"p-{number}": pulled.publish(f"p-{number}", size=1000) for number in range(20)}
        await pulled.mirror.at_head()
        got: dict[str, bytes] = {}

        async def one(name: str) -> None:
            got[name] = (await pulled.tarball(name)).body

        async with anyio.create_task_group() as tasks:
            for name in tarballs:
                tasks.start_soon(one, name)
        assert got == tarballs


async def test_more_fetches_than_may_wait_are_told_to_come_again(
    pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 503; those under way come to their end."""
    monkeypatch.setattr("npmmirror.pipeline.pull.WAITING", 0)
    async with pull(server={"unheld_fetches": 1}) as pulled, anyio.create_task_group() as tasks:
        for name in ("a", "b"):
            pulled.publish(name)
        await pulled.mirror.at_head()
        pulled.upstream.fault("tarball", Stall(after=LARGE // 2), name="a")
        reading = await _begun(pulled, tasks, "a", after=LARGE // 2)
        got = await pulled.tarball("b")
        assert got.status == 503
        assert got.headers["Retry-After"]
        pulled.upstream.release()
        await reading.over.wait()
        await pulled.until_held("a")
        with anyio.fail_after(20):
            while (await pulled.tarball("b")).status != 200:  # noqa: ASYNC110
                await anyio.sleep(0.02)


async def test_a_client_does_not_wait_behind_a_backfill(pull: Pull) -> None:
    """Though every worker is at work on something that does not come, and so is every download."""
    slow = [f"slow-{number}" for number in range(2)]
    async with pull(fetch={"concurrency": 2}, policy={"tarballs": "all"}) as pulled:
        for name in slow:
            pulled.upstream.fault("tarball", Stall(), times=None, name=name)
            pulled.publish(name, "1.0.0", size=1000)
            pulled.publish(name, "1.1.0", size=1000)
        await pulled.upstream.asked("tarball", times=2)
        announced, tarball = pulled.publish("announced"), pulled.publish("never-seen")
        pulled.upstream.registry.hide("never-seen")
        with anyio.fail_after(20):
            assert (await pulled.tarball("never-seen")).body == tarball
            assert (await pulled.tarball("announced")).body == announced
        pulled.upstream.heal()
        pulled.upstream.release()


async def test_a_job_of_the_same_package_gives_way(pull: Pull) -> None:
    """It begins no further tarball before the one that a client waits for."""
    async with pull(policy={"tarballs": "all"}) as pulled:
        pulled.upstream.fault("tarball", Drip(rate=20_000), times=None, name="many")
        wanted = pulled.publish("many", "1.0.0", size=2000)
        for number in range(1, 60):
            pulled.publish("many", f"1.{number}.0", size=2000)
        await pulled.upstream.asked("tarball", "many", times=2)
        with anyio.fail_after(20):
            assert (await pulled.tarball("many", "1.0.0")).body == wanted
        assert pulled.upstream.count("tarball", "many") < 40
        pulled.upstream.heal()
        await pulled.mirror.at_head()
        assert len(pulled.held("many")) == 60


async def test_a_client_is_served_to_the_end_while_the_daemon_drains(pull: Pull) -> None:
    """What is under way is finished; nothing new begins."""
    async with pull(runs=False) as pulled, anyio.create_task_group() as tasks:
        tarball = pulled.publish("a")
        pulled.publish("b")
        async with pulled.mirror.running() as stop:
            await pulled.mirror.at_head()
            with anyio.fail_after(20):
                while (await pulled.ask("/nobody")).status != 404:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            pulled.upstream.fault("tarball", Stall(after=LARGE // 2), name="a")
            reading = await _begun(pulled, tasks, "a", after=LARGE // 2)
            stop.set()
            with anyio.fail_after(20):
                while (got := await pulled.tarball("b")).status != 503:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            assert got.headers["Retry-After"]
            pulled.upstream.release()
            await reading.over.wait()
        assert reading.got is not None
        assert reading.got.body == tarball
        assert pulled.held("a") == {"1.0.0"}


async def test_a_disk_without_room_is_told(pull: Pull) -> None:
    """503, as long as fetching pauses for it."""
    async with pull() as pulled:
        pulled.publish("a")
        await pulled.mirror.at_head()
    async with pull(pulled.upstream, storage={"min_free_bytes": 1 << 60}, runs=False) as full:
        async with full.mirror.running():
            with anyio.fail_after(20):
                while True:
                    try:
                        got = await full.tarball("a")
                    except OSError:
                        continue
                    if got.status == 503 and "room" in got.json["error"]:
                        break
                    await anyio.sleep(0.02)
        assert got.headers["Retry-After"]
