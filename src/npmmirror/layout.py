"""Where tarballs lie: safe, reversible file names for whatever upstream calls its packages.

A name becomes one path segment. Lower-case letters, digits and `-_.@~+` stand for themselves;
every other byte of its UTF-8 is `%xx`, capitals included, so that names that differ by case alone
stay apart where file systems ignore case; so is a dot at the beginning or end. `%` before anything
but two hex digits marks what is no plain encoding: `%e` the empty text, `%h` a text too long, cut
and followed by the SHA-256 of its whole encoding.
"""

import hashlib
import re

_MAX_NAME = 160
_MAX_STEM = 200
"""Leaves room within the 255 bytes of a file name for what others append to a temp copy."""

_READABLE = 60
_ENCODED = re.compile(r"(?:[a-z0-9\-_.@~+]|%[0-9a-f]{2})+")
_UNSAFE = re.compile(rb"[^a-z0-9\-_.@~+]|\A\.|\.\Z")
_ESCAPE = re.compile(rb"%([0-9a-f]{2})")
_CUT_ESCAPE = re.compile(r"%.?\Z")
_SUFFIX = ".tgz"


def encode_name(name: str) -> str:
    """A package's name (or any text) as one path segment of at most 160 bytes."""
    return _shortened(_encode(name), _MAX_NAME)


def decode_name(segment: str) -> str | None:
    """The name that `encode_name` made a segment of; None where it made none, or hashed it."""
    name = _decode(segment)
    return None if name is None or encode_name(name) != segment else name


def tarball_path(name: str, version: str, hash_length: int) -> str:
    """Where a version's tarball lies, relative to `storage.packages_dir`, with `/` between.

    `hash_length` is the number of hex digits of the name's SHA-256 in the first directory; 0: none.
    """
    directory = _digest(name)[:hash_length]
    folder = encode_name(name)
    path = f"{folder}/{_file_stem(name, version)}{_SUFFIX}"
    return f"{directory}/{path}" if directory else path


def package_directories(name: str) -> list[str]:
    """Every directory, relative to `storage.packages_dir`, that may hold tarballs of a package.

    Whatever `hash_length` was when a file was stored. Only what lies in them directly is the
    package's: where `hash_length` is 0, its directory may bear the name of a hash.
    """
    folder, digest = encode_name(name), _digest(name)
    return [folder, *(f"{digest[:length]}/{folder}" for length in range(1, len(digest) + 1))]


def split_path(path: str) -> tuple[str, str] | None:
    """Name and version of a file found under `storage.packages_dir`; None: not told by its path.

    Any `hash_length` will do, so that files of an earlier setting are recognised.
    """
    *_, folder, file = "", *path.split("/")
    name = decode_name(folder)
    stem = file.removesuffix(_SUFFIX)
    if name is None or stem == file or not stem.startswith(f"{folder}-"):
        return None
    version = _decode(stem[len(folder) + 1 :])
    return None if version is None or _file_stem(name, version) != stem else (name, version)


def _file_stem(name: str, version: str) -> str:
    return _shortened(f"{encode_name(name)}-{_encode(version)}", _MAX_STEM)


def _encode(text: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    return _UNSAFE.sub(lambda found: b"%%%02x" % found[0][0], raw).decode() or "%e"


def _decode(encoded: str) -> str | None:
    if encoded == "%e":
        return ""
    if _ENCODED.fullmatch(encoded) is None:
        return None
    raw = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), encoded.encode())
    try:
        text = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return text if _encode(text) == encoded else None


def _shortened(encoded: str, limit: int) -> str:
    if len(encoded) <= limit:
        return encoded
    readable = _CUT_ESCAPE.sub("", encoded[:_READABLE])
    return f"{readable}%h{_digest(encoded)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
