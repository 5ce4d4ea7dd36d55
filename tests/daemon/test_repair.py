"""`npmmirror verify --repair`: fetched again, adopted, or told; and killed on the way."""

from pathlib import Path
from typing import Any

import pytest

from npmmirror.archive import TarballsAwayError
from npmmirror.clock import SystemClock
from npmmirror.daemon import standalone
from npmmirror.daemon.mirror import Manner, Source
from npmmirror.daemon.open_mirror import open_mirror
from npmmirror.daemon.verification import repair
from npmmirror.index import Group, IndexWriter, StoredDrop
from npmmirror.pipeline.record import Recorder
from npmmirror.testing import faults
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.test_verify import file_of, found, stored, verify

pytestmark = pytest.mark.anyio


def spoil(here: RunningMirror, name: str, version: str) -> bytes:
    """Turn a byte of a stored file; the bytes that it has then."""
    file = file_of(here, name, version)
    spoilt = file.read_bytes()[:-1] + b"?"
    file.write_bytes(spoilt)
    return spoilt


def kept(here: RunningMirror) -> list[bytes]:
    """What lies among the damaged files."""
    directory = here.config.storage.data_dir / "damaged"
    return [file.read_bytes() for file in sorted(directory.rglob("*")) if file.is_file()]


def same_as_upstream(here: RunningMirror, name: str, version: str) -> bool:
    """Whether the stored file has upstream's bytes."""
    return file_of(here, name, version).read_bytes() == here.upstream.registry.tarball(
        name, version
    )


@pytest.mark.parametrize("daemon", [False, True])
async def test_damaged_files_are_fetched_again(mirror: Open, daemon: bool) -> None:
    """What was altered is kept aside, never deleted; the log tells of the drop."""
    async with stored(mirror) as here:
        spoilt = spoil(here, "left-pad", "1.0.0")
        file_of(here, "left-pad", "1.1.0").unlink()
        if daemon:
            async with here.running():
                report = await verify(here, repair=True)
        else:
            report = await verify(here, repair=True)
        assert report["well"]
        assert [each["repaired"] for each in report["findings"]] == [True, True]
        assert kept(here) == [spoilt]
        assert same_as_upstream(here, "left-pad", "1.0.0")
        assert same_as_upstream(here, "left-pad", "1.1.0")
        again = await verify(here)
        assert again["well"]
        assert again["problems"] == 0


async def test_only_what_is_damaged_is_asked_for(mirror: Open) -> None:
    """Nothing else of the work list, and no document."""
    async with stored(mirror) as here:
        spoil(here, "left-pad", "1.0.0")
        before = here.upstream.count("tarball"), here.upstream.count("packument")
        await verify(here, repair=True)
        assert here.upstream.count("tarball") - before[0] == 1
        assert here.upstream.count("packument") == before[1]


async def test_what_upstream_does_not_have_any_more_stays_lost(mirror: Open) -> None:
    """It is told, now and by every later verification, until it can be had."""
    async with stored(mirror) as here:
        body = here.upstream.registry.tarball("chalk", "5.0.0")
        here.upstream.registry.replace_tarball("chalk", "5.0.0", b"something else")
        spoil(here, "chalk", "5.0.0")
        report = await verify(here, repair=True)
        assert found(report) == {("altered", "chalk", "5.0.0")}
        assert "digest_mismatch" in report["findings"][0]["repair"]
        assert not report["well"]
        later = await verify(here)
        assert found(later) == {("lost", "chalk", "5.0.0")}
        assert not later["well"]
        here.upstream.registry.replace_tarball("chalk", "5.0.0", body)
        assert (await verify(here, repair=True))["well"]
        assert same_as_upstream(here, "chalk", "5.0.0")


async def test_an_outage_leaves_the_rest_on_the_work_list(mirror: Open) -> None:
    """The command ends; the next `retry` fetches it."""
    async with stored(mirror) as here:
        spoil(here, "chalk", "5.0.0")
        here.upstream.fault("tarball", faults.Status(503), times=None)
        report = await verify(here, repair=True)
        assert not report["well"]
        here.upstream.heal()
        source = Source(here.upstream.url)
        await standalone.retry(here.config, source, frozenset({"chalk"}))
        assert (await verify(here))["well"]


async def test_an_orphan_with_the_right_bytes_is_adopted(mirror: Open) -> None:
    """Without asking upstream; one with other bytes is only told."""
    async with mirror(policy={"tarballs": "latest"}) as here:
        registry = here.upstream.registry
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            registry.publish("left-pad", version)
        async with here.running():
            await here.at_head()
        latest = file_of(here, "left-pad", "1.2.0")
        latest.with_name("left-pad-1.0.0.tgz").write_bytes(registry.tarball("left-pad", "1.0.0"))
        latest.with_name("left-pad-1.1.0.tgz").write_bytes(b"something else")
        asked = here.upstream.count("tarball")
        report = await verify(here, repair=True)
        assert {each["version"]: each["repaired"] for each in report["findings"]} == {
            "1.0.0": True,
            "1.1.0": False,
        }
        assert here.upstream.count("tarball") == asked
        assert file_of(here, "left-pad", "1.0.0").name == "left-pad-1.0.0.tgz"
        assert latest.with_name("left-pad-1.1.0.tgz").read_bytes() == b"something else"
        assert found(await verify(here)) == {("orphan", "left-pad", "1.1.0")}


