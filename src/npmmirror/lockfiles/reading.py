"""Which program wrote a lock file is told by what is in it, not by its name."""

import re
from collections.abc import Sequence
from typing import Any

from npmmirror.lockfiles.locked import Lockfile, LockfileError
from npmmirror.lockfiles.npm import read_npm
from npmmirror.lockfiles.pnpm import read_pnpm
from npmmirror.lockfiles.yaml_text import documents
from npmmirror.lockfiles.yarn_berry import METADATA, read_yarn_berry
from npmmirror.lockfiles.yarn_classic import read_yarn_classic

MAX_BYTES = 64 << 20
"""The largest that are known have some ten megabytes."""

_BOM = b"\xef\xbb\xbf"
_YAML = re.compile(rb"^(?:lockfileVersion|__metadata)\s*:", re.MULTILINE)


def read(raw: bytes) -> Lockfile:
    """Read a lock file of npm, pnpm or Yarn.

    Raises:
        LockfileError: it is none of them, or not as they write it; nothing else is raised.
    """
    if len(raw) > MAX_BYTES:
        raise LockfileError(f"it has {len(raw):,} bytes, and {MAX_BYTES:,} are the most")
    text = raw.removeprefix(_BOM)
    if text.lstrip()[:1] == b"{":
        return read_npm(text)
    if _YAML.search(text):
        return _of_yaml(list(documents(text)))
    if b"yarn lockfile v1" in text[:1024]:
        return read_yarn_classic(text)
    raise LockfileError("it is no lock file of npm, pnpm or Yarn")


def _of_yaml(found: Sequence[Any]) -> Lockfile:
    if len(found) == 1 and isinstance(found[0], dict) and METADATA in found[0]:
        return read_yarn_berry(found[0])
    return read_pnpm(found)
