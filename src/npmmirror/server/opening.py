"""Opening what a server reads, without a lock and read-only: index, capture log, tarballs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from npmmirror.archive import CaptureReader
from npmmirror.config import ServerSection, StorageSection
from npmmirror.index import IndexReader
from npmmirror.index.searching import NameSearch
from npmmirror.pulled import Pulling
from npmmirror.server.addresses import Addresses
from npmmirror.server.changes import Changes, DataVersion
from npmmirror.server.lists import read_withheld
from npmmirror.server.ready import ReadyAnswers
from npmmirror.server.replication.news import News
from npmmirror.server.resources import Resources
from npmmirror.server.stock import Stock
from npmmirror.server.visibility import Visibility
from npmmirror.worker_threads import WorkerThreads

THREADS: Final = 2
FILE_THREADS: Final = 4
HUNG_SECONDS: Final = 1.0
"""How long a call to a disk that hangs is waited for at the end."""


@asynccontextmanager
async def open_resources(
    section: ServerSection, storage: StorageSection, pulling: Pulling | None = None
) -> AsyncIterator[Resources]:
    """What a server works with, open inside the block; `pulling` fetches what is not held.

    Raises:
        StorageError: the index cannot be used.
        ConfigurationError: the withheld list cannot be read.
    """
    visibility = Visibility(read_withheld(section), fetches=pulling is not None)
    async with AsyncExitStack() as stack:
        threads = stack.enter_context(
            WorkerThreads(THREADS, "npmmirror-answers", patience=HUNG_SECONDS)
        )
        files = stack.enter_context(
            WorkerThreads(FILE_THREADS, "npmmirror-served", patience=HUNG_SECONDS)
        )
        index = await stack.enter_async_context(await IndexReader.open(storage.index_path))
        version, waited = DataVersion(storage.index_path), DataVersion(storage.index_path)
        stack.callback(version.close)
        stack.callback(waited.close)
        search = stack.enter_context(NameSearch(storage.index_path))
        searching = stack.enter_context(WorkerThreads(1, "npmmirror-search"))
        captures = stack.enter_context(CaptureReader(storage.data_dir / "captures"))
        stock = Stock(lambda: index, captures, storage.packages_path, threads)
        ready = ReadyAnswers(section.cache_bytes, Changes(version).look)
        addresses, news = Addresses(section), News(waited.has_changed)
        yield Resources(
            section,
            stock,
            ready,
            threads,
            files,
            addresses,
            visibility,
            news,
            search,
            searching,
            pulling,
        )