async def test_a_disk_that_is_not_mounted_is_no_damage(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty mount point is refused, and so is one that holds little, unless it is insisted on."""
    monkeypatch.setattr(repair, "MANY", 2)
    async with stored(mirror) as here:
        packages, asked = here.config.storage.packages_path, here.upstream.count("tarball")
        packages.rename(packages.with_name("elsewhere"))
        packages.mkdir()
        with pytest.raises(TarballsAwayError, match=r"Is the disk mounted\?"):
            await verify(here, repair=True, force=True)
        (packages / ".npmmirror").touch()
        report = await verify(here, repair=True, restart=True)
        assert "mounted" in report["refused"]
        assert not report["well"]
        (packages / ".npmmirror").unlink()
        packages.rmdir()
        packages.with_name("elsewhere").rename(packages)
        assert (await verify(here, restart=True))["well"]
        assert here.upstream.count("tarball") == asked
        for file in packages.rglob("*.tgz"):
            file.unlink()
        assert (await verify(here, repair=True, force=True))["well"]


class KilledError(Exception):
    """The end of the process, as far as what is on disk goes."""


async def killed(here: RunningMirror) -> None:
    """Repair until the process dies."""
    with pytest.raises(ExceptionGroup) as raised:
        await verify(here, repair=True)
    assert raised.group_contains(KilledError)


async def test_a_kill_behind_the_move_leaves_a_missing_file(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved aside, and nothing said of it yet: the next repair fetches it, and keeps both."""
    async with stored(mirror) as here:
        spoilt = spoil(here, "chalk", "5.0.0")

        async def die(*_: Any) -> None:
            raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(Recorder, "drop", die)
            await killed(here)
        assert found(await verify(here, "chalk")) == {("missing", "chalk", "5.0.0")}
        assert (await verify(here, repair=True))["well"]
        assert kept(here) == [spoilt]


async def test_a_kill_between_log_and_index_is_rolled_forward(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drop is in the log: the next start puts the tarball on the work list by itself."""
    async with stored(mirror) as here:
        spoil(here, "chalk", "5.0.0")
        commit = IndexWriter.commit

        async def die(index: IndexWriter, group: Group) -> None:
            if group.drops:
                raise KilledError
            await commit(index, group)

        with monkeypatch.context() as patched:
            patched.setattr(IndexWriter, "commit", die)
            await killed(here)
        async with here.running():
            await here.at_head()
        assert same_as_upstream(here, "chalk", "5.0.0")
        assert (await verify(here, restart=True))["well"]


async def test_a_kill_behind_the_drop_leaves_a_row_of_the_work_list(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon that starts next works it off."""
    async with stored(mirror) as here:
        spoil(here, "chalk", "5.0.0")

        async def die(*_: Any) -> None:
            raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(repair.Repairer, "_worked_off", die)
            await killed(here)
        async with here.running():
            await here.at_head()
        assert same_as_upstream(here, "chalk", "5.0.0")


async def test_what_is_not_held_any_more_is_not_dropped_again(mirror: Open) -> None:
    """Between the look and the drop something else may have dropped it: the log stays as it is."""
    async with stored(mirror) as here:
        source, at = Source(here.upstream.url), "2026-11-20T10:00:00.000000Z"
        async with open_mirror(
            here.config, source, clock=SystemClock(), manner=Manner(patient=False)
        ) as opened:
            tip = opened.opened.log.tip
            for name in ("chalk", "nobody"):
                await opened.recorder.drop([StoredDrop(name, "9.9.9", 0, at, "missing")])
            assert opened.opened.log.tip == tip
            await opened.recorder.drop([StoredDrop("chalk", "5.0.0", 0, at, "missing")])
            assert opened.opened.log.tip.ordinal == tip.ordinal + 2


def test_a_damaged_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    """Each is kept under a number of its own."""
    from npmmirror.archive.quarantine import set_aside  # noqa: PLC0415 - of this test alone

    for body in (b"a", b"b"):
        (tmp_path / "x.tgz").write_bytes(body)
        set_aside(tmp_path / "x.tgz", tmp_path / "damaged" / "0c" / "x.tgz")
    assert (tmp_path / "damaged/0c/x.tgz.1").read_bytes() == b"a"
    assert (tmp_path / "damaged/0c/x.tgz.2").read_bytes() == b"b"
    assert set_aside(tmp_path / "x.tgz", tmp_path / "damaged" / "x.tgz") is None
