"""The shipped `mirror.toml` and the documentation's page are what the models say."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from npmmirror.config import Config, ConfigFile, effective
from npmmirror.config.keys import FIRST_NAMES, keys, value_of
from npmmirror.config.reference import mirror_toml, page

ROOT = Path(__file__).parents[2]


def assigned(text: str) -> dict[str, object]:
    """Every key of the file by its path, those that are commented out included."""
    return dict(_leaves(tomllib.loads(re.sub(r"(?m)^#(\w+ = )", r"\1", text))))


def _leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def test_the_shipped_file_is_the_reference() -> None:
    """`make docs` was run after the last change of a key."""
    assert (ROOT / "mirror.toml").read_text(encoding="utf-8") == mirror_toml()


def test_the_documentations_page_is_the_reference() -> None:
    """`make docs` was run after the last change of a key."""
    path = ROOT / "docs" / "configuration.md"
    assert path.read_text(encoding="utf-8") == page(FIRST_NAMES)


def test_the_file_holds_every_key_and_no_other() -> None:
    """Nobody has to look elsewhere for a key."""
    assert list(assigned(mirror_toml())) == list(keys())


def test_the_files_values_are_the_defaults() -> None:
    """A key whose comment sign is taken away changes nothing (where it has a default)."""
    values = assigned(mirror_toml())
    given = {path: value for path, value in values.items() if keys()[path].default is not None}
    lines = [f"{path} = {_toml(value)}" for path, value in given.items()]
    found = effective(ConfigFile("m", "\n".join(lines), Path("/x")), {}, Path("/x"))
    assert found.config == effective(None, {}, Path("/x")).config


def test_the_examples_are_possible() -> None:
    """What stands in the file for keys without a default would be accepted."""
    values = assigned(mirror_toml())
    given = {path: value for path, value in values.items() if keys()[path].default is None}
    lines = [f"{path} = {_toml(value)}" for path, value in given.items()]
    config = effective(ConfigFile("m", "\n".join(lines), Path("/x")), {}, Path("/x")).config
    assert all(value_of(config, path) is not None for path in given)


def test_the_file_as_it_is_changes_nothing() -> None:
    """All of its keys are commented out."""
    document = tomllib.loads(mirror_toml())
    assert list(_leaves(document)) == []
    assert document.keys() == Config.model_fields.keys()


def test_every_key_is_described() -> None:
    """No key without a sentence, and no section either."""
    assert all(field.description and field.description.endswith(".") for field in keys().values())


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
