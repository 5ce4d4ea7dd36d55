"""`npmmirror verify`: what it finds in tarballs and files, in both directions, and how it resumes."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from npmmirror.archive.segments import Segments
from npmmirror.cli.app import plain_error
from npmmirror.control.client import ControlClient
from npmmirror.daemon import standalone
from npmmirror.daemon.mirror import Source
from npmmirror.daemon.showing import shown
from npmmirror.daemon.verification import tarballs
from npmmirror.daemon.verification.captures import Ordinals
from npmmirror.daemon.verification.run import Asked
from npmmirror.daemon.verification.tally import LISTED, Report, Tally, What
from npmmirror.daemon.verification.tarballs import judge
from npmmirror.errors import NpmmirrorError
from npmmirror.index import HeldFile
from npmmirror.integrity import Expected, Hasher, sri
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def stored(mirror: Open, **sections: dict[str, Any]) -> AsyncIterator[RunningMirror]:
    """A mirror at rest that holds three versions of left-pad and one of chalk."""
    async with mirror(policy={"tarballs": "all"}, **sections) as here:
        registry = here.upstream.registry
        for version in ("1.0.0", "1.1.0", "1.2.0"):
            registry.publish("left-pad", version)
        registry.publish("chalk", "5.0.0")
        async with here.running():
            await here.at_head()
        yield here


async def verify(here: RunningMirror, *packages: str, tell: Any = None, **options: bool) -> Report:
    """What the command does: by the daemon where one runs, else by itself."""
    asked = Asked(packages or None, **options)
    if here.socket.exists():
        async with (
            ControlClient(here.socket) as client,
            aclosing(client.verify(asked.to_json())) as reports,
        ):
            *_, end = [report async for report in reports]
        if "error" in end:
            raise NpmmirrorError(end["error"])
        return end
    source = Source(here.upstream.url)
    report = await standalone.verify(here.config, source, asked, tell=tell or (lambda _: None))
    assert report is not None
    return report


def file_of(here: RunningMirror, name: str, version: str) -> Path:
    """Where a version's tarball lies."""
    with closing(sqlite3.connect(here.config.storage.index_path)) as index:
        [(path,)] = index.execute(
            "SELECT path FROM versions JOIN packages ON id = package_id "
            "WHERE name = ? AND version = ?",
            (name, version),
        ).fetchall()
    return here.config.storage.packages_path / str(path)


def change(here: RunningMirror, sql: str, *values: object) -> None:
    """Tamper with the index of a mirror at rest; `{chalk}` is a package."""
    package = "package_id = (SELECT id FROM packages WHERE name = 'chalk')"
    with closing(sqlite3.connect(here.config.storage.index_path)) as index, index:
        index.execute(sql.replace("{chalk}", package), values)


def found(report: Report) -> set[tuple[str, str | None, str | None]]:
    """The findings in short."""
    return {(each["what"], each["package"], each["version"]) for each in report["findings"]}


@pytest.mark.parametrize("daemon", [False, True])
async def test_a_sound_mirror_is_well(mirror: Open, daemon: bool) -> None:
    """Everything is looked at: log, documents, tarballs, files."""
    async with stored(mirror) as here:
        if daemon:
            async with here.running():
                report = await verify(here)
        else:
            report = await verify(here)
    assert report["well"]
    assert report["findings"] == []
    assert report["documents"] == 2
    assert report["tarballs"] == report["files"] == 4
    assert report["records"] > 6


@pytest.mark.parametrize("daemon", [False, True])
async def test_missing_and_altered_files_are_found(mirror: Open, daemon: bool) -> None:
    """Each is named, with both digests; the results are kept."""
    async with stored(mirror) as here:
        file_of(here, "left-pad", "1.0.0").unlink()
        altered = file_of(here, "left-pad", "1.1.0")
        altered.write_bytes(altered.read_bytes()[:-1] + b"?")
        if daemon:
            async with here.running():
                report = await verify(here)
        else:
            report = await verify(here)
        async with shown(here.config) as showing:
            kept = {
                version: (await showing.version("left-pad", version))["check"]
                for version in ("1.0.0", "1.1.0", "1.2.0")
            }
    assert not report["well"]
    assert found(report) == {
        ("missing", "left-pad", "1.0.0"),
        ("altered", "left-pad", "1.1.0"),
    }
    assert report["findings"][1]["detail"].count("sha512-") == 2
    assert kept == {"1.0.0": "missing", "1.1.0": "altered", "1.2.0": "ok"}


