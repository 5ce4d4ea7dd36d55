"""What is asked for, and how many times Verdaccio's speed is wanted of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PACKUMENTS: Final[Mapping[str, int]] = {
    "weighs-3-kb": 3_000,
    "weighs-54-kb": 54_000,
    "weighs-500-kb": 500_000,
}
"""Packages, and the bytes of their abbreviated packuments."""
TARBALL_PACKAGE: Final = "tarball-of-150-kb"
TARBALL_BYTES: Final = 150_000
ABBREVIATED: Final = "application/vnd.npm.install-v1+json"
ACCEPT: Final = f"{ABBREVIATED}; q=1.0, application/json; q=0.8, */*"
"""As npm asks while it installs."""


@dataclass(frozen=True)
class Subject:
    """A request. `goal` is how many times as many a second as Verdaccio's are wanted."""

    title: str
    package: str
    path: str
    headers: Mapping[str, str]
    goal: float

    @property
    def file(self) -> str:
        """Under which its answer is kept for the servers that answer the same bytes."""
        return f"{self.path.strip('/')}{'' if self.path.endswith('.tgz') else '/index.json'}"

    @property
    def is_tarball(self) -> bool:
        """Whether the answer is no document."""
        return self.path.endswith(".tgz")


def subjects(tarball_version: str) -> list[Subject]:
    """All of them, in the order of the table."""
    found = [
        Subject(f"{size // 1000} KB{words}", name, f"/{name}", {"Accept": ACCEPT, **more}, goal)
        for (name, size), goal in zip(PACKUMENTS.items(), (10.0, 20.0, 50.0), strict=True)
        for words, more in (("", {}), (", gzip", {"Accept-Encoding": "gzip"}))
    ]
    path = f"/{TARBALL_PACKAGE}/-/{TARBALL_PACKAGE}-{tarball_version}.tgz"
    return [*found, Subject("tarball, 150 KB", TARBALL_PACKAGE, path, {}, 3.0)]


def small_name(number: int) -> str:
    """One of the packages by which memory is measured."""
    return f"small-{number}"
