"""Finds and reads the configuration that a command works with."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from npmmirror.config import ConfigFile, ConfigurationError, effective
from npmmirror.errors import UsageError

if TYPE_CHECKING:
    import typer

    from npmmirror.config import Config

SYSTEM_FILE = Path("/etc/npmmirror/mirror.toml")
"""Where the service's configuration is."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that was read. `file` is None where there is none; `origins` as in `Effective`."""

    config: "Config"
    origins: dict[str, str]
    file: Path | None


def find(chosen: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the chosen one, else the environment's, else one of the usual places.

    A file that somebody named is returned whether it is there or not.
    """
    if chosen is not None:
        return chosen
    if named := environment.get("NPMMIRROR_CONFIG"):
        return Path(named)
    return next((path for path in (Path("mirror.toml"), SYSTEM_FILE) if _is_there(path)), None)


def load(chosen: Path | None, environment: Mapping[str, str] = os.environ) -> Loaded:
    """Read the configuration; `chosen` is what `--config` said.

    Raises:
        UsageError: the file cannot be read, or the configuration is wrong.
    """
    path = find(chosen, environment)
    here = Path.cwd()
    file = None if path is None else ConfigFile(str(path), _text(path), (here / path).parent)
    found = effective(file, environment, here)
    return Loaded(found.config, found.origins, None if path is None else here / path)


def for_work(context: "typer.Context") -> "Config":
    """The configuration of a command that works by itself; the log tells errors alone meanwhile.

    Raises:
        UsageError: as `load`.
    """
    from npmmirror.cli import logs  # noqa: PLC0415 - others only look
    from npmmirror.cli.progress import around_bar  # noqa: PLC0415 - as above

    config = load(context.obj.config_file).config
    section = config.log.model_copy(update={"level": "error"})
    logs.configure(section, verbose=context.obj.verbose, stream=around_bar())
    return config


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise _unreadable(path, error) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        problem = f"{path}: is not UTF-8 text (byte {error.start})"
        raise ConfigurationError([problem]) from error


def _unreadable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot read the configuration file {path}: {error.strerror}")
