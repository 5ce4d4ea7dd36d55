"""Which registry a command asks, where the configuration names none."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from npmmirror.config import (
    ServerSection,
    UpstreamSection,
    base_url,
    is_own_address,
    registry_of_feed,
)
from npmmirror.errors import UsageError

NPM_SECONDS = 20
"""How long npm may take to tell its configuration."""

_REGISTRY = re.compile(r"\s*registry\s*=\s*(.*?)\s*")
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry's base URL, and where it is told (for people)."""

    url: str
    origin: str


def registry_of_run(upstream: UpstreamSection) -> Registry:
    """The registry that belongs to the feed: the configured one, else derived from the feed."""
    if upstream.registry is not None:
        return Registry(upstream.registry, "upstream.registry")
    return Registry(registry_of_feed(upstream.feed), "derived from upstream.feed")


def registry_without_feed(
    upstream: UpstreamSection,
    environment: Mapping[str, str] = os.environ,
    *,
    server: ServerSection | None = None,
) -> Registry:
    """The registry for commands that need no feed: npm's own configuration goes before the feed's.

    Raises:
        UsageError: npm's configuration names something that is no URL, or the mirror's own `server`.
    """
    if upstream.registry is not None:
        return registry_of_run(upstream)
    for text, origin in _told_by_npm(environment):
        try:
            url = base_url(text)
        except ValueError as error:
            raise UsageError(f"the registry of {origin} {error}, not {text!r}") from error
        if server is not None and is_own_address(url, server, _own_names()):
            raise UsageError(
                f"the registry of {origin} is this mirror itself ({url}): say with "
                "upstream.registry whom it asks"
            )
        return Registry(url, origin)
    return registry_of_run(upstream)


def _own_names() -> frozenset[str]:
    return frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})


def _told_by_npm(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What npm's configuration says, in npm's order of precedence, and where it says so."""
    if told := _variable(environment, "registry"):
        yield told, "NPM_CONFIG_REGISTRY"
    for path in _npmrc_files(environment):
        if told := _in_npmrc(path, environment):
            yield told, str(path)
    if told := _asked_of_npm(environment):
        yield told, "`npm config get registry`"


def _variable(environment: Mapping[str, str], key: str) -> str | None:
    """Npm reads `npm_config_<key>` in any mixture of capitals and small letters."""
    name = f"npm_config_{key}"
    return next(
        (text for found, text in environment.items() if found.lower() == name and text), None
    )


def _npmrc_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """The user's file, then the global ones."""
    user = _variable(environment, "userconfig")
    if user:
        yield Path(user)
    elif home := environment.get("HOME"):
        yield Path(home, ".npmrc")
    if named := _variable(environment, "globalconfig"):
        yield Path(named)
        return
    if prefix := _variable(environment, "prefix") or environment.get("PREFIX"):
        yield Path(prefix, "etc", "npmrc")
    elif node := shutil.which("node", path=environment.get("PATH")):
        yield Path(node).resolve().parent.parent / "etc" / "npmrc"
    yield Path("/etc/npmrc")


def _in_npmrc(path: Path, environment: Mapping[str, str]) -> str | None:
    """The value of `registry=`; the last line that has one holds."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None  # npm, too, goes on without a file that it cannot read
    found = [match[1] for line in lines if (match := _REGISTRY.fullmatch(line))]
    if not found:
        return None
    text = found[-1].strip("\"'")
    return _VARIABLE.sub(lambda name: environment.get(name[1], name[0]), text) or None


def _asked_of_npm(environment: Mapping[str, str]) -> str | None:
    """What npm itself answers, its built-in default included; None where it is not installed."""
    npm = shutil.which("npm", path=environment.get("PATH"))
    if npm is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - the machine's own npm, with fixed words
            [npm, "config", "get", "registry"],
            cwd="/",  # no project's configuration, only the user's and the machine's
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=NPM_SECONDS,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return answer if answer not in {"", "undefined", "null"} else None
