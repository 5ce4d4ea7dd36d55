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
TARBALLS: Final[Mapping[str, tuple[int, int]]] = {
    "tarball-of-150-kb": (150_000, 64),
    "tarball-of-20-mb": (20_000_000, 4),
}
"""Packages, the bytes of each of their tarballs, and how many versions are asked for in turn."""
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


def subjects(versions: Mapping[str, Iterable[str]]) -> list[Subject]:
    """All of them, in the order of the table; `versions` are those of each of `TARBALLS`."""
    found = [
        Subject(f"{size // 1000} KB{words}", (f"/{name}",), {"Accept": ACCEPT, **more}, goal)
        for (name, size), goal in zip(PACKUMENTS.items(), (10.0, 20.0, 50.0), strict=True)
        for words, more in (("", {}), (", gzip", {"Accept-Encoding": "gzip"}))
    ]
    for name, (size, count) in TARBALLS.items():
        paths = tuple(f"/{name}/-/{name}-{version}.tgz" for version in versions[name])
        amount = f"{size // 1_000_000} MB" if size >= 1_000_000 else f"{size // 1000} KB"
        goal = 3.0 if size < 1_000_000 else 1.0  # with large ones the kernel's copying is all
        found.append(Subject(f"{count} tarballs, {amount}", paths, {}, goal))
    return found


def small_name(number: int) -> str:
    """One of the packages by which memory is measured."""
    return f"small-{number}"
