"""Finding `npm-shrinkwrap.json` in a tarball, whatever the tarball is."""

import gzip
import io
import tarfile

import pytest
from hypothesis import given, settings, strategies as st

from npmmirror.lockfiles.shrinkwrap import ShrinkwrapFinder
from npmmirror.testing.tarball import pack

MOST = 10_000
LOCK = b'{"lockfileVersion": 3}'
WITH = pack({"package.json": b"{}", "lib/a.js": b"x" * 5_000, "npm-shrinkwrap.json": LOCK})


def found(archive: bytes, step: int = 1 << 16, most: int = MOST) -> bytes | None:
    """What is found where the bytes come in pieces."""
    finder = ShrinkwrapFinder(most)
    for start in range(0, len(archive), step):
        finder.update(archive[start : start + step])
    return finder.found


def tarred(*members: tuple[str, bytes, bytes]) -> bytes:
    """A tarball of members with these names, contents and types."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for name, content, kind in members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = len(content), kind
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("step", [1, 7, 512, 1 << 16])
def test_it_is_found_in_whatever_pieces(step: int) -> None:
    """Its content, and nothing else."""
    assert found(WITH, step) == LOCK


@pytest.mark.parametrize("top", ["package", "left-pad", "."])
def test_the_top_directory_has_any_name(top: str) -> None:
    """As old tarballs have it; one step below, it is another's file."""
    assert found(tarred((f"{top}/x/npm-shrinkwrap.json", b"{}", tarfile.REGTYPE))) is None
    archive = tarred((f"{top}/npm-shrinkwrap.json", LOCK, tarfile.REGTYPE))
    assert found(archive) == LOCK


def test_names_that_need_a_header_of_their_own_do_not_disturb() -> None:
    """Long ones, and such that are no ASCII."""
    long = ("package/" + "ä" * 200, b"y" * 600, tarfile.REGTYPE)
    assert found(tarred(long, ("package/npm-shrinkwrap.json", LOCK, tarfile.REGTYPE))) == LOCK


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"hello",
        pack({"package.json": b"{}"}),
        gzip.compress(b"no tar" * 1_000),
        gzip.compress(bytes(100_000)),
        WITH[:60],
        tarred(("package/npm-shrinkwrap.json", b"", tarfile.SYMTYPE)),
        pack({"npm-shrinkwrap.json": b"x" * (MOST + 1)}),
    ],
    ids=["empty", "text", "without", "no tar", "zeros", "cut", "link", "too large"],
)
def test_nothing_is_found_in_others(archive: bytes) -> None:
    """And nothing is raised."""
    assert found(archive) is None


def test_a_bomb_costs_no_memory() -> None:
    """What is unpacked is let go of at once."""
    bomb = gzip.compress(tarred_zeros(64 << 20), 9)
    finder = ShrinkwrapFinder(MOST)
    finder.update(bomb)
    assert finder.found is None
    assert len(finder._kept) <= 512


def tarred_zeros(size: int) -> bytes:
    """A tar of one file of zeros."""
    entry = tarfile.TarInfo("package/zeros")
    entry.size = size
    return entry.tobuf() + bytes(size)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(WITH)), junk=st.binary(max_size=20), raw=st.binary(max_size=2_000))
def test_no_bytes_raise_anything(place: int, junk: bytes, raw: bytes) -> None:
    """Altered tarballs, and altered tars in sound gzip."""
    found(WITH[:place] + junk + WITH[place:])
    found(gzip.compress(raw), 100)
