"""A look at how complete a mirror is, beside a running daemon or without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from npmmirror.clock import SystemClock
from npmmirror.config import Config
from npmmirror.daemon.coverage.counting import Coverage
from npmmirror.daemon.coverage.selection import Selection
from npmmirror.daemon.coverage.tally import Report, Tally
from npmmirror.daemon.coverage.wishes import Wishes
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.selecting import read_policy
from npmmirror.daemon.verification.bench import Ticker
from npmmirror.daemon.verification.tally import Tell
from npmmirror.index import IndexReader


@asynccontextmanager
async def looking(config: Config, tell: Tell) -> AsyncIterator[tuple[IndexReader, Coverage]]:
    """Open the index to look at it; `tell` is told of the progress.

    Raises:
        StorageError: there is none, or it cannot be read.
        ConfigurationError: a list of names that the policy refers to cannot be read.
    """
    path = await index_of(config)
    policy = read_policy(config.policy)
    async with await IndexReader.open(path, connections=1) as reader:
        yield reader, Coverage(reader, Wishes(policy), Ticker(tell, SystemClock()))


async def report_of(reader: IndexReader, selection: Selection, tally: Tally) -> Report:
    """What was counted, as `npmmirror coverage --json` prints it."""
    mark = await reader.last_mark()
    return {
        "asked": list(selection.patterns) or None,
        "complete": tally.whole,
        **tally.report(),
        "last_commit": None
        if mark is None
        else {"ordinal": mark.ordinal, "committed_at": mark.committed_at},
    }
