"""The configuration's reference, made from the models: `mirror.toml` and its page in the docs."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from npmmirror.config.keys import choices, keys, sections, size, tables, types_of, written
from npmmirror.config.section import Section

_TOML_HEAD = """\
# The configuration of npmmirror.
#
# Every key is here with its default. To change one, take the # away in front of it and write
# another value; `npmmirror config check` then says whether it is right, and `npmmirror config
# show` what holds and where it comes from. A change takes effect at the next start.
#
# This file is found by --config FILE, else NPMMIRROR_CONFIG, else as mirror.toml in the current
# directory, else as /etc/npmmirror/mirror.toml. An environment variable named
# NPMMIRROR_<SECTION>__<KEY>, such as NPMMIRROR_FETCH__CONCURRENCY, goes before the file.
"""

_PAGE_HEAD = """\
# Configuration

npmmirror needs no configuration: every key has a default that works. To change one, edit
`mirror.toml` (`npmmirror config init` writes it, with every key and its default as a comment).
A change takes effect at the next start.

**Where it is looked for.** `--config FILE`, else the file that `NPMMIRROR_CONFIG` names, else
`./mirror.toml`, else `/etc/npmmirror/mirror.toml`. Where there is none, the defaults hold.

**Environment.** `NPMMIRROR_<SECTION>__<KEY>` goes before the file, such as
`NPMMIRROR_FETCH__CONCURRENCY=8`. A list is written with commas between its items, or in brackets
as in a file (a list of tables only so, such as
`NPMMIRROR_POLICY__RULE='[{{match = "@babel", tarballs = "all"}}]'`); an empty value unsets a key that
is not set by default. Other variables that begin with `NPMMIRROR_` are refused,
except `NPMMIRROR_CONFIG`, `NPMMIRROR_REQUIRE_ALL` and `NPMMIRROR_TEST_…`, which set no key.

**Paths.** Relative paths in a file start at that file's directory, those in environment variables
at the current one. Where there is no file, the defaults start at the current directory.

**Mistakes.** Unknown sections, keys and variables, values of another type and impossible values
are refused at start with exit status 2, all of them in one message, each with its place and, for a
misspelling, the nearest name that exists. `npmmirror config check [FILE]` does just that check.
`npmmirror config show` prints what holds and where each value comes from (`--json` for scripts).

**Parameters of the first NPM-Mirror.** {first}

This page is made from the program (`make docs`), and a test holds it so.
"""


def mirror_toml() -> str:
    """The text of the shipped `mirror.toml`."""
    parts = [_TOML_HEAD]
    for name, section in sections().items():
        parts.append(f"{_comment(_purpose(section))}[{name}]\n")
        parts += [_toml_entry(key, field) for key, field in _keys_of(name)]
    return "\n".join(parts)


def page(first_names: dict[str, str | None]) -> str:
    """The text of `docs/configuration.md`; `first_names` is `npmmirror.config.keys.FIRST_NAMES`."""
    first = ", ".join(f"`{old}` is `{new}`" for old, new in first_names.items() if new)
    parts = [_PAGE_HEAD.format(first=f"{first}.")]
    for name, section in sections().items():
        entries = [_page_entry(key, field) for key, field in _keys_of(name)]
        parts.append(f"## [{name}]\n\n{_purpose(section)}\n\n" + "".join(entries))
    return "\n".join(parts)


def _keys_of(section: str) -> Iterator[tuple[str, FieldInfo]]:
    return (
        (name, field)
        for path, field in keys().items()
        for home, _, name in [path.rpartition(".")]
        if home == section
    )


def _purpose(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


def _toml_entry(key: str, field: FieldInfo) -> str:
    hint = "; ".join(_hints(key, field))
    assignment = f"#{key} = {_shown(field)}{f'  # {hint}' if hint else ''}\n"
    return _comment(field.description or "") + assignment


def _page_entry(key: str, field: FieldInfo) -> str:
    default = "not set" if field.default is None else f"`{_shown(field)}`"
    facts = "; ".join([_kind(field), f"default {default}", *_size(key, field)])
    return f"- **`{key}`** ({facts}): {field.description}\n"


def _hints(key: str, field: FieldInfo) -> Iterator[str]:
    """What is worth telling behind a default."""
    if field.default is None:
        yield "an example, not set by default"
    yield from _size(key, field)
    if " to " in (bounds := _bounds(field)):
        yield bounds
    if words := choices(field):
        yield " | ".join(words)


def _kind(field: FieldInfo) -> str:
    """What a key's value may be, in words: `a whole number, 1 to 1024`."""
    names = {
        bool: "`true` or `false`",
        tuple: "a list of text",
        int: "a whole number",
        float: "a number",
    }
    if any(field is keys()[path] for path in tables()):
        return "a list of tables"
    kinds = [name for kind, name in names.items() if kind in types_of(field)]
    if types_of(field) & {str, Path, SecretStr}:
        kinds.append(" | ".join(f'`"{word}"`' for word in choices(field)) or "text")
    bounds = _bounds(field)
    return " or ".join(kinds) + (f", {bounds}" if bounds else "")


def _size(key: str, field: FieldInfo) -> Iterator[str]:
    """A round number of bytes once more in words."""
    if key.endswith("_bytes"):
        yield size(field.default)


def _shown(field: FieldInfo) -> str:
    value = field.examples[0] if field.examples else field.default
    return written(int(value) if isinstance(value, float) and value.is_integer() else value)


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, width=97, break_on_hyphens=False, break_long_words=False)
    return "".join(f"# {line}\n" for line in lines)


def _bounds(field: FieldInfo) -> str:
    bounds = {
        name: getattr(item, name)
        for item in field.metadata
        for name in _BOUNDS
        if hasattr(item, name)
    }
    if {"ge", "le"} <= bounds.keys():
        return f"{written(bounds['ge'])} to {written(bounds['le'])}"
    return ", ".join(f"{_BOUNDS[name]} {written(bound)}" for name, bound in bounds.items())


_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
