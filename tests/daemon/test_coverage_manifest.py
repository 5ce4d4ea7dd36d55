"""A manifest of a mirrored registry, held against copies: by the program, and by the page's script."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from npmmirror.clock import SystemClock
from npmmirror.daemon.coverage.check import Copy, check_manifest
from npmmirror.daemon.coverage.manifest import ManifestError, write_manifest
from npmmirror.daemon.coverage.selection import selected
from npmmirror.daemon.reindex import reindex
from npmmirror.daemon.verification.bench import Ticker
from npmmirror.errors import StorageError
from npmmirror.index import IndexReader
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "coverage.md").read_text(encoding="utf-8")
NAMES = ("@scope/a", "left-pad", "zed")
QUIET = Ticker(lambda _: None, SystemClock())

Report = dict[str, Any]


@dataclass(frozen=True)
class Copied:
    """A manifest and a copy of the data that it was written of."""

    manifest: Path
    data: Path

    @property
    def packages(self) -> Path:
        return self.data / "packages"

    @property
    def captures(self) -> Path:
        return self.data / "captures"

    def tarball(self, name: str) -> Path:
        [file] = self.packages.rglob(name)
        return file

    async def check(self, *patterns: str, after: str = "") -> Report:
        """What `--check` reports."""
        copy = Copy(self.packages, self.captures)
        return await check_manifest(self.manifest, copy, selected(patterns), QUIET, after=after)

    async def found(
        self, *patterns: str, after: str = ""
    ) -> set[tuple[str, str | None, str | None]]:
        """What deviates, as word, package and version."""
        report = await self.check(*patterns, after=after)
        assert report["well"] == (not report["findings"])
        return {(each["what"], each["package"], each["version"]) for each in report["findings"]}

    def script(self) -> tuple[int, str]:
        """How the script of the page ends, and what it says."""
        [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        done = subprocess.run(
            [sys.executable, "-I", "-c", program, self.manifest, self.packages, self.captures],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout


async def manifest_of(here: RunningMirror, file: Path) -> Report:
    async with await IndexReader.open(here.config.storage.index_path, connections=1) as reader:
        return await write_manifest(reader, file, QUIET)


async def mirrored(here: RunningMirror) -> None:
    for name in NAMES:
        here.upstream.registry.publish(name, "1.0.0")
        here.upstream.registry.publish(name, "1.1.0")
    await here.sync(*NAMES, all_versions=True)


@pytest.fixture
async def copied(mirror: Open, tmp_path: Path) -> Copied:
    """A bare copy, without index and lock, of six tarballs and their log."""
    async with mirror(storage={"segment_bytes": 4000}) as here:
        await mirrored(here)
        await manifest_of(here, tmp_path / "manifest.jsonl")
        copy = tmp_path / "copy"
        for part in ("packages", "captures"):
            shutil.copytree(here.config.storage.data_dir / part, copy / part)
    return Copied(tmp_path / "manifest.jsonl", copy)


async def test_a_copy_that_was_not_touched_is_as_the_manifest_says(copied: Copied) -> None:
    """By the program and by the script, which need nothing but the two directories."""
    report = await copied.check()
    assert report["well"]
    assert (report["tarballs"], report["findings"]) == (6, [])
    assert report["records"] == report["head"]["ordinal"]
    assert copied.script() == (0, "everything is as the manifest says\n")


def flipped(copied: Copied) -> None:
    file = copied.tarball("left-pad-1.0.0.tgz")
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)


def removed(copied: Copied) -> None:
    copied.tarball("zed-1.1.0.tgz").unlink()


def cut(copied: Copied) -> None:
    last = max(copied.captures.glob("*.log"))
    last.write_bytes(last.read_bytes()[:-10])


def shortened(copied: Copied) -> None:
    max(copied.captures.glob("*.log")).unlink()


def struck(copied: Copied) -> None:
    first = min(copied.captures.glob("*.log"))
    data = bytearray(first.read_bytes())
    data[400] ^= 1
    first.write_bytes(data)


def changed(copied: Copied) -> None:
    text = copied.manifest.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if '"zed"' in line)
    told = orjson.loads(line)
    told["sha512"] = "0" * 128
    copied.manifest.write_text(text.replace(line, orjson.dumps(told).decode()), encoding="utf-8")


def left_out(copied: Copied) -> None:
    lines = copied.manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    copied.manifest.write_text("".join(lines[:-1]), encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "found", "said"),
    [
        (flipped, {("altered", "left-pad", "1.0.0")}, "left-pad@1.0.0: altered"),
        (removed, {("missing", "zed", "1.1.0")}, "zed@1.1.0: missing"),
        (cut, {"log_damaged", "log_short"}, "the capture log is damaged behind record"),
        (shortened, {"log_short"}, "the capture log does not lead to the head"),
        (struck, {"log_damaged"}, "the capture log is damaged behind record"),
        (
            changed,
            {("altered", "zed", "1.0.0"), ("manifest_altered", None, None)},
            "zed@1.0.0: alt",
        ),
        (left_out, {("manifest_cut", None, None)}, "the manifest is not as it was written"),
    ],
)
async def test_each_deviation_is_named(
    copied: Copied, harm: Callable[[Copied], None], found: set[Any], said: str
) -> None:
    """A flipped bit, a file less, a log cut or struck, a line changed: by program and script."""
    harm(copied)
    deviations = await copied.found()
    assert deviations == found or {what for what, _, _ in deviations} == found
    status, told = copied.script()
    assert status == 1
    assert said in told


@pytest.mark.parametrize("place", ["beside", "elsewhere"])
async def test_a_file_that_nobody_tells_of_is_named(copied: Copied, place: str) -> None:
    """Beside listed ones, and where the manifest lists nothing."""
    directory = copied.tarball("left-pad-1.0.0.tgz").parent
    if place == "elsewhere":
        directory = copied.packages / "00" / "stranger"
        directory.mkdir(parents=True)
    (directory / "stranger-1.0.0.tgz").write_bytes(b"x")
    report = await copied.check()
    assert [each["what"] for each in report["findings"]] == ["not_listed"]
    assert report["findings"][0]["path"].endswith("stranger-1.0.0.tgz")


async def test_another_log_is_told_from_the_right_one(copied: Copied, mirror: Open) -> None:
    """One that is sound in itself, and longer."""
    async with mirror(storage={"data_dir": str(copied.data.with_name("other"))}) as here:
        await mirrored(here)
        shutil.rmtree(copied.captures)
        shutil.copytree(here.config.storage.data_dir / "captures", copied.captures)
    assert {what for what, _, _ in await copied.found()} == {"log_differs"}


async def test_what_came_after_the_manifest_is_no_deviation(mirror: Open, tmp_path: Path) -> None:
    """The log behind the head tells of it; what was dropped since is missing, and the log says so."""
    async with mirror() as here:
        await mirrored(here)
        await manifest_of(here, tmp_path / "manifest.jsonl")
        here.upstream.registry.publish("left-pad", "1.2.0")
        here.upstream.registry.publish("new", "1.0.0")
        await here.sync("left-pad", "new")
        copied = Copied(tmp_path / "manifest.jsonl", here.config.storage.data_dir)
        assert await copied.found() == set()
        assert copied.script()[0] == 0


async def test_the_same_archive_gives_the_same_manifest(mirror: Open, tmp_path: Path) -> None:
    """Also of an index that was made anew."""
    async with mirror() as here:
        await mirrored(here)
        first = await manifest_of(here, tmp_path / "first")
        await reindex(here.config, tell=lambda _: None)
        second = await manifest_of(here, tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert first["sha256"] == second["sha256"]
    assert first["files"] == 6


async def test_only_the_packages_that_are_named_are_hashed(copied: Copied) -> None:
    """By names and globs, or from behind one on."""
    flipped(copied)
    assert await copied.found("zed") == set()
    assert await copied.found("left*") == {("altered", "left-pad", "1.0.0")}
    assert await copied.found(after="left-pad") == set()
    assert (await copied.check(after="left-pad"))["tarballs"] == 2


async def test_a_name_that_the_manifest_does_not_tell_of_is_no_agreement(copied: Copied) -> None:
    """A misspelt name would pass for a package that is well."""
    assert await copied.found("leftpad") == {("not_in_manifest", "leftpad", None)}
    assert await copied.found("nothing*") == set()
    assert await copied.found("left-pad", after="left-pad") == set()


@pytest.mark.parametrize("outside", ["../captures/000001.log", "/etc/hostname"])
async def test_a_path_that_leads_out_of_the_directory_is_not_followed(
    copied: Copied, outside: str
) -> None:
    """A manifest comes from outside."""
    text = copied.manifest.read_text(encoding="utf-8")
    path = copied.tarball("zed-1.0.0.tgz").relative_to(copied.packages).as_posix()
    copied.manifest.write_text(text.replace(path, outside), encoding="utf-8")
    assert ("manifest_line", "zed", "1.0.0") in await copied.found()
    assert "its path leads elsewhere" in copied.script()[1]


async def test_what_is_no_manifest_is_refused(copied: Copied) -> None:
    """And a directory of tarballs that is not there."""
    copied.manifest.write_text("{}\n", encoding="utf-8")
    with pytest.raises(ManifestError, match="no manifest of npmmirror"):
        await copied.check()
    shutil.rmtree(copied.packages)
    with pytest.raises(StorageError, match="no directory of tarballs"):
        await copied.check()


async def test_a_head_of_other_values_is_refused(copied: Copied) -> None:
    """Whoever wrote it: a sentence, no traceback."""
    first, rest = copied.manifest.read_bytes().split(b"\n", 1)
    for key, value in (("ordinal", "7"), ("ordinal", None), ("sha256", 7), ("committed_at", [])):
        told = orjson.loads(first)
        told["head"][key] = value
        copied.manifest.write_bytes(orjson.dumps(told) + b"\n" + rest)
        with pytest.raises(ManifestError, match="no manifest"):
            await copied.check()


async def test_an_end_of_other_values_is_no_end(copied: Copied) -> None:
    """It is told as a line that is not understood."""
    lines = copied.manifest.read_bytes().splitlines()
    end = orjson.loads(lines[-1]) | {"files": "many"}
    copied.manifest.write_bytes(b"\n".join([*lines[:-1], orjson.dumps(end)]) + b"\n")
    assert {what for what, _, _ in await copied.found()} == {"manifest_line", "manifest_cut"}


async def test_nothing_is_written_of_nothing(mirror: Open, tmp_path: Path) -> None:
    """And no file is left where the disk refuses."""
    async with mirror() as here:
        await mirrored(here)
        with pytest.raises(ManifestError, match="cannot write"):
            await manifest_of(here, tmp_path / "nowhere" / "manifest")
        assert not (tmp_path / "nowhere").exists()
