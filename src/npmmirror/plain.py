"""The facts of a manifest that is as npm writes it: decoded straight into their places.

Nearly all are, and a package seen for the first time has dozens: this takes a third of the time
that `Manifest.parse` takes. Whatever is of another type than npm's is left to that.
"""

from typing import Any

import msgspec

from npmmirror.effects import VersionFacts
from npmmirror.jsontext import MAX_INTEGER, Raw


class Signing(msgspec.Struct, gc=False):
    """What of a manifest's `dist` is signed, and by what; all as it came."""

    integrity: Any = None
    shasum: Any = None
    signatures: Any = None
    attestations: Any = None


class _Dist(Signing, gc=False):
    tarball: str | None = None
    shasum: str | None = None
    integrity: str | None = None
    file_count: int | None = msgspec.field(default=None, name="fileCount")
    unpacked_size: int | None = msgspec.field(default=None, name="unpackedSize")


class _Person(msgspec.Struct, gc=False):
    name: str | None = None
    email: str | None = None


class _Scripts(msgspec.Struct, gc=False):
    preinstall: str | None = None
    install: str | None = None
    postinstall: str | None = None


class _Plain(msgspec.Struct, gc=False):
    dist: _Dist | None = None
    license: str | None = None
    licenses: None = None
    publisher: _Person | None = msgspec.field(default=None, name="_npmUser")
    deprecated: str | None = None
    scripts: _Scripts | None = None
    has_install_script: bool | None = msgspec.field(default=None, name="hasInstallScript")


NOT_SIGNED = Signing()
_NO_DIST = _Dist()
_decode = msgspec.json.Decoder(_Plain).decode
_NOT_PLAIN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def plain_facts(
    raw: Raw, *, version: str, digest: bytes, published_at: str | None
) -> tuple[VersionFacts, Signing] | None:
    """What `Manifest.facts` would say, and what signatures are about; None where only that can tell."""
    try:
        plain = _decode(raw)
    except _NOT_PLAIN:
        return None
    dist = plain.dist or _NO_DIST
    if not (_is_count(dist.file_count) and _is_count(dist.unpacked_size)):
        return None
    publisher, scripts = plain.publisher, plain.scripts
    facts = VersionFacts(
        version=version,
        digest=digest,
        published_at=published_at,
        tarball=dist.tarball,
        shasum=dist.shasum,
        integrity=dist.integrity,
        file_count=dist.file_count,
        unpacked_size=dist.unpacked_size,
        license=plain.license,
        publisher=(publisher.name or publisher.email or None) if publisher else None,
        deprecated=plain.deprecated or None,
        has_install_script=bool(
            plain.has_install_script
            or (scripts and (scripts.preinstall or scripts.install or scripts.postinstall))
        ),
    )
    return facts, dist


def _is_count(number: int | None) -> bool:
    return number is None or 0 <= number <= MAX_INTEGER
