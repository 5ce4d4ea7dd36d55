"""The manifest of a version as npm publishes it, with `dist` and the fields npm adds."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from npmmirror.testing import tarball

KEYID = "SHA256:c2NyaXB0ZWQtdXBzdHJlYW0tbm9uZS1zdWNoLWtleS0"
"""The key that the invented signatures name. There is no such key."""

SCRIPTS = {"test": "node test.js"}
_SHIPPED = frozenset(
    {
        *("dependencies", "optionalDependencies", "peerDependencies", "bundleDependencies"),
        *("devDependencies", "scripts", "bin", "directories"),
    }
)

SECURITY_VERSION = "0.0.1-security"


def make(name: str, version: str, *, publisher: str, dist: Mapping[str, Any]) -> dict[str, Any]:
    """A plain manifest, its keys in npm's order."""
    author = person(publisher)
    return {
        "name": name,
        "version": version,
        "author": author,
        "license": "MIT",
        "_id": f"{name}@{version}",
        "maintainers": [author],
        "homepage": f"https://code.example/{publisher}/{_slug(name)}#readme",
        "bugs": {"url": f"https://code.example/{publisher}/{_slug(name)}/issues"},
        "dist": dict(dist),
        "main": "index.js",
        "gitHead": _digest(name, version, "git")[:40],
        "scripts": dict(SCRIPTS),
        "_npmUser": author,
        "repository": {
            "url": f"git+https://code.example/{publisher}/{_slug(name)}.git",
            "type": "git",
        },
        "_npmVersion": "11.4.2",
        "description": f"The package {name}",
        "directories": {},
        "_nodeVersion": "24.3.0",
        "dependencies": {},
        "_hasShrinkwrap": False,
    }


def dist_of(
    name: str, version: str, *, archive: bytes, files: Mapping[str, bytes], base: str
) -> dict[str, Any]:
    """What npm says of a tarball at the registry `base`; the signature has the right form and no key."""
    said = tarball.integrity(archive)
    return {
        "shasum": tarball.sha1(archive),
        "tarball": base + tarball.path_of(name, version),
        "fileCount": len(files),
        "integrity": said,
        "signatures": [{"sig": signature(f"{name}@{version}:{said}"), "keyid": KEYID}],
        "unpackedSize": sum(map(len, files.values())),
    }


def security_placeholder(name: str, *, base: str) -> tuple[dict[str, Any], bytes]:
    """The manifest and tarball that npm puts in the place of malware."""
    files = {
        "package.json": package_json(name, SECURITY_VERSION),
        "README.md": b"# Security holding package\n",
    }
    archive = tarball.pack(files)
    dist = dist_of(name, SECURITY_VERSION, archive=archive, files=files, base=base)
    manifest = make(name, SECURITY_VERSION, publisher="npm", dist=dist)
    manifest["description"] = "security holding package"
    manifest["repository"] = "npm/security-holder"
    return manifest, archive


def package_json(name: str, version: str, keys: Mapping[str, Any] | None = None) -> bytes:
    """The file `package.json` of a version; `keys` are those of its manifest that `make` invents not."""
    said = {"name": name, "version": version, "license": "MIT", "main": "index.js"}
    said |= {"scripts": SCRIPTS} | {
        key: (keys or {})[key] for key in _SHIPPED & (keys or {}).keys()
    }
    return json.dumps(said, indent=2).encode() + b"\n"


def person(name: str) -> dict[str, str]:
    """An account as documents name it."""
    return {"name": name, "email": f"{name}@people.example"}


def signature(message: str) -> str:
    """A string of the form of npm's: DER of two P-256 numbers in base64. It verifies nothing."""
    numbers = hashlib.sha512(message.encode("utf-8", "surrogatepass")).digest()
    body = b"".join(_der_integer(part) for part in (numbers[:32], numbers[32:]))
    return base64.b64encode(b"\x30" + bytes([len(body)]) + body).decode()


def _der_integer(number: bytes) -> bytes:
    padded = b"\0" + number if number[0] & 0x80 else number
    return b"\x02" + bytes([len(padded)]) + padded


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _slug(name: str) -> str:
    return name.replace("@", "").replace("/", "-")
