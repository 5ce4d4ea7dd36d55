"""docs/feed.md names tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "feed.md").read_text(encoding="utf-8")


def test_every_fact_has_tests_that_are_there() -> None:
    """But for a row that says that nothing is to be done; no test was renamed."""
    rows = re.findall(r"(?m)^\| ([a-z][^|]*) \| [^|]* \| ([^|]*) \|$", PAGE)[1:]
    assert len(rows) == 9
    for fact, told in rows:
        tests = re.findall(r"`(tests/\S+\.py)::(\w+)`", told)
        assert tests, fact
        for file, name in tests:
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name
