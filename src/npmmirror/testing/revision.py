"""One revision of a package's document, rendered to bytes once."""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import brotli
import orjson

from npmmirror import zstd

ABBREVIATED_KEYS = (
    "name",
    "version",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "directories",
    "dist",
    "engines",
    "cpu",
    "os",
    "deprecated",
    "funding",
    "_hasShrinkwrap",
)
_INSTALL_SCRIPTS = frozenset({"preinstall", "install", "postinstall"})
_ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 6, mtime=0),
    "br": lambda body: brotli.compress(body, quality=4),
    "zstd": lambda body: zstd.compress(body, 3),
}


class Body:
    """Bytes with their entity tag, and their encoded forms made when first asked for."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._encoded: dict[str, bytes] = {}

    @cached_property
    def etag(self) -> str:
        """A strong entity tag."""
        return f'"{hashlib.sha256(self.raw).hexdigest()[:32]}"'

    def encoded(self, encoding: str) -> bytes:
        """The bytes under `identity`, `gzip`, `br` or `zstd`."""
        if encoding == "identity":
            return self.raw
        if encoding not in self._encoded:
            self._encoded[encoding] = _ENCODERS[encoding](self.raw)
        return self._encoded[encoding]


@dataclass(frozen=True)
class Revision:
    """A package as one revision tells it. `versions` maps to manifests that are bytes already.

    `state` is `live`, `unpublished`, `security_hold`, `removed` (no document: a 404) or `raw`
    (`document` gives the bytes as they were put). `extra` are further keys of the top level.
    """

    name: str
    rev: str
    state: str = "live"
    tags: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, bytes] = field(default_factory=dict)
    times: Mapping[str, Any] = field(default_factory=dict)
    maintainers: tuple[Mapping[str, str], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    document: bytes | None = None
    with_rev: bool = True

    @cached_property
    def full(self) -> Body | None:
        """The whole document, as `Accept: application/json` gets it; None where there is none."""
        if self.state == "removed":
            return None
        return Body(self._rendered() if self.document is None else self.document)

    @cached_property
    def abbreviated(self) -> Body | None:
        """The form for installers. A document that cannot be abbreviated is given whole."""
        if self.full is None:
            return None
        try:
            return Body(orjson.dumps(_abbreviated(orjson.loads(self.full.raw))))
        except (orjson.JSONDecodeError, TypeError, AttributeError, KeyError):
            return self.full

    def manifest(self, version_or_tag: str) -> bytes | None:
        """The manifest of a version or of the version that a tag names."""
        return self.versions.get(self.tags.get(version_or_tag, version_or_tag))

    def _rendered(self) -> bytes:
        head: dict[str, Any] = {"_id": self.name}
        if self.with_rev:
            head["_rev"] = self.rev
        head["name"] = self.name
        if self.state == "unpublished":
            return _object([*_members(head), _member("time", self.times)])
        parts = [*_members(head), _member("dist-tags", self.tags)]
        manifests = (orjson.dumps(version) + b":" + body for version, body in self.versions.items())
        parts.append(b'"versions":{' + b",".join(manifests) + b"}")
        parts.append(_member("time", self.times))
        before = {key: value for key, value in self.extra.items() if not key.startswith("readme")}
        after = {key: value for key, value in self.extra.items() if key.startswith("readme")}
        parts += [
            *_members(before),
            _member("maintainers", list(self.maintainers)),
            *_members(after),
        ]
        return _object(parts)


def _member(key: str, value: Any) -> bytes:
    return orjson.dumps(key) + b":" + orjson.dumps(value)


def _members(values: Mapping[str, Any]) -> list[bytes]:
    return [_member(key, value) for key, value in values.items()]


def _object(parts: list[bytes]) -> bytes:
    return b"{" + b",".join(parts) + b"}"


def _abbreviated(document: dict[str, Any]) -> dict[str, Any]:
    if "versions" not in document:
        return document
    times = document.get("time", {})
    return {
        "name": document["name"],
        "dist-tags": document.get("dist-tags", {}),
        "versions": {
            version: _abbreviated_manifest(manifest)
            for version, manifest in document["versions"].items()
        },
        "modified": times.get("modified"),
    }


def _abbreviated_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    short = {key: manifest[key] for key in ABBREVIATED_KEYS if key in manifest}
    if _INSTALL_SCRIPTS & manifest.get("scripts", {}).keys():
        short["hasInstallScript"] = True
    return short
