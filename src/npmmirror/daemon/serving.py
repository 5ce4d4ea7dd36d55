"""Serving the mirror: what `npmmirror serve` is, and what `npmmirror run` does beside following."""

from collections.abc import Callable
from pathlib import Path

import anyio
import structlog

from npmmirror.clock import Clock
from npmmirror.config import Config
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.signals import watch_signals
from npmmirror.errors import StorageError
from npmmirror.index import IndexReader
from npmmirror.pulled import Pulling
from npmmirror.server.app import App
from npmmirror.server.listener import AddressTakenError, Listener
from npmmirror.server.lists import read_withheld
from npmmirror.server.opening import open_resources

LOOK_SECONDS = 1.0
"""How often it is looked whether the index is another file: `npmmirror reindex` makes a new one."""
AGAIN_SECONDS = 10.0
"""How long the daemon waits before it tries an address again that is taken."""

log = structlog.get_logger(__name__)


async def serve(
    config: Config,
    *,
    stop: anyio.Event | None = None,
    tell: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Serve what is stored until SIGTERM or SIGINT (or `stop`): no lock, nothing written.

    The address may be shared with other processes that do the same. `tell` is given the URLs.

    Raises:
        NpmmirrorError: there is no mirror, or the address cannot be listened on.
    """
    await index_of(config)
    read_withheld(config.server)
    if config.server.unheld == "fetch":
        log.warning("unheld_hidden", detail='server.unheld = "fetch" is for run alone')
    stop = stop or anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch_signals, stop, tasks.cancel_scope)
        while not stop.is_set():
            await _serve_one_index(config, stop, tell)
        tasks.cancel_scope.cancel()


async def _serve_one_index(
    config: Config, stop: anyio.Event, tell: Callable[[list[str]], None]
) -> None:
    """Serve until told to stop, or until the index is another file, which can be used."""
    path = config.storage.index_path
    was = await _identity(path)
    async with open_resources(config.server, config.storage) as resources:
        app = App(resources)
        async with Listener(app, config.server, shared=True).open() as urls:
            log.info("serving", urls=urls)
            tell(urls)
            if await _replaced(path, was, stop):
                return
            app.draining = True
            log.info("serving_ends")


async def _replaced(path: Path, was: tuple[int, int] | None, stop: anyio.Event) -> bool:
    """Wait until the index is another file which can be used; False: until told to stop.

    One that is begun anew cannot be used at first.
    """
    refused = was
    while not stop.is_set():
        with anyio.move_on_after(LOOK_SECONDS):
            await stop.wait()
        found = await _identity(path)
        if found in {was, None}:
            continue
        try:
            async with await IndexReader.open(path):
                log.info("index_replaced", path=str(path))
                return True
        except StorageError as error:
            if found != refused:
                log.warning("index_unusable", path=str(path), error=str(error))
            refused = found
    return False


async def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is; None where there is none, as for a moment of a rebuild."""
    try:
        found = await anyio.Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


async def serve_beside(
    config: Config,
    clock: Clock,
    draining: anyio.Event,
    *,
    pulling: Pulling | None = None,
    on_commit: list[Callable[[], None]] | None = None,
    started: anyio.Event | None = None,
) -> None:
    """The daemon's own server, until cancelled; `draining` is set once the daemon is told to stop.

    `pulling` fetches what is not held, where that is wanted; whoever is in `on_commit` is told of each
    commit. An address that is taken stops no mirror: it is tried again until it is free.
    """
    if not config.server.listen:
        return
    async with open_resources(config.server, config.storage, pulling) as resources:
        if on_commit is not None:
            on_commit.append(resources.news.tell)
        app = App(resources)
        while True:
            try:
                async with Listener(app, config.server).open() as urls:
                    log.info("serving", urls=urls)
                    if started is not None:
                        started.set()
                    await draining.wait()
                    app.draining = True
                    await anyio.sleep_forever()
            except AddressTakenError as error:
                log.error("not_serving", error=str(error), again_seconds=AGAIN_SECONDS)  # noqa: TRY400 - no bug of ours
            await clock.sleep(AGAIN_SECONDS)