@pytest.mark.parametrize("daemon", [False, True])
@pytest.mark.parametrize("what", ["tarball", "segment"])
async def test_without_descriptors_it_stops_and_notes_nothing(
    mirror: Open, monkeypatch: pytest.MonkeyPatch, what: str, daemon: bool
) -> None:
    """820 sound files were noted as unreadable: no file is at fault where none can be opened."""
    opened: Any = Path.open

    def refuse(self: Any, *args: Any, **keys: Any) -> Any:
        if isinstance(self, Path) and self.suffix != ".tgz":
            return opened(self, *args, **keys)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "it")

    async with stored(mirror) as here, AsyncExitStack() as stack:
        if daemon:
            await stack.enter_async_context(here.running())
        with monkeypatch.context() as patched:
            patched.setattr(Path if what == "tarball" else Segments, "open", refuse)
            with pytest.raises((NpmmirrorError, ExceptionGroup)) as stopped:
                await verify(here)
        assert "limit of file descriptors" in str(plain_error(stopped.value))
        assert here.rows("SELECT * FROM checks") == []
        assert (await verify(here))["well"]


async def test_only_the_packages_named_are_looked_at(mirror: Open) -> None:
    """Their documents, their tarballs, their directories."""
    async with stored(mirror) as here:
        file_of(here, "left-pad", "1.0.0").unlink()
        assert (await verify(here, "chalk"))["well"]
        report = await verify(here, "left-pad")
    assert found(report) == {("missing", "left-pad", "1.0.0")}
    assert (report["documents"], report["tarballs"], report["files"]) == (1, 3, 2)


async def test_files_that_the_index_does_not_know_are_found(mirror: Open) -> None:
    """Orphans and strays; a temp file of another file system's move is none."""
    async with stored(mirror) as here:
        packages = here.config.storage.packages_path
        body = file_of(here, "chalk", "5.0.0").read_bytes()
        for path in ("00/nobody/nobody-1.0.0.tgz", "00/README", ".incoming/npmmirror-1.tgz"):
            (packages / path).parent.mkdir(exist_ok=True, parents=True)
            (packages / path).write_bytes(body)
        other = file_of(here, "left-pad", "1.0.0")
        other.with_name("left-pad-9.0.0.tgz").write_bytes(body)
        report = await verify(here)
    assert {(each["what"], each["package"], each["path"]) for each in report["findings"]} == {
        ("orphan", "nobody", "00/nobody/nobody-1.0.0.tgz"),
        ("orphan", "left-pad", str(other.relative_to(packages).with_name("left-pad-9.0.0.tgz"))),
        ("stray", None, "00/README"),
    }


async def test_a_file_with_an_impossible_name_is_told_too(mirror: Open) -> None:
    """Bytes that are no text at all: beside a daemon, and kept with the place."""
    async with stored(mirror) as here:
        os.mknod(os.fsencode(here.config.storage.packages_path) + b"/\xff\n.tgz")
        async with here.running():
            report = await verify(here)
    [stray] = report["findings"]
    assert (stray["what"], stray["path"]) == ("stray", "\\udcff\n.tgz")


