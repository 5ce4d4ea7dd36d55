"""`npmmirror prune`: the tarballs that the present policy wants no longer, found and let go."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import orjson
import structlog

from npmmirror.clock import timestamp
from npmmirror.config import Config
from npmmirror.daemon.index_file import index_of
from npmmirror.daemon.mirror import Mirror
from npmmirror.daemon.selecting import read_policy
from npmmirror.errors import NpmmirrorError, StorageError, UsageError
from npmmirror.index import IndexReader, Resumption, shelf
from npmmirror.index.shelf import Shelf
from npmmirror.pipeline.retiring import NOTE, Retired, candidates, retired
from npmmirror.policy import Policy
from npmmirror.policy.retention import surplus
from npmmirror.sqlite import Row

COMMAND: Final = "prune"
PAGE: Final = 200
VERSIONS: Final = 5_000
"""Packages, and versions of them, that are looked at together; the gates of those that lose
something are held at a time."""
LISTED: Final = 1000
"""Files that a report lists."""

Report = dict[str, Any]
Tell = Callable[[Report], None]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Tally:
    """What was found. `rules` counts files and bytes by the rule that lets them go."""

    packages: int = 0
    files: int = 0
    bytes: int = 0
    rules: dict[str, dict[str, int]] = field(default_factory=dict)
    listed: list[dict[str, Any]] = field(default_factory=list)

    def add(self, files: list[Retired]) -> None:
        """Count files in."""
        for one in files:
            self.files += 1
            self.bytes += one.size
            sums = self.rules.setdefault(one.detail.partition(": ")[0], {"files": 0, "bytes": 0})
            sums["files"] += 1
            sums["bytes"] += one.size
            if len(self.listed) < LISTED:
                self.listed.append(
                    {
                        "package": one.package,
                        "version": one.version,
                        "bytes": one.size,
                        "rule": one.detail,
                    }
                )

    def report(self, *, dry_run: bool) -> Report:
        """As `npmmirror prune --json` prints it."""
        return {
            "dry_run": dry_run,
            "packages": self.packages,
            "files": self.files,
            "bytes": self.bytes,
            "rules": self.rules,
            "listed": self.listed,
            "left_out": self.files - len(self.listed),
        }

    def progress(self) -> Report:
        """In the shape that `npmmirror.cli.progress.Meter` shows."""
        return {
            "phase": COMMAND,
            "done": self.packages,
            "total": None,
            "bytes": self.bytes,
            "total_bytes": None,
        }


async def plan(config: Config, tell: Tell) -> Report:
    """What a prune would let go by the configuration that is there; nothing is changed.

    Raises:
        StorageError: there is no mirror, or its index cannot be read.
        ConfigurationError: a list of names cannot be read.
    """
    policy, tally = read_policy(config.policy), Tally()
    async with await IndexReader.open(await index_of(config), connections=1) as reader:
        async for page in _pages(reader, ""):
            for files in _going(policy, page):
                tally.add(files)
            tally.packages += len(page)
            tell(tally.progress())
    return tally.report(dry_run=True)


async def prune(mirror: Mirror, digest: str, tell: Tell) -> Report:
    """Let go what the policy of an open mirror wants no longer; cut off, the next call goes on.

    `digest` is that of the policy that whoever asks has read.

    Raises:
        UsageError: the mirror runs with another policy.
        StorageError: files could not be deleted.
    """
    policy = mirror.opened.policy
    if digest != policy.digest:
        raise UsageError(
            "the daemon runs with another policy than the configuration has now: restart it first "
            "(`npmmirror prune --dry-run` goes by the configuration)"
        )
    await finish(mirror)
    tally, after = Tally(), await _place(mirror, digest)
    started_at = timestamp(mirror.clock.now())
    async for page in _pages(mirror.opened.reader, after):
        files = await mirror.threads.run(_going, policy, page)
        if names := [each[0].package for each in files if each]:
            tally.add(await _let_go(mirror, policy, names))
        tally.packages += len(page)
        place = orjson.dumps({"digest": digest, "after": page[-1][0]}).decode()
        await mirror.opened.index.note_resumption(Resumption(COMMAND, started_at, place))
        tell(tally.progress())
    await mirror.opened.index.forget_resumption(COMMAND)
    log.info("pruned", packages=tally.packages, files=tally.files, bytes=tally.bytes)
    return tally.report(dry_run=False)


async def finish(mirror: Mirror) -> None:
    """Delete the files that were let go before a kill.

    Raises:
        StorageError: they cannot be deleted now.
    """
    note = await mirror.opened.reader.resumption(NOTE)
    if note is None:
        return
    async with mirror.holding.holding({name for name, _, _ in orjson.loads(note.place)}):
        if not await mirror.retirer.settle():
            raise StorageError(_REMAIN)


async def finish_early(mirror: Mirror) -> None:
    """The same at the start, where the next one does it if it cannot be done now."""
    try:
        await finish(mirror)
    except NpmmirrorError:
        return


def _going(policy: Policy, page: Sequence[Row]) -> list[list[Retired]]:
    """Of each package of a page: in a thread, where a loop runs."""
    return [going(policy, shelf.read(row)) for row in page]


def going(policy: Policy, found: Shelf) -> list[Retired]:
    """The files of a package that the policy wants no longer."""
    drops = surplus(policy, found.package, found.state, candidates(found), found.latest)
    return retired(found, {version: drop.detail for version, drop in drops.items()})


async def _let_go(mirror: Mirror, policy: Policy, names: list[str]) -> list[Retired]:
    """Look once more, for something may have come in between, and let go."""
    async with mirror.holding.holding(names):
        files: list[Retired] = []
        for name in names:
            row = await mirror.opened.reader.ask(partial(shelf.row, name=name))
            if row is not None:
                files += (await mirror.threads.run(_going, policy, [row]))[0]
        if not await mirror.retirer.retire(files, names):
            raise StorageError(_REMAIN)
    return files


async def _pages(reader: IndexReader, after: str) -> AsyncIterator[list[Row]]:
    """All packages with their held files, some at a time, as rows of their shelves."""
    while page := await reader.ask(
        partial(shelf.page, asked=shelf.Page(after, PAGE, VERSIONS, held_only=True))
    ):
        yield page
        after = page[-1][0]


async def _place(mirror: Mirror, digest: str) -> str:
    """Where an earlier prune by the same policy left off."""
    note = await mirror.opened.reader.resumption(COMMAND)
    if note is None:
        return ""
    place = orjson.loads(note.place)
    return str(place["after"]) if place["digest"] == digest else ""


_REMAIN = (
    "files that are held no longer cannot be deleted now: is the disk of the tarballs there? "
    "The next prune, or the next start, deletes them"
)
