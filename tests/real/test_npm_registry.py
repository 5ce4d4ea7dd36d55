"""`npmmirror sync` against the registry that this machine's npm is configured for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kill import endstate
from tests.real.conftest import RealMirror

pytestmark = [pytest.mark.npm, pytest.mark.usefixtures("npm")]

NAMES = ("left-pad", "chalk", "@babel/core")
NO_TARBALLS = {"NPMMIRROR_POLICY__TARBALLS": "none"}
"""Of a policy that keeps tarballs, the latest would come along at first sight."""

Pack = Callable[..., dict[str, bytes]]


def held(mirror: RealMirror) -> dict[str, Path]:
    """The tarballs that the index holds: `NAME@VERSION` and the file."""
    return {
        f"{name}@{row[0]}": mirror.data_dir / "packages" / row[15]
        for name, package in endstate.read(mirror.data_dir).packages.items()
        for row in package.versions
        if row[13] == "held"
    }


def assert_files_are_npms(mirror: RealMirror, pack: Pack) -> None:
    """Each file has the bytes that npm itself downloads; index and disk agree."""
    found = {spec: path.read_bytes() for spec, path in held(mirror).items()}
    assert found == pack(*found)
    assert endstate.leftovers(mirror.data_dir, endstate.read(mirror.data_dir)) == []


def test_what_is_synced_is_what_npm_downloads(real_mirror: RealMirror, npm_pack: Pack) -> None:
    """The README's three packages: complete, and the same bytes as those of `npm pack`."""
    done = real_mirror.run("sync", *NAMES)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "3 of 3 packages complete; 3 tarballs fetched and verified" in done.stdout
    assert {spec.rpartition("@")[0] for spec in held(real_mirror)} == set(NAMES)
    assert_files_are_npms(real_mirror, npm_pack)
    status = real_mirror.json("status")
    assert status["totals"]["packages"] == {"live": 3}
    assert status["totals"]["tarballs"] == 3
    sizes = [path.stat().st_size for path in held(real_mirror).values()]
    assert status["totals"]["tarball_bytes"] == sum(sizes)
    assert status["work_list"] == status["dead_letters"] == status["skips"] == {}


def test_a_second_sync_fetches_nothing_again(real_mirror: RealMirror) -> None:
    """No tarball is asked for again, no revision captured twice, no file touched."""
    real_mirror.json("sync", *NAMES)
    before = {path: path.stat() for path in held(real_mirror).values()}
    state = endstate.read(real_mirror.data_dir)
    again = real_mirror.json("sync", *NAMES)
    assert [(one["outcome"], one["complete"], one["tarballs"]) for one in again] == [
        ("unchanged", True, {})
    ] * 3
    assert {path: path.stat() for path in held(real_mirror).values()} == before
    assert endstate.read(real_mirror.data_dir) == state


def test_versions_ranges_and_tags(real_mirror: RealMirror, npm_pack: Pack) -> None:
    """`@VERSION`, `@RANGE` and `@TAG` choose as npm does; the policy adds nothing here."""
    specs = ("left-pad@1.0.0", "chalk@^2", "@babel/core@latest")
    ends = real_mirror.json("sync", *specs, **NO_TARBALLS)
    assert [end["package"] for end in ends] == list(NAMES)
    assert all(end["complete"] and len(end["tarballs"]) == 1 for end in ends)
    assert {"left-pad@1.0.0", "chalk@2.4.2"} < held(real_mirror).keys()
    assert_files_are_npms(real_mirror, npm_pack)


def test_a_version_that_is_not_there_is_told(real_mirror: RealMirror) -> None:
    """Exit status 1 and the reason; what is there is mirrored all the same."""
    done = real_mirror.run("sync", "left-pad@99.0.0", "chalk@2.4.2", **NO_TARBALLS)
    assert done.returncode == 1
    assert "left-pad: no_such_version (99.0.0)" in done.stderr
    assert held(real_mirror).keys() == {"chalk@2.4.2"}


def test_a_package_that_is_not_there_is_told(real_mirror: RealMirror) -> None:
    """A name that nobody may take, for it begins with a dot."""
    done = real_mirror.run("sync", ".not-a-name-of-a-package")
    assert done.returncode in {1, 2}
    assert ".not-a-name-of-a-package" in done.stderr


def test_policy_all_holds_every_version(real_mirror: RealMirror, npm_pack: Pack) -> None:
    """`tarballs = "all"`: each of left-pad's fifteen versions."""
    done = real_mirror.run("sync", "left-pad", NPMMIRROR_POLICY__TARBALLS="all")
    assert done.returncode == 0, done.stderr
    assert len(held(real_mirror)) == 15
    assert_files_are_npms(real_mirror, npm_pack)