async def test_upstreams_new_claim_is_told_and_leaves_the_file_alone(mirror: Open) -> None:
    """The file is what was stored; nothing of it is repaired."""
    async with stored(mirror) as here:
        change(here, "UPDATE versions SET integrity = ? WHERE {chalk}", sri("00" * 64))
        report = await verify(here, repair=True)
        assert file_of(here, "chalk", "5.0.0").exists()
    assert found(report) == {("claim_differs", "chalk", "5.0.0")}
    assert not report["well"]


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("DELETE FROM versions WHERE {chalk}", "not_indexed"),
        ("UPDATE versions SET state = '', ordinal = 1 WHERE {chalk}", "not_indexed"),
        ("UPDATE versions SET size = 1 WHERE {chalk}", "index_differs"),
        ("UPDATE versions SET ordinal = NULL WHERE {chalk}", "not_recorded"),
        ("DELETE FROM revisions WHERE {chalk}", "not_indexed"),
        ("UPDATE revisions SET sha256 = zeroblob(32) WHERE {chalk}", "index_differs"),
        ('UPDATE revisions SET "offset" = "offset" + 1 WHERE {chalk}', "document_unreadable"),
    ],
)
async def test_log_and_index_are_held_against_each_other(mirror: Open, sql: str, what: str) -> None:
    """A row without its record, a record without its row, a row that says something else."""
    async with stored(mirror) as here:
        change(here, sql)
        report = await verify(here)
    assert what in {each["what"] for each in report["findings"]}
    assert {each["package"] for each in report["findings"]} == {"chalk"}


async def test_damage_in_the_capture_log_is_named(mirror: Open) -> None:
    """The record and its package; all else is sound."""
    async with stored(mirror) as here:
        with closing(sqlite3.connect(here.config.storage.index_path)) as index:
            [(offset,)] = index.execute(
                'SELECT "offset" FROM revisions WHERE package_id = '
                "(SELECT id FROM packages WHERE name = 'chalk')"
            ).fetchall()
        segment = here.config.storage.data_dir / "captures" / "000001.log"
        raw = bytearray(segment.read_bytes())
        raw[offset + 700] ^= 1
        segment.write_bytes(raw)
        report = await verify(here)
    assert found(report) == {
        ("capture_damaged", "chalk", None),
        ("document_unreadable", "chalk", None),
    }


class CutOffError(Exception):
    """The end of a verification that is to be taken up again."""


