"""The effective configuration: defaults, the file over them, the environment over both."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from npmmirror.config.keys import keys, tables
from npmmirror.config.problems import ConfigurationError, Given, in_table, invalid
from npmmirror.config.sections import Config
from npmmirror.config.sources import ConfigFile, from_environment, from_file


@dataclass(frozen=True, slots=True)
class Effective:
    """A configuration, and where each key's value is from.

    `origins` has every key's dotted path: `default`, a file and line, or a variable's name.
    """

    config: Config
    origins: dict[str, str]


def effective(
    file: ConfigFile | None, environment: Mapping[str, str], directory: Path
) -> Effective:
    """Put the configuration together. All its paths are made absolute.

    `directory` is the current one: where relative paths of variables start, and those of the
    defaults where there is no file.

    Raises:
        ConfigurationError: with everything that is wrong.
    """
    sources = [from_file(file)] if file else []
    sources.append(from_environment(environment, directory))
    problems = [problem for source in sources for problem in source.problems]
    given = {path: value for source in sources for path, value in source.values.items()}
    try:
        config = Config.model_validate(_nested(given))
    except ValidationError as error:
        wrong = [_problem(details, given) for details in error.errors(include_url=False)]
        raise ConfigurationError([*problems, *dict.fromkeys(wrong)]) from error
    if problems:
        raise ConfigurationError(problems)
    base = file.directory if file else directory
    storage = config.storage.under(base)
    buffer = config.buffer.model_copy(update={"kafka": config.buffer.kafka.under(base)})
    policy, server = config.policy.under(base), config.server.under(base)
    origins = {path: given[path].origin if path in given else "default" for path in keys()}
    absolute = {"storage": storage, "buffer": buffer, "policy": policy, "server": server}
    return Effective(config.model_copy(update=absolute), origins)


def _nested(given: Mapping[str, Given]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for path, value in given.items():
        *parents, name = path.split(".")
        table = document
        for parent in parents:
            table = table.setdefault(parent, {})
        table[name] = value.value
    return document


def _problem(details: ErrorDetails, given: Mapping[str, Given]) -> str:
    """The sentence for one of pydantic's errors, told at the key that it is about."""
    location = [str(part) for part in details["loc"]]
    if (table := ".".join(location[:2])) in tables() and len(location) > 2:
        return in_table(given[table], table, location[2:], details)
    prefixes = [".".join(location[:length]) for length in range(len(location), 0, -1)]
    if details["type"] == "contradiction":
        keys_of_it = details["ctx"]["keys"]
        # Without a place it is about keys of several sections, which it names in full.
        paths = [f"{prefixes[0]}.{key}" for key in keys_of_it] if prefixes else keys_of_it
        path = next((path for path in paths if path in given), paths[0])
    else:
        path = next(path for path in prefixes if path in keys())
    return invalid(given[path], path, details)
