"""What upstream claims of a tarball's bytes, and what the bytes say. Source: W3C SRI, npm's ssri.

Of several hashes those of the strongest algorithm count, any of which may match. MD5 is not
trusted. An entry that is malformed, or of an algorithm that is not known here, is ignored and told.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from npmmirror.outcome import Digests

_STRENGTH = {"sha1": 1, "sha256": 2, "sha384": 3, "sha512": 4}
_ENTRY = re.compile(r"([a-z0-9]+)-([^?]+)(?:\?\S*)?")
_SHASUM = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Expected:
    """What the bytes must hash to: any of `digests` (lower-case hex) of `algorithm`.

    `claim` is what was read, as upstream spelled it; `ignored` are the entries that do not count.
    """

    algorithm: str
    digests: frozenset[str]
    claim: str
    ignored: tuple[str, ...] = ()

    @classmethod
    def of(cls, integrity: str | None, shasum: str | None) -> "Expected | None":
        """Upstream's claim: `dist.integrity`, else `dist.shasum`; None: unverifiable."""
        by_algorithm, ignored = _parse(integrity or "")
        if by_algorithm:
            strongest = max(by_algorithm, key=_STRENGTH.__getitem__)
            return cls(strongest, frozenset(by_algorithm[strongest]), integrity or "", ignored)
        digest = (shasum or "").strip().lower()
        if _SHASUM.fullmatch(digest):
            return cls("sha1", frozenset({digest}), shasum or "", ignored)
        return None


def sri(digest: str, algorithm: str = "sha512") -> str:
    """A hex digest as npm writes it in `dist.integrity`."""
    return f"{algorithm}-{base64.b64encode(bytes.fromhex(digest)).decode()}"


def agree(one: str, other: str | None, shasum: str | None) -> bool | None:
    """Whether two claims, the second with its `shasum`, can be true of the same bytes.

    None: they have no algorithm in common, so that neither says anything of the other.
    """
    ours, theirs = _parse(one)[0], _parse(other or "")[0]
    digest = (shasum or "").strip().lower()
    if _SHASUM.fullmatch(digest):
        theirs.setdefault("sha1", []).append(digest)
    common = ours.keys() & theirs.keys()
    if not common:
        return None
    strongest = max(common, key=_STRENGTH.__getitem__)
    return not set(ours[strongest]).isdisjoint(theirs[strongest])


def may_be(integrity: str | None, shasum: str | None, *, sha512: str, verified: str | None) -> bool:
    """Whether what a document claims can be true of a file that another document's claim proved.

    `sha512` (hex) is the file's own; `verified` is the `dist.shasum` of that other document.
    """
    told = agree(sri(sha512), integrity, None)
    if told is None and integrity is None and shasum and verified:
        return shasum.strip().lower() == verified.strip().lower()
    return told is not False


def _parse(integrity: str) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    ignored: list[str] = []
    for entry in integrity.split():
        match _entry(entry):
            case None:
                ignored.append(entry)
            case algorithm, digest:
                found.setdefault(algorithm, []).append(digest)
    return found, tuple(ignored)


def _entry(entry: str) -> tuple[str, str] | None:
    match = _ENTRY.fullmatch(entry)
    if match is None or match[1] not in _STRENGTH:
        return None
    try:
        digest = base64.b64decode(match[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    # npm compares the base64 text: another spelling of the same bytes never matches there.
    canonical = base64.b64encode(digest).decode() == match[2]
    right_size = len(digest) == hashlib.new(match[1], usedforsecurity=False).digest_size
    return (match[1], digest.hex()) if canonical and right_size else None


class Hasher:
    """Digests of a tarball while it streams by: SHA-512, and what the claim needs."""

    def __init__(self, expected: Expected | None = None) -> None:
        self.expected = expected
        self.size = 0
        algorithms = {"sha512"} | ({expected.algorithm} if expected else set())
        self._hashes = {
            name: hashlib.new(name, usedforsecurity=False) for name in sorted(algorithms)
        }

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes."""
        self.size += memoryview(chunk).nbytes
        for each in self._hashes.values():
            each.update(chunk)

    @property
    def digests(self) -> Digests:
        """Of everything so far."""
        return Digests(sha512=self._hex("sha512"))

    @property
    def matches(self) -> bool:
        """Whether the bytes so far contradict no claim: where there is none, they never do."""
        expected = self.expected
        return expected is None or self._hex(expected.algorithm) in expected.digests

    def verdict(self) -> str:
        """What to say of the bytes: where they do not match, the digests claimed and found."""
        if self.expected is None:
            return f"unverifiable: no digest is claimed ({self.size} bytes)"
        found = sri(self._hex(self.expected.algorithm), self.expected.algorithm)
        if self.matches:
            return f"verified: {found} ({self.size} bytes)"
        claimed = sorted(sri(digest, self.expected.algorithm) for digest in self.expected.digests)
        return f"expected {' or '.join(claimed)}, got {found} ({self.size} bytes)"

    def _hex(self, algorithm: str) -> str:
        return self._hashes[algorithm].hexdigest()