async def interrupted(here: RunningMirror, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Verify until so many tarballs were hashed, then be cut off."""
    examine, hashed = tarballs.examine, list[str]()

    async def some(bench: Any, file: HeldFile) -> tarballs.Verdict:
        hashed.append(file.version)
        if len(hashed) > after:
            raise CutOffError
        return await examine(bench, file)

    with monkeypatch.context() as patched:
        patched.setattr(tarballs, "BATCH", 1)
        patched.setattr(tarballs, "examine", some)
        with pytest.raises(ExceptionGroup) as raised:
            await verify(here)
        assert raised.group_contains(CutOffError)


async def test_an_interrupted_verification_goes_on_where_it_was(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before counts; what was hashed is not hashed again."""
    async with stored(mirror) as here:
        file_of(here, "chalk", "5.0.0").unlink()
        await interrupted(here, monkeypatch, 2)
        examine, hashed = tarballs.examine, list[str]()

        async def counted(bench: Any, file: HeldFile) -> tarballs.Verdict:
            hashed.append(file.version)
            return await examine(bench, file)

        monkeypatch.setattr(tarballs, "examine", counted)
        report = await verify(here)
        assert hashed == ["1.1.0", "1.2.0"]
        assert found(report) == {("missing", "chalk", "5.0.0")}
        assert report["tarballs"] == 4
        hashed.clear()
        await verify(here)
        assert len(hashed) == 4


async def test_restart_begins_anew(mirror: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an interrupted verification found is forgotten."""
    async with stored(mirror) as here:
        away = file_of(here, "chalk", "5.0.0")
        kept = away.read_bytes()
        away.unlink()
        await interrupted(here, monkeypatch, 2)
        away.write_bytes(kept)
        assert (await verify(here, restart=True))["well"]


async def test_watchers_of_the_same_share_it_and_others_are_told(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One verification at a time; it goes on when whoever began it goes away."""
    examine, may_go_on, hashed = tarballs.examine, anyio.Event(), list[str]()

    async def held_up(bench: Any, file: HeldFile) -> tarballs.Verdict:
        hashed.append(file.version)
        await may_go_on.wait()
        return await examine(bench, file)

    monkeypatch.setattr(tarballs, "examine", held_up)
    async with stored(mirror) as here, here.running():
        ends: list[Report] = []

        async def watch() -> None:
            ends.append(await verify(here))

        async with ControlClient(here.socket) as client:
            reports = client.verify(Asked().to_json())
            await anext(reports)
            await reports.aclose()
        with pytest.raises(NpmmirrorError, match="verifies something else"):
            await verify(here, "chalk")
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(watch)
            await anyio.wait_all_tasks_blocked()
            may_go_on.set()
    assert [end["well"] for end in ends] == [True] * 3
    assert len(hashed) == 4


async def test_progress_is_told_for_each_phase(mirror: Open) -> None:
    """So many of so many, and the bytes."""
    told: list[Report] = []
    async with stored(mirror) as here:
        await verify(here, tell=told.append)
    assert [each["phase"] for each in told][:1] == ["captures"]
    assert {each["phase"] for each in told} == {"captures", "documents", "tarballs", "files"}
    [first, *_] = [each for each in told if each["phase"] == "tarballs"]
    assert first["total"] == 4
    assert first["total_bytes"] >= first["bytes"] > 0


def held(**facts: Any) -> HeldFile:
    """A file of the bytes `x`."""
    hasher = Hasher()
    hasher.update(b"x")
    known: dict[str, Any] = {
        "name": "a",
        "version": "1.0.0",
        "path": "a.tgz",
        "size": 1,
        "sha512": hasher.digests.sha512,
        "unverifiable": False,
        "integrity": sri(hasher.digests.sha512),
        "shasum": hashlib.sha1(b"x", usedforsecurity=False).hexdigest(),
        "checked_at": None,
        "check_result": None,
    }
    return HeldFile(**(known | facts))


@pytest.mark.parametrize(
    ("file", "body", "result"),
    [
        (held(), b"x", "ok"),
        (held(), b"y", "altered"),
        (held(), None, "missing"),
        (held(integrity=None), b"x", "ok"),
        (held(integrity=None, shasum=None, unverifiable=True), b"x", "ok"),
        (held(integrity=None, shasum=None, unverifiable=True), b"y", "altered"),
        (held(integrity=None, shasum="0" * 40), b"x", "claim_differs"),
    ],
)
def test_bytes_are_judged_by_what_was_stored_and_by_upstreams_claim(
    file: HeldFile, body: bytes | None, result: str
) -> None:
    """Our own SHA-512 says whether the file changed, upstream's whether it is still right."""
    hasher = Hasher(Expected.of(file.integrity, file.shasum))
    hasher.update(body or b"")
    assert judge(file, None if body is None else len(body), hasher).result == result


def test_a_tally_survives_as_text() -> None:
    """All of it; what another version wrote is passed over."""
    tally = Tally("2026-11-20T10:00:00.000000Z", "tarballs", ["a", "1.0.0"], records=7)
    tally.find(What.MISSING, package="a", version="1.0.0", detail="x")
    assert Tally.at(tally.place()) == tally
    for other in ("", "[]", "{}", '{"phase": 1}', tally.place().replace("tarballs", "other", 1)):
        assert Tally.at(other) is None


def test_findings_beyond_the_list_are_counted() -> None:
    """The report stays readable; nothing is well while one is left."""
    tally = Tally("")
    for number in range(LISTED + 5):
        tally.find(What.MISSING, package="a", version=f"1.0.{number}")
    report = tally.report(None, "")
    assert (len(report["findings"]), report["findings_left_out"]) == (LISTED, 5)
    mend = partial(tally.mend, kinds={What.MISSING}, word="", repaired=True)
    for number in range(LISTED + 4):
        mend(("a", f"1.0.{number}"))
    assert not tally.well
    mend(("a", f"1.0.{LISTED + 4}"))
    assert tally.well


def test_ordinals_are_a_set() -> None:
    """Of those up to the last."""
    ordinals = Ordinals(20)
    ordinals.add(3)
    ordinals.add(7, 3)
    ordinals.add(19, 5)
    assert [n for n in range(1, 21) if n in ordinals] == [3, 7, 8, 9, 19, 20]
