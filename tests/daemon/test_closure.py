"""`npmmirror sync --with-dependencies` and `--lockfile`, alone and beside a daemon."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec
import pytest

from npmmirror import lockfiles
from npmmirror.daemon import standalone
from npmmirror.lockfiles import Lockfile
from npmmirror.pipeline import closure
from npmmirror.pipeline.closure import Asked, Progress
from npmmirror.policy.closure import Root
from npmmirror.testing import ScriptedRegistry, faults
from npmmirror.testing.tarball import integrity
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio

ME = "me"
Report = dict[str, Any]


@dataclass
class Told:
    """What the reports add up to."""

    held: set[str] = field(default_factory=set)
    required_by: dict[str, set[str]] = field(default_factory=dict)
    missing: dict[str, Report] = field(default_factory=dict)
    left_out: dict[str, Report] = field(default_factory=dict)
    complete: bool | None = None

    @classmethod
    def of(cls, reports: Iterable[Report]) -> "Told":
        """Take the reports in, in whatever order they came."""
        told = cls()
        for report in reports:
            told._take(report)
        return told

    def _take(self, report: Report) -> None:
        for version in report.get("package", {}).get("versions", ()):
            name = f"{report['package']['package']}@{version['version']}"
            self.required_by[name] = set(version["required_by"])
            if version["held"]:
                self.held.add(name)
        for lack in report.get("missing", ()):
            self.missing[f"{lack['package']}@{lack['spec']}"] = lack
        for one in report.get("left_out", ()):
            self.left_out[one["name"]] = one
        if "end" in report:
            self.complete = report["end"]["complete"]


def publish(here: RunningMirror, name: str, version: str = "1.0.0", **manifest: Any) -> None:
    """Publish a version whose manifest has these keys."""
    registry(here).publish(name, version, manifest=manifest)


def registry(here: RunningMirror) -> ScriptedRegistry:
    """What upstream serves."""
    return here.upstream.registry


def roots(*specs: str) -> tuple[Root, ...]:
    """`NAME@SPEC`s, asked for by me."""
    return tuple(Root(*parted(spec), ME) for spec in specs)


def parted(text: str) -> tuple[str, str]:
    """Name and spec."""
    name, _, spec = text.rpartition("@")
    return name, spec


async def close(here: RunningMirror, *specs: str, **options: Any) -> Told:
    """What the command does where no daemon runs."""
    return await carry_out(here, Asked(roots(*specs), **options))


async def carry_out(here: RunningMirror, asked: Asked, stop: anyio.Event | None = None) -> Told:
    """The same of whatever is asked."""
    reports = await standalone.close_over(
        here.config, here.source, asked, progress=lambda _: None, stop=stop
    )
    return Told.of(reports)


async def test_everything_that_is_needed_comes_along(mirror: Open) -> None:
    """Dependencies of dependencies, once each, however often and in whatever circle required."""
    async with mirror() as here:
        publish(here, "a", dependencies={"b": "^1", "c": "^1"})
        publish(here, "b", dependencies={"c": "~1.0", "d": "1.x"})
        publish(here, "c", dependencies={"a": "*"})
        publish(here, "d", "1.4.0")
        publish(here, "unrelated")
        told = await close(here, "a@^1")
        assert told.complete
        assert told.held == {"a@1.0.0", "b@1.0.0", "c@1.0.0", "d@1.4.0"}
        assert told.required_by["a@1.0.0"] == {ME, "c@1.0.0"}
        assert told.required_by["c@1.0.0"] == {"a@1.0.0", "b@1.0.0"}
        assert here.rows("SELECT count(*) FROM versions WHERE state = 'held'") == [(4,)]
        assert here.upstream.count("packument") == 4
        assert here.upstream.count("tarball") == 4


async def test_a_later_step_adds_versions_without_asking_for_the_document_again(
    mirror: Open,
) -> None:
    """The versions that two ranges mean come from one look."""
    async with mirror() as here:
        publish(here, "a", dependencies={"b": "^1", "c": "^1"})
        publish(here, "b", dependencies={"c": "^2"})
        publish(here, "c", "1.0.0")
        publish(here, "c", "2.0.0")
        told = await close(here, "a@^1")
        assert {"c@1.0.0", "c@2.0.0"} <= told.held
        assert here.upstream.count("packument", "c") == 1


async def test_a_second_time_nothing_is_fetched(mirror: Open) -> None:
    """Documents are asked for by their ETags; it is as complete."""
    async with mirror() as here:
        publish(here, "a", dependencies={"b": "^1"})
        publish(here, "b")
        first = await close(here, "a@^1")
        assert await close(here, "a@^1") == first
        assert here.upstream.count("tarball") == 2


async def test_aliases_peers_and_optional_ones(mirror: Open) -> None:
    """The package behind an alias; peers as others; optional ones for whatever platform."""
    async with mirror() as here:
        publish(
            here,
            "a",
            dependencies={"alias": "npm:@s/real@^1"},
            peerDependencies={"peer": "^1"},
            optionalDependencies={"mac": "^1"},
        )
        publish(here, "@s/real")
        publish(here, "peer")
        publish(here, "mac", os=["darwin"], cpu=["arm64"])
        told = await close(here, "a@^1")
        assert told.held == {"a@1.0.0", "@s/real@1.0.0", "peer@1.0.0", "mac@1.0.0"}


async def test_an_optional_peer_comes_only_where_something_requires_it(mirror: Open) -> None:
    """Then both its range and the other count."""
    async with mirror() as here:
        optional = {"p": {"optional": True}, "q": {"optional": True}}
        publish(
            here,
            "a",
            dependencies={"b": "^1"},
            peerDependencies={"p": "^1", "q": "^1"},
            peerDependenciesMeta=optional,
        )
        publish(here, "b", dependencies={"p": "*"})
        publish(here, "p", "1.0.0")
        publish(here, "p", "2.0.0")
        publish(here, "q")
        told = await close(here, "a@^1")
        assert told.held == {"a@1.0.0", "b@1.0.0", "p@1.0.0", "p@2.0.0"}
        assert here.upstream.count("packument", "q") == 0


async def test_versions_for_other_nodes_come_too(mirror: Open) -> None:
    """npm on an older Node passes over what needs a newer; `nodes` names those that matter."""  # noqa: D403 - its name
    async with mirror() as here:
        publish(here, "a", "1.0.0", engines={"node": ">=18"}, dependencies={"old": "^1"})
        publish(here, "a", "1.1.0", engines={"node": ">=22"})
        publish(here, "old")
        assert (await close(here, "a@^1", nodes=("24.0.0",))).held == {"a@1.1.0"}
        assert (await close(here, "a@^1")).held == {"a@1.1.0", "a@1.0.0", "old@1.0.0"}


async def test_what_is_developed_needs_more(mirror: Open) -> None:
    """The devDependencies of those named, not of others; what is bundled then too."""
    async with mirror() as here:
        publish(
            here,
            "a",
            dependencies={"b": "^1", "packed": "^1"},
            devDependencies={"dev": "^1"},
            bundleDependencies=["packed"],
        )
        publish(here, "b", devDependencies={"nobody": "^1"})
        for name in ("dev", "packed"):
            publish(here, name)
        assert (await close(here, "a@^1")).held == {"a@1.0.0", "b@1.0.0"}
        told = await close(here, "a@^1", developed=True)
        assert told.held == {"a@1.0.0", "b@1.0.0", "dev@1.0.0", "packed@1.0.0"}


@pytest.mark.parametrize("depth", [0, 1, 2, 9])
async def test_depth_counts_the_steps(mirror: Open, depth: int) -> None:
    """0 is what was named alone."""
    async with mirror() as here:
        for number in range(4):
            publish(here, f"p{number}", dependencies={f"p{number + 1}": "^1"})
        publish(here, "p4")
        told = await close(here, "p0@^1", depth=depth)
        assert told.held == {f"p{number}@1.0.0" for number in range(min(depth, 4) + 1)}
        assert told.complete


async def test_what_is_not_there_is_told_with_who_requires_it(mirror: Open) -> None:
    """Packages and versions; the rest is held all the same."""
    async with mirror() as here:
        publish(here, "a", dependencies={"nowhere": "^1", "b": "^9", "c": "^1"})
        publish(here, "b")
        publish(here, "c", dependencies={"nowhere": "^1"})
        told = await close(here, "a@^1", "ghost@^1")
        assert told.complete is False
        assert {name: lack["reason"] for name, lack in told.missing.items()} == {
            "nowhere@^1": "not_found",
            "b@^9": "no_such_version",
            "ghost@^1": "not_found",
        }
        assert set(told.missing["nowhere@^1"]["required_by"]) == {"a@1.0.0", "c@1.0.0"}
        assert set(told.missing["ghost@^1"]["required_by"]) == {ME}
        assert told.held == {"a@1.0.0", "c@1.0.0"}


async def test_an_optional_one_that_is_not_there_is_told_and_fails_nothing(mirror: Open) -> None:
    """Nor does what only that one requires."""
    async with mirror() as here:
        publish(here, "a", optionalDependencies={"nowhere": "^1", "b": "^1"})
        publish(here, "b", dependencies={"ghost": "^1"})
        told = await close(here, "a@^1")
        assert told.complete
        assert {name: lack["optional"] for name, lack in told.missing.items()} == {
            "nowhere@^1": True,
            "ghost@^1": True,
        }


async def test_a_tarball_that_cannot_be_had_is_missing(mirror: Open) -> None:
    """With the reason; it stays on the work list."""
    async with mirror() as here:
        publish(here, "a", dependencies={"b": "^1"})
        publish(here, "b")
        here.upstream.fault("tarball", faults.Status(404), name="b", times=None)
        told = await close(here, "a@^1")
        assert told.complete is False
        lack = told.missing["b@1.0.0"]
        assert "http_404" in lack["reason"]
        assert list(lack["required_by"]) == ["a@1.0.0"]
        assert here.upstream.count("tarball", "b") == 1
        assert told.held == {"a@1.0.0"}
        here.upstream.heal()
        again = await close(here, "a@^1")
        assert again.complete
        assert again.missing == {}


async def test_what_is_elsewhere_is_told_and_fails_nothing(mirror: Open) -> None:
    """Repositories, URLs, files, names that are none."""
    async with mirror() as here:
        specs = {
            "repo": "a/repo",
            "url": "https://files.example/x.tgz",
            "file": "file:../x",
            "space": "workspace:*",
            "../../etc": "^1",
        }
        publish(here, "a", dependencies=specs)
        told = await close(here, "a@^1")
        assert told.complete
        assert {name: one["what"] for name, one in told.left_out.items()} == {
            "repo": "git",
            "url": "url",
            "file": "file",
            "space": "workspace",
            "../../etc": "invalid_name",
        }
        assert list(told.left_out["repo"]["required_by"]) == ["a@1.0.0"]
        assert here.upstream.count("packument") == 1


async def test_all_versions_of_those_named(mirror: Open) -> None:
    """Each with what it needs."""
    async with mirror() as here:
        publish(here, "a", "1.0.0", dependencies={"b": "^1"})
        publish(here, "a", "2.0.0", dependencies={"b": "^2"})
        publish(here, "b", "1.0.0")
        publish(here, "b", "2.0.0")
        told = await carry_out(here, Asked((Root("a", None, ME),)))
        assert told.held == {"a@1.0.0", "a@2.0.0", "b@1.0.0", "b@2.0.0"}


async def test_more_versions_than_a_job_takes(mirror: Open) -> None:
    """The rest comes from the work list, and is waited for."""
    async with mirror(fetch={"tarballs_per_job": 2}) as here:
        for minor in range(9):
            publish(here, "b", f"1.{minor}.0")
        publish(here, "a", dependencies={f"x{minor}": f"npm:b@1.{minor}.0" for minor in range(9)})
        told = await close(here, "a@^1")
        assert told.complete
        assert len(told.held) == 10


async def test_the_lock_file_in_a_tarball_counts(mirror: Open) -> None:
    """npm takes the versions that `npm-shrinkwrap.json` names, whatever the ranges mean now."""  # noqa: D403 - its name
    async with mirror() as here:
        locked = msgspec.json.encode(
            {
                "lockfileVersion": 3,
                "packages": {"": {}, "node_modules/b": {"version": "1.0.0"}},
            }
        )
        files = {"package.json": b"{}", "npm-shrinkwrap.json": locked}
        keys = {"_hasShrinkwrap": True, "dependencies": {"b": "^1"}}
        registry(here).publish("a", "1.0.0", manifest=keys, files=files)
        publish(here, "b", "1.0.0", dependencies={"c": "^1"})
        publish(here, "b", "1.1.0")
        publish(here, "c")
        told = await close(here, "a@^1")
        assert told.held == {"a@1.0.0", "b@1.0.0", "b@1.1.0", "c@1.0.0"}


async def test_a_lock_file_in_a_tarball_is_read_beside_the_event_loop(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be as large as its author likes."""
    threads: list[int] = []

    def read(raw: bytes) -> Lockfile:
        threads.append(threading.get_ident())
        return lockfiles.read(raw)

    monkeypatch.setattr(closure, "read_lockfile", read)
    async with mirror() as here:
        files = {"package.json": b"{}", "npm-shrinkwrap.json": b'{"lockfileVersion":{}}'}
        registry(here).publish("a", "1.0.0", manifest={"_hasShrinkwrap": True}, files=files)
        assert (await close(here, "a@^1")).complete
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_an_unreachable_upstream_ends_it(mirror: Open) -> None:
    """It is not waited for: what was asked for is missing, with the reason."""
    async with mirror() as here:
        publish(here, "a")
        await here.upstream.go_down()
        told = await close(here, "a@^1")
        assert told.complete is False
        assert told.missing["a@^1"]["reason"].startswith("refused (")


