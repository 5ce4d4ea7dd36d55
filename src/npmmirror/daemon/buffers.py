"""Which buffer the configuration asks for."""

from npmmirror.buffer.base import Buffer
from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.config import Config


async def open_buffer(config: Config) -> Buffer:
    """The buffer of a mirror. A broker need not answer yet.

    Raises:
        NpmmirrorError: it cannot be used.
    """
    return await SqliteBuffer.open(config.storage.data_dir / "buffer.db")
