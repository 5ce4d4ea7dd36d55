"""Where values come from: the text of a configuration file, and the environment's variables."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from npmmirror.config import problems
from npmmirror.config.keys import NO_SETTINGS, PREFIX, keys, sections, types_of, variable
from npmmirror.config.problems import Given
from npmmirror.config.values import PATH_OR_PEM, PATTERNS, path_or_pem, pattern_under

_TABLE = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(?:#.*)?")
_ASSIGNMENT = re.compile(r"\s*([^\s=#\[\]]+)\s*=.*")
_IS_TOML = re.compile(r"""\s*\[\s*["'{\]]""")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A configuration file: its name as messages show it, its text, and its directory."""

    name: str
    text: str
    directory: Path


@dataclass(slots=True)
class Found:
    """The values found for keys that exist, by path, and the problems met on the way."""

    values: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def from_file(file: ConfigFile) -> Found:
    """The values that a file gives."""
    found = Found()
    try:
        document = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        found.problems.append(_syntax_problem(file, str(error)))
        return found
    lines, tables = _line_numbers(file.text), _tables(file.text)
    for path, value in _leaves(document):
        line = lines.get(path)
        origin = f"{file.name}:{line}" if line else file.name
        origins = tuple(f"{file.name}:{number}" for number in tables.get(path, ()))
        apart = isinstance(value, list) and len(origins) == len(value)
        _sort_in(found, Given(path, value, origin, origins if apart else ()))
    return found


def from_environment(environment: Mapping[str, str], directory: Path) -> Found:
    """The values that variables give, each read as its key's type; paths start at `directory`."""
    found = Found()
    known = {variable(path): (path, field) for path, field in keys().items()}
    for name, text in sorted(environment.items()):
        if not name.startswith(PREFIX) or name in NO_SETTINGS or name.startswith("NPMMIRROR_TEST_"):
            continue
        if name not in known:
            found.problems.append(problems.unknown_variable(name, text))
            continue
        path, key = known[name]
        found.values[path] = Given(path, _typed(text, key, directory), name)
    return found


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Everything below the sections that exist; sections that do not are given whole."""
    known = sections()
    for name, value in table.items():
        path = f"{prefix}{name}"
        if path in known and isinstance(value, dict):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _sort_in(found: Found, given: Given) -> None:
    if given.path in keys():
        found.values[given.path] = given
    elif given.path in sections():
        found.problems.append(problems.no_section(given))
    elif isinstance(given.value, dict) or _is_tables(given.value):
        found.problems.append(problems.unknown_section(given.path, given.origin))
    else:
        found.problems.append(problems.unknown_key(given))


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _line_numbers(text: str) -> dict[str, int]:
    """Which line each section and key stands on, as far as it is written one a line."""
    numbers: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if table := _TABLE.fullmatch(line.replace("[[", "[").replace("]]", "]")):
            section = f"{table[1]}."
            numbers.setdefault(table[1], number)
        elif assignment := _ASSIGNMENT.fullmatch(line):
            numbers.setdefault(section + assignment[1].strip("\"'"), number)
    return numbers


def _tables(text: str) -> dict[str, list[int]]:
    """On which lines the tables of each list of tables begin."""
    numbers: dict[str, list[int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if "[[" in line and (table := _TABLE.fullmatch(line.replace("[[", "[").replace("]]", "]"))):
            numbers.setdefault(table[1], []).append(number)
    return numbers


def _syntax_problem(file: ConfigFile, message: str) -> str:
    place = _PLACE.search(message)
    if place is None:
        return f"{file.name}: is no TOML: {message}"
    what = message[: place.start()]
    if place[1] is None:
        return f"{file.name}:{file.text.count(chr(10)) + 1}: is no TOML: {what} (at its end)"
    return f"{file.name}:{place[1]}:{place[2]}: is no TOML: {what}"


def _typed(text: str, key: FieldInfo, directory: Path) -> Any:
    """The text as its key's type; what does not fit stays text, for the type's check to refuse."""
    types = types_of(key)
    if not text and type(None) in types:
        return None
    if Path in types:
        return str(directory / text) if text and not text.startswith("~") else text
    if key.json_schema_extra == PATH_OR_PEM:
        return path_or_pem(text, directory)
    if tuple in types:
        return _listed(text, key, directory)
    if bool in types:
        return {"true": True, "false": False}.get(text, text)
    return _number(text, types)


def _listed(text: str, key: FieldInfo, directory: Path) -> Any:
    """A list with commas between its items, or as a file has it."""
    if _IS_TOML.match(text):
        try:
            return tomllib.loads(f"list = {text}")["list"]
        except tomllib.TOMLDecodeError:
            return text
    items = [item.strip() for item in text.split(",") if item.strip()]
    is_patterns = key.json_schema_extra == PATTERNS
    return [pattern_under(item, directory) for item in items] if is_patterns else items


def _number(text: str, types: set[Any]) -> int | float | str:
    for kind in (int, float):
        if kind in types:
            try:
                return kind(text)
            except ValueError:
                continue
    return text
