"""docs/durability.md names tests that are there, and events that the source logs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "durability.md").read_text(encoding="utf-8")
SOURCE = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))


def test_every_invariant_has_tests_that_are_there() -> None:
    """No row of the table is empty, no test of it was renamed."""
    rows = re.findall(r"(?m)^\| (\d+) \| .* \| (.*) \|$", PAGE)
    assert [number for number, _ in rows] == [str(number) for number in range(1, 11)]
    for _, told in rows:
        tests = re.findall(r"`(tests/\S+\.py)::(\w+)`", told)
        assert tests
        for file, name in tests:
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


def test_the_events_that_it_names_are_logged() -> None:
    """An operator who searches the log for one of them finds it."""
    named = re.findall(r"`((?:buffer|capture|fetching|follow|tarballs|clock)_[a-z_]+)`", PAGE)
    assert named
    assert [name for name in named if f'"{name}"' not in SOURCE] == []
