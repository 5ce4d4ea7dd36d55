"""Paths are safe, readable, and lead back to the names that they were made of."""

import hashlib
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.layout import (
    decode_name,
    encode_name,
    package_directories,
    split_path,
    tarball_path,
)
from npmmirror.testing.oddities import NAMES

HOSTILE = (
    "",
    ".",
    "..",
    "...",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../b",
    "\0",
    "a\nb",
    "%",
    "%2f",
    "%h",
    "%e",
    "%v",
    "a.",
    "a ",
    "con",
    "~",
    "n" * 300,
    "N" * 300,
    "é" * 300,
    "@scope/" + "x" * 200,
)
TEXTS = (
    st.text(st.characters(codec=None), max_size=12)
    | st.text("aA.%/@-h2f\0", max_size=8)
    | st.sampled_from([*HOSTILE, *NAMES])
    | st.text("abcABC", min_size=100, max_size=400)
)
VERSIONS = st.sampled_from(["1.0.0", "1.0.0-RC.1", "1.0.0-rc.1", "1.0.0+b.1"]) | TEXTS


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("left-pad", "left-pad"),
        ("@babel/core", "@babel%2fcore"),
        ("lodash.merge", "lodash.merge"),
        ("JSONStream", "%4a%53%4f%4e%53tream"),
        (".x", "%2ex"),
        ("..", "%2e%2e"),
        ("", "%e"),
        ("a%2f", "a%252f"),
        ("\0", "%00"),
        ("é", "%c3%a9"),
    ],
)
def test_ordinary_names_stay_readable(name: str, segment: str) -> None:
    """Only what could do harm is encoded."""
    assert encode_name(name) == segment


def test_the_path_of_a_tarball() -> None:
    """The first directory is the beginning of the name's SHA-256."""
    digest = hashlib.sha256(b"@babel/core").hexdigest()
    path = "@babel%2fcore/@babel%2fcore-7.0.0-rc.1.tgz"
    assert tarball_path("@babel/core", "7.0.0-rc.1", 2) == f"{digest[:2]}/{path}"
    assert tarball_path("@babel/core", "7.0.0-rc.1", 4) == f"{digest[:4]}/{path}"
    assert tarball_path("@babel/core", "7.0.0-rc.1", 0) == path


def test_a_long_name_is_hashed() -> None:
    """It keeps a readable beginning, and cannot be decoded."""
    segment = encode_name("@scope/" + "n" * 200)
    assert segment.startswith("@scope%2fnnnn")
    assert len(segment) < 160
    assert decode_name(segment) is None


def test_long_names_that_begin_alike_are_told_apart() -> None:
    """The hash is of the whole name, and of the version."""
    names = ["n" * 300 + str(number) for number in range(100)]
    assert len({encode_name(name) for name in names}) == 100
    assert len({tarball_path("a", name, 2) for name in names}) == 100


@given(TEXTS)
def test_names_come_back(name: str) -> None:
    """A segment is decoded to its name, unless it was hashed."""
    segment = encode_name(name)
    assert decode_name(segment) == name or ("%h" in segment and decode_name(segment) is None)


@given(TEXTS)
def test_what_is_no_segment_is_not_decoded(text: str) -> None:
    """Only what `encode_name` writes is taken for a name."""
    name = decode_name(text)
    assert name is None or encode_name(name) == text


def safe(path: str) -> bool:
    """Whether a path stays below its directory, on any file system."""
    parts = path.split("/")
    return (
        not PurePosixPath(path).is_absolute()
        and path.isascii()
        and path.isprintable()
        and path == path.lower()
        and all(0 < len(part) <= 240 for part in parts)
        and not any(part.startswith(".") or part.endswith((".", " ")) for part in parts)
    )


@settings(max_examples=300)
@given(TEXTS, VERSIONS, st.integers(0, 64))
def test_no_path_escapes(name: str, version: str, length: int) -> None:
    """Relative, one directory below the hash, each part short enough and harmless."""
    path = tarball_path(name, version, length)
    assert safe(path)
    assert path.count("/") == (2 if length else 1)


@settings(max_examples=300)
@given(st.tuples(TEXTS, VERSIONS), st.tuples(TEXTS, VERSIONS))
def test_two_tarballs_have_two_paths(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Also where the file system ignores case (paths have no capitals)."""
    if one != other:
        assert tarball_path(*one, 2) != tarball_path(*other, 2)


@given(st.sampled_from([*NAMES, *HOSTILE]), st.sampled_from([*NAMES, *HOSTILE]))
def test_hostile_names_are_told_apart(one: str, other: str) -> None:
    """The corpus of names has no collision."""
    assert (encode_name(one) == encode_name(other)) is (one == other)


@given(TEXTS, VERSIONS, st.integers(0, 64))
def test_a_path_found_on_disk_tells_its_tarball(name: str, version: str, length: int) -> None:
    """Name and version come back, unless either was hashed."""
    path = tarball_path(name, version, length)
    assert split_path(path) == (None if "%h" in path else (name, version))


@pytest.mark.parametrize(
    "path",
    ["", "x", "ab/left-pad", "ab/left-pad/left-pad-1.0.0.zip", "ab/a/b-1.0.0.tgz", "a/a-.tgz"],
)
def test_other_files_are_not_tarballs(path: str) -> None:
    """What was not made by `tarball_path` is not taken for ours."""
    assert split_path(path) is None


@pytest.mark.parametrize("length", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("name", ["left-pad", "@Scope/Name", "ab", "x" * 300])
def test_the_directories_of_a_package_hold_its_tarballs(name: str, length: int) -> None:
    """Whatever the length of the hash was; and each has its own end."""
    directories = package_directories(name)
    assert tarball_path(name, "1.0.0", length).rpartition("/")[0] in directories
    assert len(set(directories)) == 65
    assert {directory.rpartition("/")[2] for directory in directories} == {encode_name(name)}
