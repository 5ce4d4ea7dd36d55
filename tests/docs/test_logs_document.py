"""docs/logs.md against the source: every event, its levels and its fields, in both directions."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
LEVELS = {"debug", "info", "warning", "error", "critical"}
CONTEXT = {"package", "seq"}
"""Fields that a line may have by its context."""


@dataclass
class Said:
    """What source or document say of an event."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def logged(tree: ast.AST) -> Iterator[tuple[str, set[str], set[str]]]:
    """The events that a module logs: name, levels, fields.

    They are written `log.warning("name", field=...)`, or, where the level depends on something,
    `tell = log.info if ... else log.debug` and `tell("name", field=...)` in one function.
    """
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        told = told_levels(function)
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            levels = levels_of(call.func, told)
            if levels and isinstance(name := call.args[0], ast.Constant):
                yield str(name.value), levels, fields_of(call)


def levels_of(called: ast.expr, told: set[str]) -> set[str]:
    """The levels that a call may write at; none where it is no line of the log."""
    if isinstance(called, ast.Name) and called.id == "tell":
        return told
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
        level = "error" if called.attr == "exception" else called.attr
        return {level} & LEVELS if called.value.id == "log" else set()
    return set()


def told_levels(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """What `tell` may stand for in a function."""
    found: set[str] = set()
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        if node.targets[0].id == "tell" and isinstance(node.value, ast.Call):
            found.add("any")
        elif node.targets[0].id == "tell":
            found |= {each.attr for each in ast.walk(node.value) if isinstance(each, ast.Attribute)}
    return found & {*LEVELS, "any"}


def fields_of(call: ast.Call) -> set[str]:
    """The fields of a line, by their names in the log."""
    assert all(keyword.arg for keyword in call.keywords), ast.unparse(call)
    fields = {str(keyword.arg) for keyword in call.keywords}
    is_exception = isinstance(call.func, ast.Attribute) and call.func.attr == "exception"
    if is_exception or "exc_info" in fields:
        fields = fields - {"exc_info"} | {"exception"}
    return fields


def source() -> dict[str, Said]:
    """All events of the source."""
    events: dict[str, Said] = defaultdict(Said)
    for path in (ROOT / "src").rglob("*.py"):
        for name, levels, fields in logged(ast.parse(path.read_text(encoding="utf-8"))):
            events[name].levels |= levels
            events[name].fields |= fields
    return dict(events)


def document() -> dict[str, Said]:
    """All events of the document."""
    rows = re.findall(r"(?m)^\| `(\w+)` \| ([\w, ]+) \|[^|]*\|([^|]*)\|[^|]*\|$", DOCUMENT)
    return {
        name: Said(set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields)))
        for name, levels, fields in rows
    }


def test_every_event_has_its_row() -> None:
    """Nothing is logged that the page does not tell, and the page tells nothing else."""
    assert sorted(document()) == sorted(source())


def test_the_levels_are_those_of_the_source() -> None:
    """An event comes at the levels that its row names."""
    there = {name: said.levels for name, said in source().items()}
    assert {name: said.levels for name, said in document().items()} == there


def test_the_fields_are_those_of_the_source() -> None:
    """All fields of an event, and no other; package and seq may come from the context."""
    rows = document()
    for name, said in source().items():
        assert said.fields - CONTEXT == rows[name].fields - CONTEXT, name
        assert said.fields <= rows[name].fields, name


def test_events_are_logged_in_the_way_that_is_looked_for() -> None:
    """Loggers are named `log`, and are not given another name, or bound."""
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        loggers = re.findall(r"(\w+) = structlog\.get_logger", text)
        assert set(loggers) <= {"log"}, path
        assert loggers == [] or ".bind(" not in text, path
