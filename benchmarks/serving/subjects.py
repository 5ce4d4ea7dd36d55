"""What is asked for, and how many times Verdaccio's speed is wanted of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

KINDS: Final = ("plain", "gzip", "tarballs")
PACKUMENTS: Final[Mapping[str, int]] = {
    "weighs-3-kb": 3_000,
    "weighs-54-kb": 54_000,
    "weighs-500-kb": 500_000,
}
"""Packages, and the bytes of their abbreviated packuments."""
TARBALL_PACKAGE: Final = "tarball-of-150-kb"
TARBALL_BYTES: Final = 150_000
TARBALLS: Final = 64
"""Versions of that package, asked for in turn."""
ABBREVIATED: Final = "application/vnd.npm.install-v1+json"
ACCEPT: Final = f"{ABBREVIATED}; q=1.0, application/json; q=0.8, */*"
"""As npm asks while it installs."""


@dataclass(frozen=True)
class Subject:
    """Requests, in turn. `goal` is how many times as many a second as Verdaccio's are wanted."""

    title: str
    paths: tuple[str, ...]
    headers: Mapping[str, str]
    goal: float

    @property
    def is_zipped(self) -> bool:
        """Whether the answers are to come gzipped."""
        return "Accept-Encoding" in self.headers

    @property
    def is_tarball(self) -> bool:
        """Whether the answers are no documents."""
        return self.paths[0].endswith(".tgz")

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return "tarballs" if self.is_tarball else "gzip" if self.is_zipped else "plain"


def subjects(tarball_versions: Iterable[str]) -> list[Subject]:
    """All of them, in the order of the table."""
    found = [
        Subject(f"{size // 1000} KB{words}", (f"/{name}",), {"Accept": ACCEPT, **more}, goal)
        for (name, size), goal in zip(PACKUMENTS.items(), (10.0, 20.0, 50.0), strict=True)
        for words, more in (("", {}), (", gzip", {"Accept-Encoding": "gzip"}))
    ]
    beginning = f"/{TARBALL_PACKAGE}/-/{TARBALL_PACKAGE}"
    paths = tuple(f"{beginning}-{version}.tgz" for version in tarball_versions)
    return [*found, Subject(f"{TARBALLS} tarballs, 150 KB", paths, {}, 3.0)]


def small_name(number: int) -> str:
    """One of the packages by which memory is measured."""
    return f"small-{number}"
