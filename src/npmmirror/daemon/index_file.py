"""Where the index is, for those who only look."""

from pathlib import Path

import anyio

from npmmirror.config import Config
from npmmirror.daemon.unfinished import refuse_half_reset
from npmmirror.errors import StorageError


async def index_of(config: Config) -> Path:
    """The path of the index.

    Raises:
        StorageError: there is none; the sentence says what to do.
    """
    refuse_half_reset(config.storage.data_dir)
    path, data_dir = config.storage.index_path, config.storage.data_dir
    if await anyio.Path(path).exists():
        return path
    if [path async for path in anyio.Path(data_dir, "captures").glob("*.log")]:
        raise StorageError(f"{data_dir} has a capture log and no index: run `npmmirror reindex`")
    raise StorageError(
        f"there is no mirror in {data_dir} yet; `npmmirror sync NAME` or `npmmirror run` begins one"
    )
