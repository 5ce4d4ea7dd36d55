"""Small real tarballs, the same bytes for the same files."""

import base64
import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from random import Random

_STORED_FROM = 16_384


def pack(files: Mapping[str, bytes]) -> bytes:
    """A gzipped tar as npm packs it: every path lies under `package/`, all times are alike.

    Large ones are gzipped without being compressed: they are filler, and time is dear.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, body in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(body)
            entry.mtime = 499_162_500  # npm's own constant, 1985-10-26T08:15:00Z
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(body))
    return _gzip(archive.getvalue())


def _gzip(body: bytes) -> bytes:
    level = 6 if len(body) < _STORED_FROM else 0
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def filler(size: int, seed: str) -> bytes:
    """`size` bytes that do not compress, the same for the same seed."""
    return Random(seed).randbytes(size)


def sha1(body: bytes) -> str:
    """The hex digest that npm calls `shasum`."""
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


def integrity(body: bytes) -> str:
    """The SRI string that npm calls `integrity`."""
    return "sha512-" + base64.b64encode(hashlib.sha512(body).digest()).decode()


def file_name(name: str, version: str) -> str:
    """The file name that npm gives a version's tarball: the scope is left out."""
    return f"{name.rpartition('/')[2] if name.startswith('@') else name}-{version}.tgz"


def path_of(name: str, version: str) -> str:
    """The path (not percent-encoded) that npm serves a version's tarball under."""
    return f"/{name}/-/{file_name(name, version)}"
