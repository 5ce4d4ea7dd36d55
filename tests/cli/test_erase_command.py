"""What `npmmirror erase` asks for, and what it says."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from npmmirror.capture import Location
from npmmirror.cli.erase import _conclude, _told
from npmmirror.daemon.erase import Plan, Stored

Program = Callable[..., subprocess.CompletedProcess[str]]

PLAN = Plan(
    package="left-pad",
    state="live",
    documents=(Location(1, 256), Location(1, 900)),
    document_bytes=2_000,
    damaged=(),
    held=(("1.0.0", "ab/left-pad/left-pad-1.0.0.tgz"),),
    files=(Stored("ab/left-pad/left-pad-1.0.0.tgz", 700),),
    aside=(Stored("ab/left-pad/left-pad-0.9.0.tgz.1", 300),),
    decided=False,
    elsewhere=(Path("index.db.before-reindex"),),
)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "--reason"),
        (("--reason", " ", "--yes"), "--reason needs words"),
        (("--reason", "law"), "add --yes, or --dry-run"),
        (("--reason", "law", "--json"), "add --yes, or --dry-run"),
    ],
)
def test_it_wants_to_be_sure(program: Program, words: tuple[str, ...], sentence: str) -> None:
    """A reason, and somebody who was asked: else nothing is even looked at."""
    told = program("erase", "left-pad", *words)
    assert told.returncode == 2
    assert sentence in told.stderr


def test_without_a_mirror_it_is_a_sentence(program: Program) -> None:
    """And no data directory is made."""
    told = program("erase", "left-pad", "--reason", "law", "--yes")
    assert told.returncode == 1
    assert re.fullmatch(r"npmmirror: there is no mirror in \S+ yet; .*\n", told.stderr)


def test_what_there_is() -> None:
    """In a line, before anybody is asked."""
    assert list(_told(PLAN)) == [
        "left-pad: 2 captured documents (2.0 KiB of captures), 2 files (1,000 B)"
    ]


def test_copies_are_named_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """They are the operator's."""
    _conclude(PLAN, dry_run=True)
    said = capsys.readouterr()
    assert said.out == "nothing was erased (--dry-run)\n"
    assert said.err == "These copies may hold data of it, too:\n  index.db.before-reindex\n"


def test_the_report_is_the_documents_example() -> None:
    """docs/commands.md has the keys that the command prints."""
    text = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")
    found = re.search(r"<!-- erase -->\n```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    assert list(json.loads(found[1])) == list(PLAN.to_json())
