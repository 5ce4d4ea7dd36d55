"""The daemon that a command works beside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from npmmirror.control.address import socket_path

if TYPE_CHECKING:
    from npmmirror.control.client import ControlClient


@asynccontextmanager
async def running_daemon(data_dir: Path) -> AsyncIterator["ControlClient | None"]:
    """The daemon of a data directory, or None; HTTP is loaded only where there may be one."""
    if not socket_path(data_dir).exists():
        yield None
        return
    from npmmirror.control.client import daemon_of  # noqa: PLC0415 - a tenth of a second

    async with daemon_of(data_dir) as daemon:
        yield daemon