async def test_a_stop_leaves_the_rest_undone(mirror: Open) -> None:
    """What was found and not fetched is told as not done."""
    async with mirror(fetch={"drain_seconds": 0.0}) as here:
        publish(here, "a", dependencies={"b": "^1"})
        publish(here, "b")
        here.upstream.fault("packument", faults.Stall(), name="b", times=1)
        stop, told = anyio.Event(), Told()

        async def ask() -> None:
            nonlocal told
            told = await carry_out(here, Asked(roots("a@^1")), stop)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await here.upstream.asked("packument", "b")
            stop.set()
        assert told.complete is False
        assert told.missing["b@^1"]["reason"] == "not_done"


def locked(here: RunningMirror, name: str, digest: str | None = None, **keys: Any) -> Root:
    """What a lock file says of version 1.0.0; the true digest where none is named."""
    true = integrity(registry(here).tarball(name, "1.0.0"))
    return Root(name, "1.0.0", "package-lock.json", digest or true, **keys)


async def test_a_lock_files_versions_are_wanted_and_no_others(mirror: Open) -> None:
    """Nothing is resolved any more."""
    async with mirror() as here:
        publish(here, "a", dependencies={"b": "^1"})
        publish(here, "b", "1.0.0", dependencies={"nowhere": "^1"})
        publish(here, "b", "1.1.0")
        asked = Asked((locked(here, "a"), locked(here, "b")), depth=0)
        told = await carry_out(here, asked)
        assert told.complete
        assert {"a@1.0.0", "b@1.0.0"} == told.held
        assert told.required_by["b@1.0.0"] == {"package-lock.json"}


