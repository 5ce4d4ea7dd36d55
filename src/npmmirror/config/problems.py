"""What can be wrong with a configuration, one sentence each."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from npmmirror.config.keys import (
    FIRST_NAMES,
    HIDDEN,
    NO_SETTINGS,
    PREFIX,
    choices,
    is_secret,
    keys,
    sections,
    tables,
    variable,
    written,
)
from npmmirror.errors import UsageError


class ConfigurationError(UsageError):
    """The configuration is wrong; `problems` holds everything that is, a sentence each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"the configuration cannot be used:\n{lines}")


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody wrote: for which key, what, and where (`mirror.toml:12`).

    `origins` are those of the tables of a list, where each stands by itself.
    """

    path: str
    value: Any
    origin: str
    origins: tuple[str, ...] = ()

    def problem(self, what: str) -> str:
        """The sentence that tells where the value is, what it is, and what is wrong with it."""
        value = HIDDEN if is_secret(self.path) else written(self.value)
        return f"{self.origin}: {self.path} = {value}: {what}"


def unknown_key(given: Given) -> str:
    """The sentence for a key that does not exist, with the one that was probably meant."""
    section, _, name = given.path.rpartition(".")
    if first := _first_name(name):
        return given.problem(first)
    homes = [key.rpartition(".")[0] for key in keys() if key.rpartition(".")[2] == name]
    if homes:
        belongs = " or ".join(f"[{home}]" for home in homes)
        return given.problem(f"unknown key; {name} belongs in {belongs}")
    return given.problem(f"unknown key{_meant(_nearest_key(section, name))}")


def unknown_section(name: str, origin: str) -> str:
    """The sentence for a section that does not exist."""
    near = get_close_matches(name, [*sections(), *tables()], n=1)
    return f"{origin}: [{name}]: unknown section{_meant(f'[{near[0]}]' if near else None)}"


def unknown_variable(name: str, value: str) -> str:
    """The sentence for an environment variable that looks like a setting and is none."""
    told = f"{name} = {HIDDEN if is_secret(name) else written(value)}"
    short = name.removeprefix(PREFIX)
    if first := _first_name(short):
        return f"{told}: {first}"
    known = [known.removeprefix(PREFIX) for known in (*map(variable, keys()), *NO_SETTINGS)]
    near = get_close_matches(short.upper(), known, n=1)
    return f"{told}: unknown variable{_meant(PREFIX + near[0] if near else None)}"


def no_section(given: Given) -> str:
    """The sentence for a value that stands where a section is due."""
    return given.problem(f"must be a section, written [{given.path}]")


def invalid(given: Given, path: str, error: Any) -> str:
    """The sentence for one of pydantic's errors, at the key with this dotted path."""
    if error["type"] == "literal_error":
        return given.problem(_no_choice(path, given.value))
    if error["type"] == "value_error":
        return given.problem(str(error["ctx"]["error"]))
    template = _SENTENCES.get(error["type"], error["msg"])
    return given.problem(template.format_map(_bounds(error.get("ctx", {}))))


def in_table(given: Given, path: str, location: list[str], error: Any) -> str:
    """The sentence for an error within a list of tables: at which of them, and which of its keys."""
    number, *inner = location
    fields = tables()[path].model_fields
    told = f"table {int(number) + 1}" + (f", {inner[0]}" if inner else "")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(inner[0].lower(), fields, n=1, cutoff=0.6)
        what = f"unknown key{_meant(near[0] if near else None)}"
    elif error["type"] == "missing":
        what = "is missing"
    elif error["type"] in {"model_type", "model_attributes_type"}:
        what = "must be a table, with match and what it sets"
    elif error["type"] == "literal_error":
        words = re.findall(r"'(\w+)'", error["ctx"]["expected"])
        what = _not_among(words, error["input"])
    elif error["type"] == "value_error":
        what = str(error["ctx"]["error"])
    else:
        template = _SENTENCES.get(error["type"], error["msg"])
        what = template.format_map(_bounds(error.get("ctx", {})))
    shown = f" = {written(error['input'])}" if inner and error["type"] != "missing" else ""
    origin = given.origins[int(number)] if given.origins else given.origin
    return f"{origin}: {path}, {told}{shown}: {what}"


_SENTENCES = {
    "bool_type": "must be true or false",
    "contradiction": "{message}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "is_instance_of": "must be text in quotes",
    "less_than_equal": "must be at most {le}",
    "secret_type": "must be text in quotes",
    "string_type": "must be text in quotes",
    "too_short": "must not be empty",
    "tuple_type": "must be a list in brackets",
}


def _bounds(context: dict[str, Any]) -> dict[str, str]:
    """Bounds as a person writes them: 1, not 1.0."""
    return {
        name: str(int(bound)) if isinstance(bound, float) and bound.is_integer() else str(bound)
        for name, bound in context.items()
    }


def _no_choice(path: str, value: object) -> str:
    return _not_among(choices(keys()[path]), value)


def _not_among(words: Sequence[str], value: object) -> str:
    must = "must be " + " or ".join(f'"{word}"' for word in words)
    near = get_close_matches(value.lower(), words, n=1) if isinstance(value, str) else []
    return must + _meant(f'"{near[0]}"' if near and len(words) > 1 else None)


def _nearest_key(section: str, name: str) -> str | None:
    """The key most like it, one of the same section before all others."""
    inside = {key.rpartition(".")[2]: key for key in keys() if key.rpartition(".")[0] == section}
    anywhere = {key.rpartition(".")[2]: key for key in keys()}
    for names in (inside, anywhere):
        if near := get_close_matches(name.lower(), names, n=1, cutoff=0.7):
            return names[near[0]]
    return None


def _first_name(name: str) -> str | None:
    if name.upper() not in FIRST_NAMES:
        return None
    now = FIRST_NAMES[name.upper()]
    return f"a name of the first NPM-Mirror; {f'it is {now} now' if now else 'nothing replaces it'}"


def _meant(what: str | None) -> str:
    return f"; did you mean {what}?" if what else ""
