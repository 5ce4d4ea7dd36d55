"""The disk that forgets keeps what it must, and loses what it may."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.power.calls import Call, read
from tests.power.disk import SECTOR, Disk, play

ROOT = Path("/disk")
NONE, ALL = 0.0, 1.0


def made(*steps: tuple[str, str] | tuple[str, str, bytes | str]) -> list[Call]:
    """Calls one after the other: a name, a path, and what is written or the new name."""
    found = []
    for number, (name, path, *more) in enumerate(steps):
        word = more[0] if more else ""
        found.append(
            Call(
                name,
                f"{ROOT}/{path}".rstrip("/"),
                number,
                number,
                data=word if isinstance(word, bytes) else b"",
                to=f"{ROOT}/{word}" if isinstance(word, str) and word else "",
                flags=frozenset({"O_CREAT"}) if name == "openat" else frozenset(),
            )
        )
    return found


def left(calls: Sequence[Call], into: Path, share: float, seed: int = 0) -> dict[str, bytes]:
    """The files of an image, by their paths."""
    play(calls, Disk(ROOT)).lay(into, random.Random(seed), share)
    return {
        str(path.relative_to(into)): path.read_bytes() for path in into.rglob("*") if path.is_file()
    }


FILE = (("openat", "a"), ("pwrite64", "a", b"text"))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (FILE, {}),
        ((*FILE, ("fsync", "a")), {}),
        ((*FILE, ("fsync", "")), {"a": b""}),
        ((*FILE, ("fdatasync", "a"), ("fsync", "")), {"a": b"text"}),
        ((*FILE, ("syncfs", "")), {"a": b"text"}),
        ((*FILE, ("syncfs", ""), ("rename", "a", "b")), {"a": b"text"}),
        ((*FILE, ("syncfs", ""), ("unlink", "a")), {"a": b"text"}),
        ((*FILE, ("rename", "a", "b"), ("fsync", "")), {"b": b""}),
    ],
)
def test_what_was_not_synced_is_lost(
    tmp_path: Path, steps: Sequence[tuple[str, str]], expected: dict[str, bytes]
) -> None:
    """A file's bytes and its name are two things, each with a sync of its own."""
    assert left(made(*steps), tmp_path, NONE) == expected


def test_all_of_it_may_be_kept(tmp_path: Path) -> None:
    """As after a kill."""
    assert left(made(*FILE, ("rename", "a", "b")), tmp_path, ALL) == {"b": b"text"}


@pytest.mark.parametrize("synced", ["from", "to", None])
def test_a_file_that_is_moved_is_somewhere(tmp_path: Path, synced: str | None) -> None:
    """Under its old name, its new one, or both."""
    calls = made(
        ("mkdir", "from"),
        ("mkdir", "to"),
        ("openat", "from/a"),
        ("syncfs", ""),
        ("rename", "from/a", "to/a"),
        *([("fsync", synced)] if synced else []),
    )
    for seed in range(20):
        (tmp_path / str(seed)).mkdir()
        found = set(left(calls, tmp_path / str(seed), 0.5, seed))
        assert found
        assert synced is None or "to/a" in found


def test_a_write_may_be_torn(tmp_path: Path) -> None:
    """Some of its sectors are there, each one whole."""
    calls = made(("openat", "a"), ("fsync", ""), ("pwrite64", "a", b"x" * 8 * SECTOR))
    data = left(calls, tmp_path, 0.5)["a"]
    sectors = {data[start : start + SECTOR] for start in range(0, len(data), SECTOR)}
    assert sectors == {bytes(SECTOR), b"x" * SECTOR}


def test_a_sync_covers_what_was_done_before_it_began(tmp_path: Path) -> None:
    """What another thread writes meanwhile is not promised by it."""
    calls = [
        *made(("openat", "a"), ("fsync", "")),
        Call("fdatasync", f"{ROOT}/a", 10, 12),
        Call("pwrite64", f"{ROOT}/a", 11, 11, data=b"late"),
    ]
    assert left(calls, tmp_path, NONE) == {"a": b""}


def test_what_is_not_understood_is_an_error(tmp_path: Path) -> None:
    """A call that changes files in a way that is not played here must not be passed over."""
    path = "".join(f"\\x{byte:02x}" for byte in b"/disk/a")
    trace = tmp_path / "trace"
    trace.write_text(f"7 fallocate(3<{path}>, 0, 0, 4096) = 0\n")
    with pytest.raises(ValueError, match="fallocate of /disk/a"):
        read(trace, ROOT)


def test_a_call_that_was_interrupted_is_put_together(tmp_path: Path) -> None:
    """It lasts from its first half to its second."""
    path = "".join(f"\\x{byte:02x}" for byte in b"/disk/a")
    trace = tmp_path / "trace"
    trace.write_text(
        f"7 fdatasync(3<{path}> <unfinished ...>\n"
        f'8 pwrite64(4<{path}>, "\\x61\\x62", 2, 512) = 2\n'
        "7 <... fdatasync resumed>) = 0\n"
    )
    assert read(trace, ROOT) == [
        Call("pwrite64", "/disk/a", 1, 1, data=b"ab", offset=512),
        Call("fdatasync", "/disk/a", 0, 2),
    ]
