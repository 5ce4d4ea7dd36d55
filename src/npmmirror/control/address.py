"""Where the control socket lies."""

import hashlib
import os
import tempfile
from pathlib import Path

LONGEST_PATH = 107
"""Bytes that the kernel takes for the path of a Unix socket."""


def socket_path(data_dir: Path) -> Path:
    """`<data_dir>/control.sock`, or a short path made of its digest where that is too long."""
    path = data_dir.resolve() / "control.sock"
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    return Path(runtime) / f"npmmirror-{os.getuid()}-{digest}.sock"
