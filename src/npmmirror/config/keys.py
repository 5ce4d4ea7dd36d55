"""The keys that there are, by their dotted paths, as told by the sections' models."""

import json
import re
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from npmmirror.config.section import Section
from npmmirror.config.sections import Config

PREFIX = "NPMMIRROR_"
"""What the names of variables that are settings begin with."""

NO_SETTINGS = ("NPMMIRROR_CONFIG", "NPMMIRROR_REQUIRE_ALL")
"""Variables with the settings' prefix that set no key (and all that start with `NPMMIRROR_TEST_`)."""

FIRST_NAMES: dict[str, str | None] = {
    "LOCAL_PACKAGE_DIR": "storage.staging_dir",
    "REMOTE_PACKAGE_DIR": "storage.packages_dir",
    "MAX_SIZE": "policy.max_tarball_bytes",
    "SUBDIRECTORY_HASH_LENGTH": "storage.subdirectory_hash_length",
    "DATABASE_NAME": "storage.index",
    "UPDATE_SEQ": "follow.since",
    "KAFKA_TOPIC_NUM_PARTITIONS": "buffer.kafka.partitions",
    "OLD_PACKAGE_VERSIONS_LIMIT": "policy.keep_versions",
}
"""Parameters of the first NPM-Mirror, and the key that each became; None where none did."""


def sections(model: type[Section] = Config, prefix: str = "") -> dict[str, type[Section]]:
    """Every section by its name in `[brackets]`, in the order of `mirror.toml`."""
    found: dict[str, type[Section]] = {}
    for name, field in model.model_fields.items():
        if nested := _section(field):
            found[prefix + name] = nested
            found |= sections(nested, f"{prefix}{name}.")
    return found


def keys() -> dict[str, FieldInfo]:
    """Every key by its dotted path, in the order of `mirror.toml`."""
    return {
        f"{section}.{name}": field
        for section, model in sections().items()
        for name, field in model.model_fields.items()
        if not _section(field)
    }


def tables() -> dict[str, type[Section]]:
    """The keys whose values are lists of tables, by their dotted paths, and each table's model."""
    found = {path: get_args(field.annotation) for path, field in keys().items()}
    return {
        path: arguments[0]
        for path, arguments in found.items()
        if arguments and isinstance(arguments[0], type) and issubclass(arguments[0], Section)
    }


def value_of(config: Config, path: str) -> Any:
    """The value of the key with this dotted path."""
    value: Any = config
    for part in path.split("."):
        value = getattr(value, part)
    return value


def variable(path: str) -> str:
    """The environment variable that overrides the key with this dotted path."""
    return PREFIX + path.upper().replace(".", "__")


def types_of(field: FieldInfo) -> set[Any]:
    """The plain types that a key's value may have; `str` stands for a choice of words."""
    annotation: Any = field.annotation
    union = get_origin(annotation) in {Union, UnionType}
    return {_plain(member) for member in (get_args(annotation) if union else [annotation])}


def is_secret(name: str) -> bool:
    """Whether a key's or variable's value may be one that nobody should see, misspelt or not."""
    known = keys()
    if name in known:
        return SecretStr in types_of(known[name])
    secrets = [path.rpartition(".")[2] for path in known if SecretStr in types_of(known[path])]
    last = re.split(r"\.|__", name.lower())[-1]
    return _SECRET_NAME.search(last) is not None or bool(get_close_matches(last, secrets, n=1))


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The words that a key allows; empty where it is no choice of words."""
    annotation: Any = field.annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def written(value: object) -> str:
    """A value as it is written in TOML (`not set` for None), short and without passwords."""
    if value is None:
        return "not set"
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Section | dict | list | tuple):
        return _written_whole(value)
    if isinstance(value, str | Path):
        text = json.dumps(without_password(str(value)), ensure_ascii=False)
        return text if len(text) <= 200 else text[:198] + '…"'
    is_long = isinstance(value, int) and abs(value) >= 100_000
    return f"{value:_}" if is_long else str(value)


def _written_whole(value: Section | dict[str, Any] | list[Any] | tuple[Any, ...]) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(written(item) for item in value) + "]"
    members = {key: one for key, one in dict(value).items() if one is not None}
    return "{" + ", ".join(f"{key} = {written(one)}" for key, one in members.items()) + "}"


def without_password(text: str) -> str:
    """The same text, with the user name and password of every URL in it left out."""
    return _CREDENTIALS.sub("://…@", text)


def size(count: int) -> str:
    """A number of bytes for people: `1.5 GiB`, `300 bytes`."""
    if count < 1024:
        return f"{count} bytes"
    power = min((count.bit_length() - 1) // 10, len(_UNITS))
    return f"{count / (1 << 10 * power):.1f} {_UNITS[power - 1]}".replace(".0 ", " ")


HIDDEN = '"…"'
"""How a secret is written."""
_SECRET_NAME = re.compile("pass|secret|token|key$")
_CREDENTIALS = re.compile(r"://[^/@\s]*@")
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def _section(field: FieldInfo) -> type[Section] | None:
    annotation: Any = field.annotation
    known = isinstance(annotation, type) and issubclass(annotation, Section)
    return annotation if known else None


def _plain(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    return str if origin is Literal else origin or annotation
