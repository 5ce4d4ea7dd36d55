"""What `npmmirror removals` says."""

import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from npmmirror.cli.removals import _say, _say_json, _told
from npmmirror.cli.shapes import SHAPES
from npmmirror.cli.times import Times

Program = Callable[..., subprocess.CompletedProcess[str]]
Page = tuple[str, list[dict[str, Any]]]

pytestmark = pytest.mark.anyio

AT = "2026-11-20T10:00:00.000000Z"
HOLDINGS = {"versions": 3, "tarballs": 2, "tarball_bytes": 4096, "revisions": 5}
BREAKER = {
    "tripped": True,
    "held": 2,
    "since": AT,
    "decided_at": None,
    "packages": 500,
    "percent": 5.0,
}
EVIDENCE = {"status": 404, "answers": 3, "first_at": AT, "feed": "deleted"}


def held(name: str) -> dict[str, Any]:
    """A removal that the breaker holds."""
    told = {"package": name, "held_at": AT, "seq": 7, "reason": "not_found"}
    return {**told, "evidence": EVIDENCE, **HOLDINGS}


def gone(name: str, state: str = "removed") -> dict[str, Any]:
    """A package that is gone."""
    evidence = {"status": 451, "answers": 3} if state == "removed" else {"rev": "2-b"}
    told = {"package": name, "state": state, "reason": state, "at": AT, "happened_at": None}
    return {**told, "seq": 7, "evidence": evidence, "ordinal": 9, **HOLDINGS}


CONFIRMING = {
    "package": "left-pad",
    "answers": 1,
    "needed": 3,
    "since": AT,
    "next_at": "2099-11-20T10:00:00.000000Z",
    "deleted_by_feed": True,
}


async def pages(*found: Page) -> AsyncIterator[Page]:
    """What the index gives, page by page."""
    for page in found:
        yield page


@pytest.mark.parametrize(
    "found",
    [
        [],
        [("held", [held("a"), held("b")]), ("held", [held("c")])],
        [("confirming", [CONFIRMING])],
        [("gone", [gone("a")]), ("gone", [gone("b", "unpublished")])],
        [("held", [held("a")]), ("confirming", [CONFIRMING]), ("gone", [gone("b")])],
    ],
)
async def test_the_json_is_whole_whatever_there_is(
    found: list[Page], capsys: pytest.CaptureFixture[str]
) -> None:
    """One object with all its parts, though it is written page by page."""
    await _say_json(pages(("breaker", [BREAKER]), *found))
    told = json.loads(capsys.readouterr().out)
    msgspec.convert(told, SHAPES["removals list"], strict=True)
    for part in ("held", "confirming", "gone"):
        assert told[part] == [item for word, items in found for item in items if word == part]


async def test_the_lines_say_what_is_held_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """First what waits for a decision."""
    found = [("held", [held("a")]), ("confirming", [CONFIRMING]), ("gone", [gone("b")])]
    await _say(pages(("breaker", [BREAKER]), *found), Times(utc=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the breaker tripped 2026-11-20T10:00:00Z: 2 removals held"
    assert "npmmirror removals confirm" in lines[1]
    assert "npmmirror removals discard" in lines[2]
    shown = {tuple(line.split()) for line in lines[4:]}
    assert ("a", "not_found", "2026-11-20T10:00:00Z", "3x", "404,", "deleted", "2", "of", "3") in {
        row[:9] for row in shown
    }
    assert any(row[:4] == ("left-pad", "1", "of", "3") for row in shown)
    assert any(row[:5] == ("b", "removed", "2026-11-20T10:00:00Z", "3x", "451") for row in shown)


async def test_times_by_the_clock_cut_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns there is no room for them and for a name of some length."""
    monkeypatch.setenv("COLUMNS", "80")
    name = "@some-scope/a-package-of-some-length"
    for part, row in (("held", held(name)), ("gone", gone(name))):
        await _say(pages(("breaker", [BREAKER]), (part, [row])), Times(utc=True))
        line = capsys.readouterr().out.splitlines()[-1]
        assert name in line
        assert "2026-11-20T10:00:00Z" in line
        assert line.endswith("2 of 3    4.0 KiB")


async def test_nothing_is_said_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Where upstream has all that was captured."""
    await _say(pages(("breaker", [{**BREAKER, "tripped": False}])), Times())
    assert capsys.readouterr().out == "nothing is gone upstream\n"


def test_a_decision_is_told() -> None:
    """What came of it, and what is left."""
    report = {"decision": "confirm", "packages": 2, "unknown": [], "left": 1}
    told = "2 packages recorded as removed; everything captured stays; 1 removal still held"
    assert _told(report) == told
    discarded = {**report, "decision": "discard", "packages": 1, "left": 0}
    assert _told(discarded) == (
        "1 package put back, to be looked at anew; no removal is held any more"
    )
    assert _told({**report, "packages": 0, "left": 0}) == "no removal is held"


@pytest.mark.parametrize("words", [(), ("list",), ("confirm",), ("discard", "left-pad")])
def test_without_a_mirror(program: Program, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A sentence where there is nothing to look at, and nothing is made by it."""
    told = program("removals", *words)
    assert told.returncode == 1
    assert "there is no mirror in" in told.stderr
    assert not (tmp_path / "data").exists()


def test_a_state_that_there_is_not(program: Program) -> None:
    """Told with those that there are."""
    told = program("removals", "list", "--state", "lost")
    assert told.returncode == 2
    assert "held, confirming, removed" in told.stderr
