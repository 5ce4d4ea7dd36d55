"""Whether anything was lost: what the demo's mirror holds, against what upstream promised."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from npmmirror.config import Config
from npmmirror.daemon.showing import UnknownError, shown
from npmmirror.layout import tarball_path

Truth = Mapping[str, Any]
"""What the demo's upstream says with `promises`."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was compared. `wrong` holds a sentence for each thing that is not as it must be."""

    tarballs: int
    packages: int
    events: int
    kept: int
    wrong: tuple[str, ...]


def prove(config: Config, truth: Truth, *, gone: Mapping[str, str], refused: set[str]) -> Proof:
    """Hold the mirror against the truth.

    Args:
        config: of a mirror that no daemon runs on.
        truth: what upstream promises now.
        gone: tarballs (by path below `packages_dir`) that upstream took back, with the SHA-512
            that it had promised: they must still be there.
        refused: paths of tarballs that must not be there.
    """
    promised = {
        path_of(config, name, version): digest
        for name, told in truth.items()
        for version, digest in told["versions"].items()
    }
    wanted = {path: promised[path] for path in promised if path not in refused}
    held = dict(_hashed(config.storage.packages_path))
    packages, events, odd = anyio.run(_documents, config, truth)
    wrong = [*_differences(wanted | dict(gone), held), *odd]
    leftovers = [path.name for path in config.storage.staging_path.glob("*")]
    wrong += [f"a temp file is left: {name}" for name in leftovers]
    return Proof(len(wanted), packages, events, len(gone), tuple(wrong))


def path_of(config: Config, name: str, version: str) -> str:
    """Where a tarball lies, below `packages_dir`."""
    return tarball_path(name, version, config.storage.subdirectory_hash_length)


def _hashed(packages: Path) -> Iterator[tuple[str, str]]:
    """Every file in the packages' directories, also one that is none of theirs."""
    for path in packages.glob("*/**/*"):
        if path.is_file():
            with path.open("rb") as file:
                yield (
                    str(path.relative_to(packages)),
                    hashlib.file_digest(file, "sha512").hexdigest(),
                )


def _differences(wanted: Mapping[str, str], held: Mapping[str, str]) -> Iterator[str]:
    for path in sorted(wanted.keys() | held.keys()):
        if path not in held:
            yield f"a tarball is missing: {path}"
        elif path not in wanted:
            yield f"a file is there that must not be: {path}"
        elif wanted[path] != held[path]:
            yield f"a tarball has other bytes than upstream promised: {path}"


async def _documents(config: Config, truth: Truth) -> tuple[int, int, list[str]]:
    """How many packages are captured as they are now, how many events there are, what is wrong."""
    packages = events = 0
    wrong = []
    async with shown(config) as showing:
        for name, told in truth.items():
            try:
                report = await showing.package(name)
            except UnknownError:
                wrong.append(f"{name} is not mirrored")
                continue
            if (report["state"], report["rev"]) == (told["state"], told["rev"]):
                packages += 1
            else:
                wrong.append(
                    f"{name} is {report['state']} at {report['rev']}, not as upstream has it"
                )
            events += len(report["events"])
            wrong += [f"{name} has an event twice: {kind}" for kind in _doubled(report)]
    return packages, events, wrong


def _doubled(report: dict[str, Any]) -> list[str]:
    facts = ("kind", "seq", "version", "tag", "happened_at")
    count = Counter(tuple(event[fact] for fact in facts) for event in report["events"])
    return [str(key[0]) for key, times in count.items() if times > 1]
