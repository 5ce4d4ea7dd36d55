"""The directory that a demo works in and leaves: what it replaces, and what never."""

from pathlib import Path

import pytest

from npmmirror.cli.demo.place import Place, check, workplace
from npmmirror.errors import UsageError


def capture(place: Place, size: int) -> None:
    """Let a mirror of the demo have captured so many bytes."""
    captures = place.directory / "one" / "captures"
    captures.mkdir(parents=True)
    (captures / "000001.log").write_bytes(bytes(size))


def broken_off(directory: Path, reason: BaseException, *, keep: bool) -> None:
    """Let a demo end there for this reason."""
    with workplace(directory, keep=keep) as place:
        capture(place, 20)
        raise reason


def made(directory: Path, size: int = 10) -> None:
    """Let a demo have been played there."""
    with workplace(directory, keep=True) as place:
        capture(place, size)


def test_a_demo_replaces_the_one_before(tmp_path: Path) -> None:
    """Nothing else is left of either."""
    made(tmp_path / "demo", 10)
    check(tmp_path / "demo")
    made(tmp_path / "demo", 20)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert (tmp_path / "demo/one/captures/000001.log").stat().st_size == 20


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_is_not_a_demos_is_refused(tmp_path: Path, kind: str) -> None:
    """The message says what to do."""
    directory = tmp_path / "demo"
    if kind == "directory":
        directory.mkdir()
    elif kind == "file":
        directory.touch()
    else:
        directory.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="was not made by a demo; move it away, or name another"):
        check(directory)


def test_what_somebody_worked_with_is_refused(tmp_path: Path) -> None:
    """What was captured since is not the demo's to delete."""
    made(tmp_path / "demo")
    with (tmp_path / "demo/one/captures/000001.log").open("ab") as log:
        log.write(b"more")
    with pytest.raises(UsageError, match="was worked with since a demo made it"):
        check(tmp_path / "demo")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, BrokenPipeError])
def test_an_interrupt_leaves_nothing_but_the_demo_before(
    tmp_path: Path, interrupt: type[BaseException]
) -> None:
    """Also where whoever read the output has gone."""
    made(tmp_path / "demo", 10)
    with pytest.raises(interrupt):
        broken_off(tmp_path / "demo", interrupt(), keep=True)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert (tmp_path / "demo/one/captures/000001.log").stat().st_size == 10


def test_what_went_wrong_is_left_to_be_looked_at(tmp_path: Path) -> None:
    """Under the name that the demo's directory has."""
    with pytest.raises(ValueError, match="odd"):
        broken_off(tmp_path / "demo", ValueError("odd"), keep=False)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_without_keep_nothing_is_left(tmp_path: Path) -> None:
    """Not even the demo's own directory."""
    with workplace(tmp_path / "demo", keep=False) as place:
        capture(place, 20)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    """The message says what to do."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match="name another place with --directory"),
        workplace(tmp_path / "file" / "demo", keep=True),
    ):
        pytest.fail("it was made")
