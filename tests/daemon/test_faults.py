"""Each fault of a document or a tarball has its own recorded reason, and stops nothing else."""

import base64
import hashlib
from typing import Any

import pytest

from npmmirror.daemon.run import run as run_daemon
from npmmirror.pipeline import look
from npmmirror.pipeline.intake import Claim
from npmmirror.pipeline.tarballs import TarballFetcher
from npmmirror.testing import faults
from npmmirror.testing.faults import Fault
from npmmirror.testing.oddities import Oddity, oddities
from tests.daemon.conftest import FastClock, Open, RunningMirror

pytestmark = pytest.mark.anyio

FEW_TRIES = {"max_attempts": 2}


def held(mirror: RunningMirror, package: str, state: str = "held") -> set[str]:
    """The versions of a package whose tarballs are in this state."""
    return {row[0] for row in mirror.end_state().packages[package].versions if row[13] == state}


def sri(body: bytes) -> str:
    """A digest as npm writes it."""
    return "sha512-" + base64.b64encode(hashlib.sha512(body).digest()).decode()


async def dead(mirror: RunningMirror, letters: int = 1) -> dict[str, Any]:
    """The status once so many rows have become dead letters, and nothing else is left to do."""
    return await mirror.until(
        lambda status: (
            sum(status["dead_letters"].values()) == letters and status["mirror"]["at_head"]
        )
    )


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.Truncated(), "truncated"),
        (faults.Reset(after=None), "reset"),
        (faults.WrongLength(), "digest_mismatch"),
        (faults.WrongLength(by=-5), "digest_mismatch"),
        (faults.Altered(), "digest_mismatch"),
        (faults.Empty(), "empty"),
        (faults.HtmlPage(), "html"),
        (faults.Status(404), "http_404"),
        (faults.Status(403), "http_403"),
        (faults.Status(500), "http_500"),
        (faults.Redirect(), "redirect_refused"),
        (faults.WrongEncoding(), "wrong_encoding"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
async def test_a_tarballs_fault_is_recorded_and_holds_nothing_else(
    mirror: Open, fault: Fault, reason: str
) -> None:
    """A reason of its own, a dead letter in the end; the document and other packages are there."""
    async with mirror(fetch=FEW_TRIES) as here:
        registry = here.upstream.registry
        registry.base = here.upstream.url
        registry.publish("bad", "1.0.0")
        registry.publish("good", "1.0.0")
        here.upstream.fault("tarball", fault, name="bad", times=None)
        async with here.running():
            status = await dead(here)
        assert status["dead_letters"] == {reason: 1}
        assert status["mirror"]["lag"] == 0
        assert status["buffer"]["depth"] == 0
        assert set(here.work_list("bad")) == {"1.0.0"}
        state = here.end_state()
        assert len(state.packages["bad"].revisions) == 1
        assert held(here, "bad") == set()
        assert held(here, "good") == {"1.0.0"}
        assert len(state.files) == 1
        assert not list(here.config.storage.staging_path.iterdir())


async def test_other_versions_are_fetched_beside_a_bad_one(mirror: Open) -> None:
    """Of a package with one bad tarball all others are held."""
    async with mirror(policy={"tarballs": "all"}, fetch=FEW_TRIES) as here:
        registry = here.upstream.registry
        for minor in range(4):
            registry.publish("bad", f"1.{minor}.0")
        registry.replace_tarball("bad", "1.2.0", b"something else")
        async with here.running():
            await dead(here)
        assert held(here, "bad") == {"1.0.0", "1.1.0", "1.3.0"}


async def test_wrong_bytes_are_asked_for_twice_and_told_with_both_digests(mirror: Open) -> None:
    """Refetched once in the same job; upstream's claim stays as it was."""
    async with mirror(fetch={"max_attempts": 1}) as here:
        registry = here.upstream.registry
        registry.publish("bad", "1.0.0")
        claimed = sri(registry.tarball("bad", "1.0.0"))
        registry.replace_tarball("bad", "1.0.0", b"something else")
        async with here.running():
            await dead(here)
        assert here.upstream.count("tarball", "bad") == 2
        [row] = here.work_list("bad").values()
        assert (row.reason, row.attempts, row.dead) == ("digest_mismatch", 1, True)
        assert claimed in row.detail
        assert sri(b"something else") in row.detail
        [version] = here.end_state().packages["bad"].versions
        assert version[6] == claimed


async def test_wrong_bytes_that_were_an_accident_are_no_failure(mirror: Open) -> None:
    """The second answer is right: held, and nothing on the work list."""
    async with mirror() as here:
        here.upstream.registry.publish("left-pad", "1.0.0")
        here.upstream.fault("tarball", faults.Altered(), times=1)
        async with here.running():
            await here.at_head()
        assert held(here, "left-pad") == {"1.0.0"}


@pytest.mark.parametrize("announced", [True, False])
async def test_too_large_a_tarball_is_skipped(mirror: Open, announced: bool) -> None:
    """No retry: whether its length is told in advance or found out."""
    async with mirror(policy={"max_tarball_bytes": 2000}) as here:
        registry = here.upstream.registry
        registry.publish("big", "1.0.0", archive=b"\x1f\x8b" + bytes(5000))
        if not announced:
            here.upstream.fault("tarball", faults.Drip(rate=1e6), name="big", times=None)
        async with here.running():
            status = await here.at_head()
        assert status["skips"] == {"too_large": 1}
        assert not here.work_list("big")
        assert not list(here.config.storage.staging_path.iterdir())


async def test_a_manifest_without_a_tarball_is_skipped(mirror: Open) -> None:
    """There is nothing to ask for."""
    async with mirror() as here:
        here.upstream.registry.publish("odd", "1.0.0", manifest={"dist": None})
        async with here.running():
            status = await here.at_head()
        assert status["skips"] == {"no_dist": 1}


async def test_a_tarball_without_any_digest_is_held_as_unverifiable(mirror: Open) -> None:
    """With the SHA-512 that we computed, which is no claim of upstream's."""
    async with mirror() as here:
        registry = here.upstream.registry
        registry.publish("old", "1.0.0", dist={"shasum": None, "integrity": None})
        async with here.running():
            await here.at_head()
        [row] = here.end_state().packages["old"].versions
        assert row[13] == "unverifiable"
        assert row[5:7] == (None, None)
        assert row[17] == hashlib.sha512(registry.tarball("old", "1.0.0")).digest()


async def test_a_tarball_with_a_sha1_alone_is_verified_by_it(mirror: Open) -> None:
    """As npm served it before 2017."""
    async with mirror(fetch=FEW_TRIES) as here:
        registry = here.upstream.registry
        registry.publish("old", "1.0.0", dist={"integrity": None})
        registry.publish("older", "1.0.0", dist={"integrity": None, "shasum": "00" * 20})
        async with here.running():
            await dead(here)
        assert held(here, "old") == {"1.0.0"}
        [row] = here.work_list("older").values()
        assert row.reason == "digest_mismatch"


async def test_an_empty_tarball_that_is_right_is_held(mirror: Open) -> None:
    """Its digest says that it is empty: da39a3..."""
    async with mirror() as here:
        here.upstream.registry.publish("empty", "1.0.0", archive=b"")
        async with here.running():
            await here.at_head()
        [row] = here.end_state().packages["empty"].versions
        assert row[5] == "da39a3ee5e6b4b0d3255bfef95601890afd80709"
        assert (row[13], row[16]) == ("held", 0)


async def test_a_dead_letter_is_woken_by_retry(mirror: Open) -> None:
    """What failed for good is tried again when a person says so."""
    async with mirror(fetch=FEW_TRIES) as here:
        here.upstream.registry.publish("bad", "1.0.0")
        armed = here.upstream.fault("tarball", faults.Status(404), times=None)
        async with here.running():
            await dead(here)
            here.upstream.heal(armed)
            async with here.control() as daemon:
                assert await daemon.retry(["bad"]) == 1
            await here.until(lambda status: status["totals"]["tarballs"] == 1)
            status = await here.at_head()
        assert not status["dead_letters"]


async def test_a_dead_letter_is_woken_by_a_new_change(mirror: Open) -> None:
    """The package was touched upstream: perhaps its old tarball is right now."""
    async with mirror(fetch=FEW_TRIES) as here:
        registry = here.upstream.registry
        registry.publish("bad", "1.0.0")
        armed = here.upstream.fault("tarball", faults.Status(404), times=None)
        async with here.running():
            await dead(here)
            here.upstream.heal(armed)
            registry.publish("bad", "1.1.0")
            await here.at_head()
        assert held(here, "bad") == {"1.0.0", "1.1.0"}


async def test_a_change_leaves_waiting_tarballs_alone(mirror: Open) -> None:
    """Policy `all` wants them again with each change: their attempts are not forgotten."""
    async with mirror(
        policy={"tarballs": "all"},
        fetch={"retry_seconds": 600.0, "retry_max_seconds": 600.0, "max_attempts": 9},
    ) as here:
        registry = here.upstream.registry
        registry.publish("bad", "1.0.0")
        here.upstream.fault("tarball", faults.Status(404), name="bad", times=2)
        async with here.running():
            await here.until(lambda status: bool(status["work_list"]))
            before = here.work_list("bad")
            registry.deprecate("bad", "1.0.0", "do not use")
            await here.until(lambda status: status["totals"]["revisions"] == 2)
            assert here.work_list("bad") == before
            assert here.upstream.count("tarball", "bad") == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.Status(500), "http_500"),
        (faults.Status(502), "http_502"),
        (faults.HtmlPage(), "html"),
        (faults.Altered(), "wrong_encoding"),
        (faults.Empty(), "empty"),
        (faults.Truncated(), "truncated"),
        (faults.WrongEncoding(), "wrong_encoding"),
        (faults.EndlessGzip(), "too_large"),
        (faults.Redirect(), "redirect_refused"),
        (faults.Status(403), "http_403"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
async def test_a_documents_fault_is_its_packages_alone(
    mirror: Open, fault: Fault, reason: str
) -> None:
    """That package's attempts run out; the others are mirrored, and nothing pauses."""
    async with mirror(
        fetch={**FEW_TRIES, "max_packument_bytes": 1 << 20, "large_packument_bytes": 1 << 19}
    ) as here:
        registry = here.upstream.registry
        for name in ("good", "bad", "better"):
            registry.publish(name, "1.0.0")
        here.upstream.fault("packument", fault, name="bad", times=None)
        async with here.running():
            status = await dead(here)
            assert status["fetch"]["paused"] is None
        assert here.work_list("bad")[""].attempts == 2
        assert here.work_list("bad")[""].reason == reason
        assert status["totals"]["packages"] == {"live": 2}
        assert not list(here.config.storage.staging_path.iterdir())


async def test_a_503_for_one_package_does_not_stop_the_mirror_again_and_again(
    mirror: Open,
) -> None:
    """Others are served: from the second time on it is that package's own attempt."""
    async with mirror(fetch={"max_attempts": 3}) as here:
        registry = here.upstream.registry
        registry.publish("bad", "1.0.0")
        here.upstream.fault("packument", faults.Status(503), name="bad", times=None)
        async with here.running(clock=FastClock(20)):
            await here.until(lambda status: "bad" in status["fetch"]["packages"])
            registry.publish("good", "1.0.0")
            status = await dead(here)
        assert status["dead_letters"] == {"http_503": 1}
        assert held(here, "good") == {"1.0.0"}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"name": "somebody-else", "versions": {}}', "wrong_name"),
        (b"[1, 2]", "not_json"),
        (b'{"name": "bad", "versions": ', "not_json"),
        (b'{"name": "bad", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too_deep"),
        (b'{"error": "what"}', "wrong_name"),
    ],
    ids=["name", "array", "half", "deep", "error"],
)
async def test_a_document_that_is_none_is_refused(mirror: Open, raw: bytes, reason: str) -> None:
    """Whatever JSON came with status 200, it is not captured as this package."""
    async with mirror(fetch=FEW_TRIES) as here:
        here.upstream.registry.put_document("bad", raw)
        async with here.running():
            await dead(here)
        assert here.work_list("bad")[""].reason == reason
        assert not here.end_state().packages["bad"].revisions


