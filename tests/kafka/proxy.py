"""A relay between a mirror and its broker that can be cut."""

import asyncio
import threading
from typing import Self


class Proxy:
    """Listens at an address of its own and relays to `target`, in a thread of its own."""

    def __init__(self, listen: str, target: str) -> None:
        self._listen = listen
        self._target = target
        self.connections = 0
        """How many were taken, whether or not the target took them, too."""
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.mend()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Take the server down and break what is connected."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(10)

    def mend(self) -> None:
        """Listen again."""
        asyncio.run_coroutine_threadsafe(self._mend(), self._loop).result(10)

    async def _mend(self) -> None:
        host, _, port = self._listen.rpartition(":")
        self._server = await asyncio.start_server(self._relay, host, int(port))

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in [*self._writers]:
            writer.transport.abort()
        while self._writers:  # noqa: ASYNC110 - the relays end by themselves
            await asyncio.sleep(0.01)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, _, port = self._target.rpartition(":")
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection(host, int(port))
            self._writers.add(back)
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
            self._writers.discard(back)
        except OSError:
            writer.transport.abort()
        finally:
            self._writers.discard(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()
