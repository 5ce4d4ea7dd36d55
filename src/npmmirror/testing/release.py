"""A version to publish, and what becomes of it: the manifest's bytes and the tarball's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from npmmirror.testing import manifest as manifests, tarball as tarballs
from npmmirror.testing.signing import PROVENANCE, Signature, Signing, attestations_path


@dataclass(frozen=True, slots=True)
class Release:
    """A version to publish. What is None is invented.

    `manifest` overrides keys of the invented manifest and `dist` those of its `dist`; a value of
    None takes the key out. `signature` counts where the registry signs at all; `attested` has the
    manifest tell of attestations.
    """

    version: str
    files: Mapping[str, bytes] | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    dist: Mapping[str, Any] = field(default_factory=dict)
    archive: bytes | None = None
    at: str | None = None
    publisher: str | None = None
    signature: Signature = "good"
    attested: bool = False


def build(
    name: str, release: Release, *, base: str, signing: Signing | None = None
) -> tuple[bytes, bytes]:
    """The manifest and the tarball; `base` is the registry that `dist.tarball` names."""
    version = release.version
    files = release.files or {
        "package.json": manifests.package_json(name, version, release.manifest),
        "index.js": f"module.exports = {version!r};\n".encode(),
    }
    archive = tarballs.pack(files) if release.archive is None else release.archive
    dist = manifests.dist_of(name, version, archive=archive, files=files, base=base)
    if signing is not None:
        signed = signing.sign(name, version, dist["integrity"], release.signature)
        dist = merged(dist, {"signatures": signed or None})
    if release.attested:
        url = base + attestations_path(name.replace("/", "%2f"), version)
        dist["attestations"] = {"url": url, "provenance": {"predicateType": PROVENANCE}}
    publisher = release.publisher or owner(name)
    made = manifests.make(name, version, publisher=publisher, dist=merged(dist, release.dist))
    return orjson.dumps(merged(made, release.manifest)), archive


def merged(was: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """`was` with the keys set; a value of None takes its key out."""
    both = {**was, **keys}
    return {key: value for key, value in both.items() if value is not None or key not in keys}


def owner(name: str) -> str:
    """The account that a package belongs to at first."""
    return f"author-of-{name.strip('@').replace('/', '-')}"


def stamp(moment: datetime) -> str:
    """A time as npm writes it: `2026-01-01T00:01:01.007Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