async def test_a_lock_file_that_contradicts_upstream_is_told(mirror: Open) -> None:
    """Whatever is held."""
    async with mirror() as here:
        publish(here, "a")
        asked = Asked((locked(here, "a", integrity(b"other")),), depth=0)
        for _ in range(2):
            told = await carry_out(here, asked)
            assert told.complete is False
            reason = told.missing["a@1.0.0"]["reason"]
            assert reason.startswith("integrity_mismatch (locked sha512-")
            assert "upstream says sha512-" in reason


async def test_a_contradiction_is_never_something_to_do_without(mirror: Open) -> None:
    """An entry that is optional, with another digest than upstream's, fails the whole."""
    async with mirror() as here:
        publish(here, "a")
        wrong = locked(here, "a", integrity(b"other"), optional=True)
        told = await carry_out(here, Asked((wrong,), depth=0))
        assert told.complete is False
        assert told.missing["a@1.0.0"]["optional"] is False


async def test_where_upstream_claims_another_algorithm_the_file_decides(mirror: Open) -> None:
    """A package of before 2017 has a SHA-1 alone, a lock file may have more."""
    async with mirror() as here:
        registry(here).publish("a", "1.0.0", dist={"integrity": None})
        assert (await carry_out(here, Asked((locked(here, "a"),), depth=0))).complete
        told = await carry_out(here, Asked((locked(here, "a", integrity(b"other")),), depth=0))
        assert told.complete is False
        assert "held sha512-" in told.missing["a@1.0.0"]["reason"]


