"""What a tarball's bytes are worth: their digests, and their `package.json` held against ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import msgspec

from npmmirror.confusion import Confusion
from npmmirror.integrity import Expected, Hasher
from npmmirror.outcome import WorkItem
from npmmirror.shipped import ShippedManifest


@dataclass(frozen=True, slots=True)
class Claim:
    """What upstream says of a version's tarball; `row` is the work list's, where it has one.

    `manifest` is all that its document says of the version, in JSON: the tarball's own is held
    against it. None: it has no such version, or cannot be read.
    """

    version: str
    tarball: str | None
    integrity: str | None
    shasum: str | None
    row: WorkItem | None = None
    manifest: bytes | None = None


class Judgement(msgspec.Struct, frozen=True, array_like=True, tag="judged"):
    """What was found. `sha512` is lower-case hex.

    `unverifiable` where nothing is claimed of the bytes: then they match. Where they do not,
    `verdict` tells what was expected and what came.
    """

    sha512: str
    matches: bool
    unverifiable: bool
    verdict: str
    confusion: Confusion | None


class Judge(Protocol):
    """Who writes and judges small tarballs in another process."""

    async def take_in(
        self, package: str, claim: Claim, path: Path, pieces: Sequence[bytes]
    ) -> Judgement | None:
        """What the bytes are worth, of which there is a file then; None: it was not tried."""
        ...


class Intake:
    """Takes in a tarball's bytes, in a thread, or has another process do it."""

    def __init__(self, package: str, claim: Claim, judge: Judge | None = None) -> None:
        self._package = package
        self._claim = claim
        self._judge = judge
        self._judged: Judgement | None = None

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes."""
        self._hasher.update(chunk)
        self._shipped.update(chunk)

    async def elsewhere(self, path: Path, pieces: Sequence[bytes]) -> bool:
        """Have all bytes written to a file and judged in the other process; False: there is none."""
        if self._judge is None:
            return False
        self._judged = await self._judge.take_in(self._package, self._claim, path, pieces)
        return self._judged is not None

    @property
    def judgement(self) -> Judgement:
        """Of all bytes, once they are there."""
        if self._judged is None:
            self._judged = self._found()
        return self._judged

    def _found(self) -> Judgement:
        hasher = self._hasher
        matches = hasher.matches
        return Judgement(
            hasher.digests.sha512,
            matches,
            hasher.expected is None,
            "" if matches else hasher.verdict(),
            self._shipped.confusion,
        )

    # Made when they are needed: mostly the other process has its own.

    @cached_property
    def _hasher(self) -> Hasher:
        return Hasher(Expected.of(self._claim.integrity, self._claim.shasum))

    @cached_property
    def _shipped(self) -> ShippedManifest:
        return ShippedManifest(self._package, self._claim.version, self._claim.manifest)
