"""Which buffer the configuration asks for."""

from npmmirror.buffer.base import Buffer
from npmmirror.buffer.set_aside import SetAside
from npmmirror.buffer.sqlite import SqliteBuffer
from npmmirror.clock import Clock
from npmmirror.config import Config


async def open_buffer(config: Config, clock: Clock) -> Buffer:
    """The buffer of a mirror. A broker need not answer yet.

    Raises:
        NpmmirrorError: it cannot be used.
    """
    storage, section = config.storage, config.buffer
    if section.backend == "sqlite":
        return await SqliteBuffer.open(storage.data_dir / "buffer.db")
    from npmmirror.buffer.kafka import KafkaBuffer  # noqa: PLC0415 - others start without it
    from npmmirror.buffer.kafka_security import connection_options  # noqa: PLC0415 - as above

    aside = SetAside(storage.set_aside_path)
    return KafkaBuffer(section.kafka, connection_options(section.kafka), aside, clock.now)
