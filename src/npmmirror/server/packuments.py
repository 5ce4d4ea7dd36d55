"""Documents as clients get them: made of the captured bytes, of which most are passed on as they lie.

Pure, and to be called in a thread where the document is large.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import quote

import msgspec
import orjson

from npmmirror.jsontext import Raw, UnreadableError, members, value
from npmmirror.packument import Packument

_INSTALL_SCRIPTS: Final = ("preinstall", "install", "postinstall")
_KEPT: Final = (
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
_TRUE: Final = Raw(b"true")
_encode = msgspec.json.Encoder().encode


class Form(Enum):
    """The whole document, or what an installation needs of it."""

    FULL = "full"
    ABBREVIATED = "abbreviated"


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a document is shown.

    Attributes:
        versions: The versions, in the document's order.
        tags: The dist-tags.
        withheld: The versions that are not shown though they might be held.
        mark: A digest of the versions that are not shown; empty where all are.
    """

    versions: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    withheld: frozenset[str] = frozenset()
    mark: bytes = b""


def body(document: Packument, shown: Shown, base: str, form: Form) -> bytes:
    """A document's answer; `base` is what tarball URLs begin with."""
    make = _abbreviated if form is Form.ABBREVIATED else _full
    return make(document, shown, base)


def manifest_body(document: Packument, version: str, base: str) -> bytes:
    """A version's manifest, its tarball's URL rewritten.

    Raises:
        KeyError: the document has no such version.
    """
    return bytes(_manifest(document.versions[version], document.name, version, base))


def tarball_name(name: str, version: str) -> str:
    """The file name of a tarball in the URLs of answers, percent-encoded."""
    return f"{quote(name.rpartition('/')[2], safe='')}-{quote(version, safe='+')}.tgz"


def tarball_url(name: str, version: str, base: str) -> str:
    """Where a tarball is asked for; the slash of a scoped name stays one, as npm writes it."""
    return f"{base}/{quote(name, safe='@/')}/-/{tarball_name(name, version)}"


def _full(document: Packument, shown: Shown, base: str) -> bytes:
    top: dict[str, Any] = dict(members(document.raw))
    if "versions" in top:
        top["versions"] = {
            version: _manifest(document.versions[version], document.name, version, base)
            for version in shown.versions
        }
    if "dist-tags" in top:
        top["dist-tags"] = dict(shown.tags)
    return _encode(top)


def _abbreviated(document: Packument, shown: Shown, base: str) -> bytes:
    top = {
        "name": document.name,
        "modified": document.modified,
        "dist-tags": dict(shown.tags),
        "versions": {
            version: _short_manifest(document.versions[version], document.name, version, base)
            for version in shown.versions
        },
    }
    if document.modified is None:
        del top["modified"]
    return _encode(top)


def _manifest(raw: Raw, name: str, version: str, base: str) -> Raw:
    try:
        found: dict[str, Any] = dict(members(raw))
    except UnreadableError:
        return raw
    _lead(found, name, version, base)
    return Raw(_encode(found))


def _short_manifest(raw: Raw, name: str, version: str, base: str) -> Raw:
    try:
        found = members(raw)
    except UnreadableError:
        return raw
    short: dict[str, Any] = {key: found[key] for key in _KEPT if key in found}
    if _has_install_script(found):
        short["hasInstallScript"] = _TRUE
    _lead(short, name, version, base)
    return Raw(_encode(short))


def _lead(manifest: dict[str, Any], name: str, version: str, base: str) -> None:
    """Have `dist.tarball` lead to us."""
    dist = manifest.get("dist")
    if dist is None:
        return
    try:
        told: dict[str, Any] = dict(members(dist))
    except UnreadableError:
        return
    told["tarball"] = Raw(orjson.dumps(tarball_url(name, version, base)))
    manifest["dist"] = Raw(_encode(told))


def _has_install_script(found: Mapping[str, Raw]) -> bool:
    if bytes(found.get("hasInstallScript", b"")) == b"true":
        return True
    scripts = found.get("scripts")
    if scripts is None:
        return False
    try:
        told = value(scripts)
    except UnreadableError:
        return False
    return isinstance(told, dict) and any(map(told.get, _INSTALL_SCRIPTS))
