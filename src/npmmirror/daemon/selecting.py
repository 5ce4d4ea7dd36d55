"""The policy, with the lists of names that it refers to read from their files."""

from pathlib import Path

from npmmirror.config import ConfigurationError, PolicySection
from npmmirror.policy import Policy
from npmmirror.policy.configured import lists_of, policy_of


def read_policy(section: PolicySection) -> Policy:
    """The policy that a configuration means now.

    Raises:
        ConfigurationError: with every list that cannot be read.
    """
    names: dict[str, frozenset[str]] = {}
    problems: list[str] = []
    for path, key in lists_of(section).items():
        try:
            names[path] = _names(Path(path))
        except OSError as error:
            problems.append(f"{key}: cannot read the list {path}: {error.strerror}")
        except UnicodeDecodeError as error:
            problems.append(f"{key}: the list {path} is not UTF-8 text (byte {error.start})")
    if problems:
        raise ConfigurationError(problems)
    return policy_of(section, names)


def _names(path: Path) -> frozenset[str]:
    """The names in a file, one a line; empty lines and those that begin with # say nothing."""
    lines = map(str.strip, path.read_text("utf-8-sig").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))