async def test_a_silent_upstream_is_given_up(mirror: Open) -> None:
    """`upstream.read_seconds` after the last byte the request is a failure."""
    async with mirror(
        upstream={"read_seconds": 0.2, "connect_seconds": 0.2}, fetch=FEW_TRIES
    ) as here:
        here.upstream.registry.publish("bad", "1.0.0")
        here.upstream.registry.publish("good", "1.0.0")
        here.upstream.fault("packument", faults.Stall(after=10), name="bad", times=None)
        async with here.running():
            status = await dead(here)
        assert status["dead_letters"] == {"timeout": 1}
        assert held(here, "good") == {"1.0.0"}


def _trip(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Have a bug meet the documents of one package."""
    judge = look.Looker._judge

    def tripped(self: look.Looker, job: Any, finding: Any, known: Any, *, changed: bool) -> Any:
        if job.package == package:
            raise ZeroDivisionError("a bug")
        return judge(self, job, finding, known, changed=changed)

    monkeypatch.setattr(look.Looker, "_judge", tripped)


async def test_a_bug_is_the_packages_failure_and_the_daemon_goes_on(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In production: recorded, tried again, a dead letter; others never notice."""
    async with mirror(fetch=FEW_TRIES) as here:
        _trip(monkeypatch, "bad")
        here.upstream.registry.publish("bad", "1.0.0")
        here.upstream.registry.publish("good", "1.0.0")
        async with here.running(raise_bugs=False):
            status = await dead(here)
        assert status["dead_letters"] == {"bug": 1}
        assert here.work_list("bad")[""].detail == "ZeroDivisionError: a bug"
        assert held(here, "good") == {"1.0.0"}


async def test_a_bug_ends_the_daemon_of_a_test(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `raise_bugs` nothing is hidden."""
    async with mirror() as here:
        _trip(monkeypatch, "bad")
        here.upstream.registry.publish("bad", "1.0.0")
        with pytest.raises(ExceptionGroup) as caught:
            await run_daemon(here.config, here.source, raise_bugs=True)
        assert caught.group_contains(ZeroDivisionError, match="a bug")


async def test_a_bug_in_a_job_of_tarballs_loses_none_of_them(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that the job took on stay on the work list, and no packument is made up."""
    async with mirror(
        policy={"tarballs": "all"}, fetch={"tarballs_per_job": 2, **FEW_TRIES}
    ) as here:
        for minor in range(5):
            here.upstream.registry.publish("bad", f"1.{minor}.0")
        whole, calls = TarballFetcher.fetch, list[int]()

        async def tripped(self: TarballFetcher, package: str, claims: list[Claim]) -> Any:
            calls.append(len(claims))
            if len(calls) == 2:
                raise ZeroDivisionError("a bug")
            return await whole(self, package, claims)

        monkeypatch.setattr(TarballFetcher, "fetch", tripped)
        async with here.running(raise_bugs=False):
            await here.at_head()
        assert len(held(here, "bad")) == 5
        assert here.upstream.count("packument", "bad") == 1


async def test_every_oddity_ends_with_a_recorded_outcome(mirror: Open) -> None:
    """Whatever npm is known to send: the daemon reaches its head, nothing leaves `packages/`."""
    # An id that begins with _ is no package's in any feed: design documents are passed over.
    everything = [oddity for oddity in oddities() if not oddity.name.startswith("_")]
    async with mirror(fetch=FEW_TRIES, policy={"tarballs": "all"}) as here:
        for oddity in everything:
            oddity.put(here.upstream.registry)
        async with here.running():
            await here.at_head()
            for oddity in everything:
                oddity.put_then(here.upstream.registry)
            await here.at_head()
        state = here.end_state()
        assert not [one.name for one in everything if not _is_recorded(state.packages, one)]
        data_dir = here.config.storage.data_dir
        assert {path.name for path in data_dir.iterdir()} <= {
            *("lock", "in_work", "captures", "packages", "staging", "buffer.db", "index.db"),
            *("buffer.db-wal", "buffer.db-shm", "index.db-wal", "index.db-shm"),
        }
        assert [path.name for path in data_dir.parent.iterdir()] == ["data"]


def _is_recorded(packages: Any, oddity: Oddity) -> bool:
    name = oddity.name.encode("utf-8", "backslashreplace").decode()
    package = packages.get(name)
    return package is not None and bool(
        package.revisions or package.work_list or package.skips or package.events
    )