async def test_an_optional_entry_may_be_missing(mirror: Open) -> None:
    """As npm has it."""
    async with mirror() as here:
        told = await carry_out(here, Asked((Root("a", "1.0.0", "lock", None, True),), depth=0))
        assert told.complete
        assert told.missing["a@1.0.0"]["optional"]


async def test_beside_a_daemon(mirror: Open) -> None:
    """The daemon does it and tells the same; progress comes meanwhile."""
    async with mirror(follow={"since": "now"}) as here:
        publish(here, "a", dependencies={"b": "^1", "nowhere": "^1", "repo": "a/repo"})
        publish(here, "b")
        asked = msgspec.to_builtins(Asked(roots("a@^1")))
        async with here.running(), here.control() as daemon:
            reports = [report async for report in daemon.closure(asked)]
        told = Told.of(reports)
        assert told.complete is False
        assert told.held == {"a@1.0.0", "b@1.0.0"}
        assert set(told.missing) == {"nowhere@^1"}
        assert set(told.left_out) == {"repo"}
        steps = [msgspec.convert(one["progress"], Progress) for one in reports if "progress" in one]
        assert steps[-1].found == steps[-1].done == 2


async def test_a_bug_over_a_document_does_not_end_the_daemon(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked is told; the daemon goes on."""

    def read(_: bytes) -> Lockfile:
        raise RuntimeError("a bug")

    monkeypatch.setattr(closure, "read_lockfile", read)
    async with mirror() as here:
        files = {"package.json": b"{}", "npm-shrinkwrap.json": b"{}"}
        registry(here).publish("a", "1.0.0", manifest={"_hasShrinkwrap": True}, files=files)
        asked = msgspec.to_builtins(Asked(roots("a@^1")))
        async with here.running(), here.control() as daemon:
            reports = [report async for report in daemon.closure(asked)]
            assert reports[-1] == {"error": "a bug stopped it; the daemon's log has it"}
            assert (await here.status())["daemon"]["state"] == "running"


async def test_who_goes_away_leaves_it_to_the_daemon(mirror: Open) -> None:
    """It is brought to its end without anybody who listens."""
    async with mirror(follow={"since": "now"}) as here:
        publish(here, "a", dependencies={"b": "^1"})
        publish(here, "b")
        here.upstream.fault("packument", faults.Stall(), name="a", times=1)
        async with here.running():
            async with anyio.create_task_group() as tasks, here.control() as daemon:

                async def ask() -> None:
                    async for _ in daemon.closure(msgspec.to_builtins(Asked(roots("a@^1")))):
                        pass

                tasks.start_soon(ask)
                await here.upstream.asked("packument", "a")
                tasks.cancel_scope.cancel()
            here.upstream.release()
            await here.until(lambda status: status["totals"]["tarballs"] == 2)
