"""The documents are whole: their links lead somewhere, and none is forgotten."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_that_exist(document: Path) -> None:
    """No relative link of a document is dead."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    dead = [link for link in links if not (document.parent / link).exists()]
    assert dead == []


def test_every_page_is_in_the_index() -> None:
    """A reader of docs/index.md finds all pages."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_the_readme_names_every_command() -> None:
    """The README's table has the commands that --help lists."""
    told = subprocess.run(
        [sys.executable, "-m", "npmmirror", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = told.partition("Mirror:\n")[2].partition("Options before")[0]
    listed = set(re.findall(r"(?m)^  (\w+)  ", commands))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert listed
    assert listed == set(re.findall(r"(?m)^\| `npmmirror (\w+)", readme))


def test_the_readmes_commands_are_the_makefiles() -> None:
    """`make demo` and `make test` are what a newcomer types."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)^make (\w+)", readme))
    assert named == {"demo", "test"}
    assert named <= set(re.findall(r"(?m)^(\w+):", makefile))


def test_the_map_of_the_source_is_whole() -> None:
    """docs/architecture.md names every room and every module at the top, and no other."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "npmmirror"
    modules = {path.name for path in source.glob("*.py")} - {"__init__.py"}
    rooms = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}
    rows = re.findall(r"(?m)^\| (`[^|]*`) \|", page.partition("## Where things are")[2])
    assert set(re.findall(r"`([^`]+)`", " ".join(rows))) == modules | rooms
