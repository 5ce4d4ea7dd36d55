"""The withheld list of a configuration, with the files that it refers to read."""

from pathlib import Path

from npmmirror.config import ConfigurationError, ServerSection
from npmmirror.server.withheld import WithheldList, files_of


def read_withheld(section: ServerSection) -> WithheldList:
    """What is withheld from clients, from now until the process ends.

    Raises:
        ConfigurationError: with every file that cannot be read, or what is no entry.
    """
    lines: dict[str, frozenset[str]] = {}
    problems: list[str] = []
    for path in files_of(section.withhold):
        try:
            lines[path] = _lines(Path(path))
        except OSError as error:
            problems.append(f"server.withhold: cannot read the list {path}: {error.strerror}")
        except UnicodeDecodeError as error:
            problems.append(
                f"server.withhold: the list {path} is not UTF-8 text (byte {error.start})"
            )
    if problems:
        raise ConfigurationError(problems)
    try:
        return WithheldList.parse(section.withhold, lines)
    except ValueError as error:
        raise ConfigurationError([f"server.withhold: {error}"]) from error


def _lines(path: Path) -> frozenset[str]:
    """The entries in a file, one a line; empty lines and those that begin with # say nothing."""
    lines = map(str.strip, path.read_text("utf-8-sig").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))
