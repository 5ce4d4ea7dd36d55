"""README.md, docs/quickstart.md and docs/glossary.md against the program."""

import re
import shlex
import xml.etree.ElementTree as ET  # a document of our own
from collections.abc import Iterator
from pathlib import Path

import pytest

from npmmirror.cli.demo.place import Place
from npmmirror.config import UpstreamSection
from npmmirror.control.client import DaemonGoneError
from npmmirror.effects import EventKind
from npmmirror.errors import NpmmirrorError
from tests.docs.test_commands_document import COMMANDS, options

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
PROGRAM = ".venv/bin/npmmirror "


def typed(document: str) -> list[str]:
    """The command lines of our program in a document's examples."""
    blocks = re.findall(r"(?s)```sh\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"))
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.partition("  #")[0] for line in lines if line.startswith(PROGRAM)]


def words_of(line: str) -> list[str]:
    """The words of a command line, without the options before the command."""
    words = shlex.split(line.removeprefix(PROGRAM).partition(" | ")[0])
    return words[2:] if words[0] == "--config" else words


@pytest.mark.parametrize("line", [*typed("README.md"), *typed("docs/quickstart.md")])
def test_an_example_names_what_is_there(line: str) -> None:
    """The command and its options."""
    words = words_of(line)
    name = next((n for n in COMMANDS if f"npmmirror {' '.join(words)} ".startswith(f"{n} ")), None)
    assert name is not None
    asked = {word for word in words if word.startswith("-")}
    assert asked <= options(COMMANDS[name])


def test_the_files_of_the_demo_are_those_that_it_leaves() -> None:
    """What the quick start says to look at."""
    place = Place(Path("npmmirror-demo"))
    named = re.findall(r"--config (\S+)", QUICKSTART)
    assert named
    assert set(named) <= {str(place.one), str(place.two)}


def test_the_line_that_follows_npm_is_the_default() -> None:
    """As the quick start says."""
    assert f'feed = "{UpstreamSection().feed}"' in QUICKSTART


def test_the_hour_has_ten_steps() -> None:
    """Numbered without a gap."""
    assert re.findall(r"(?m)^## (\d+)\.", QUICKSTART) == [str(step) for step in range(1, 11)]


def test_the_glossary_is_in_order() -> None:
    """A reader finds a word where it belongs, once."""
    rows = re.findall(r"(?m)^\| (?:\[([^]]+)\]\([^)]+\)|([^|`]+?)) \|", GLOSSARY)
    words = [linked or word for linked, word in rows if (linked or word) not in {"word", "kind"}]
    assert len(words) > 30
    assert words == sorted(set(words))


def test_the_glossary_has_every_kind_of_event() -> None:
    """And no other, in the order of the source."""
    kinds = re.findall(r"(?m)^\| `(\w+)` \|", GLOSSARY.partition("## Events")[2])
    assert kinds == [kind.value for kind in EventKind]


def below(kind: type[NpmmirrorError]) -> Iterator[type[NpmmirrorError]]:
    """An error and all that are made of it."""
    yield kind
    for each in kind.__subclasses__():
        yield from below(each)


def test_every_exit_status_is_explained() -> None:
    """Those of the errors that are told to people."""
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    table = page.partition("**Exit status.**")[2].partition("\n\n**")[0]
    explained = {int(number) for number in re.findall(r"(?m)^\| (\d+) \|", table)}
    assert DaemonGoneError in set(below(NpmmirrorError))
    assert {kind.exit_status for kind in below(NpmmirrorError)} <= explained


def test_the_picture_of_the_demo_tells_nothing_of_the_machine_that_drew_it() -> None:
    """It is an SVG that stands for itself: no font, image or script from elsewhere, no paths."""
    drawn = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    root = ET.fromstring(drawn)  # noqa: S314 - a document of our own
    text = "".join(root.itertext())
    assert "SIGKILL" in text
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg|www\.textualize\.io)\S+", drawn) == []
    assert re.findall(r"/(?:home|root|tmp|work|usr)/", drawn) == []
