"""The one writer of index.db: each call is one transaction, whole or not at all."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from npmmirror.change import Seq
from npmmirror.effects import Known
from npmmirror.failpoints import reach
from npmmirror.index import (
    bookkeeping,
    bringing,
    carrying,
    known,
    shelf,
    statements,
)
from npmmirror.index.commit import Clean, packages_of, put_group
from npmmirror.index.feed_notes import FeedNotes
from npmmirror.index.group import (
    Check,
    Group,
    KeptReceipt,
    Mark,
    Resumption,
    StoredFollowing,
)
from npmmirror.index.rows import cleaned
from npmmirror.index.schema import KIND, IndexUnavailableError, Schema, own
from npmmirror.outcome import WorkItem
from npmmirror.receipt import Position, Receipt
from npmmirror.sqlite import Database, Transaction

T = TypeVar("T")

UNFINISHED_RECEIPTS: Final = 1000
"""Receipts of pages not yet worked off that are kept; each is a place to go back to."""


class IndexWriter:
    """Puts groups into the index. Made by `IndexWriter.open`; used from one event loop.

    All methods raise `IndexUnavailableError` where the file cannot be written now: nothing of the
    call took effect then, and it may be repeated. `StorageError` otherwise tells of damage.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.feed_notes = FeedNotes(database)

    @classmethod
    async def open(cls, path: Path, schema: Schema | None = None, *, lazy: bool = False) -> Self:
        """Open index.db; made where it is not there, brought up to date where it is old.

        One that is being rebuilt may be `lazy`: a loss of power costs its newest commits.

        Raises:
            StorageError: it is damaged, another program's, or newer than this one.
        """
        database = await Database.open(path, KIND, lazy=lazy)
        try:
            await (schema or own()).prepare(database, path)
        except BaseException:
            await database.close()
            raise
        return cls(database)

    async def close(self) -> None:
        """Close the file, once the transaction under way is over."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        """The writer itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close it."""
        await self.close()

    async def commit(self, group: Group) -> None:
        """Make a group's effects visible, all together. Cancelling it does not cut it short.

        Raises:
            ValueError: a package has more than one document with effects, or `gone`.
        """
        _check_singular(group)
        try:
            await self._commit(group, lambda rows: rows)
        except (UnicodeEncodeError, OverflowError):
            # Documents may hold text and numbers that SQLite cannot. That is rare, and looking at
            # each value in advance would cost more than the whole insertion.
            await self._commit(group, lambda rows: map(cleaned, rows))

    async def _commit(self, group: Group, clean: Clean) -> None:
        async with self._database.transaction() as now:
            await now.whole(partial(put_group, group=group, clean=clean))
            reach("index.before_commit")
        reach("index.committed")

    async def known(self, name: str) -> Known | None:
        """What is known of a package; None where nothing of it was captured."""
        async with self._database.moment() as now:
            return (await known.known(now, [name])).get(name)

    async def receive_page(self, receipt: Receipt, at: str) -> int:
        """Keep a page's receipt and advance the cursor with it; the receipt's number."""
        async with self._database.transaction() as now:
            return await bookkeeping.receive(now, receipt, at, keep=UNFINISHED_RECEIPTS)

    async def receipts(self) -> list[KeptReceipt]:
        """The receipts that are kept, oldest first; the newest finished one among them."""
        async with self._database.moment() as now:
            return await bookkeeping.receipts(now)

    async def rewind(self, cursor: Seq, checkpoint: Position, last_receipt: int | None) -> None:
        """Go back: set cursor and checkpoint, forget the receipts behind `last_receipt`.

        None forgets them all. Also sets the first cursor and checkpoint of a new index.
        """
        async with self._database.transaction() as now:
            await bookkeeping.rewind(now, cursor, checkpoint, last_receipt)

    async def cursor(self) -> Seq | None:
        """The feed's cursor; None before the first."""
        async with self._database.moment() as now:
            return (await bookkeeping.progress(now))[0]

    async def checkpoint(self) -> Position | None:
        """The position before which everything is finished; None before the first."""
        async with self._database.moment() as now:
            return (await bookkeeping.progress(now))[1]

    async def last_mark(self) -> Mark | None:
        """How far the capture log is indexed; None where nothing of it is."""
        async with self._database.moment() as now:
            return await bookkeeping.last_mark(now)

    async def following(self) -> StoredFollowing | None:
        """The first start of following; None where there was none."""
        async with self._database.moment() as now:
            return await bookkeeping.first_following(now)

    async def last_following(self) -> StoredFollowing | None:
        """The newest start of following; None where there was none."""
        async with self._database.moment() as now:
            return await bookkeeping.last_following(now)

    async def retry(
        self, at: str, packages: Sequence[str] | None = None, *, dead_only: bool = True
    ) -> int:
        """Make rows of the work list due `at`, with all attempts before them; how many.

        Of these packages, or of all; dead letters, or also rows that wait for a later time.
        """
        async with self._database.transaction() as now:
            return await bookkeeping.retry(now, at, packages, dead_only=dead_only)

    async def recall(self, at: str, latest: str) -> int:
        """Make rows of the work list due `at` that wait for a time behind `latest`; how many."""
        async with self._database.transaction() as now:
            return await bookkeeping.recall(now, at, latest)

    async def record_checks(self, checks: Sequence[Check]) -> None:
        """Note the results of hashing held files again. Packages not known are passed over."""
        async with self._database.transaction() as now:
            packages = await packages_of(now, [], [check.name for check in checks])
            rows = [
                (packages[check.name].id, check.version, check.at, check.result, check.detail)
                for check in checks
                if check.name in packages
            ]
            await now.run_batch(statements.CHECK, map(cleaned, rows))

    async def drop_unwanted(self) -> None:
        """Take off the work list the tarballs that upstream has no longer."""
        async with self._database.transaction() as now:
            await carrying.drop_unwanted(now)

    async def carry(self, old: Path) -> bool | None:
        """Take over from the index before what the archive does not tell.

        Returns:
            Whether the log holds all that it was made of; None where it cannot be read, and nothing
            was taken over.
        """
        try:
            async with self._database.beside(old) as now:
                return await carrying.carry(now)
        except sqlite3.Error:
            return None

    async def carry_progress(self, old: Path) -> None:
        """Take over cursor, checkpoint and receipts alone: what is read of the feed, not its fruit.

        Raises:
            IndexUnavailableError: the index before cannot be read.
        """
        try:
            async with self._database.beside(old) as now:
                await carrying.carry_progress(now)
        except sqlite3.Error as error:
            raise IndexUnavailableError(f"The index {old} cannot be read: {error}.") from error

    async def forget_cursor(self) -> None:
        """Forget where the feed was read to: the next start of following begins anew."""
        async with self._database.transaction() as now:
            await bookkeeping.forget_cursor(now)

    async def take_bearings(self, at: str) -> None:
        """Have a place to follow the feed from, and ask for a reconciliation."""
        async with self._database.transaction() as now:
            await carrying.take_bearings(now, at)

    async def vacuum(self) -> None:
        """Write the whole file anew, so that nothing is left in it of what was ever deleted."""
        async with self._database.bare() as now:
            await now.run("VACUUM")

    async def resumption(self, command: str) -> Resumption | None:
        """How far a long command came; None where it is not in the middle of anything."""
        async with self._database.moment() as now:
            return await bookkeeping.resumption(now, command)

    async def marked_cursor(self) -> Seq | None:
        """The newest cursor that a mark of the log tells; None where none does."""
        async with self._database.moment() as now:
            return await bookkeeping.last_marked_cursor(now)

    async def newest_ordinal(self) -> int:
        """The newest record that left a row, those of files aside; 0 in a new index.

        It is the last mark, but where a group was committed whose mark is damaged.
        """
        async with self._database.moment() as now:
            return await bookkeeping.newest_ordinal(now)

    async def do(self, step: Callable[[Transaction], Coroutine[Any, Any, T]]) -> T:
        """Take a step of another module of this room, as one transaction."""
        async with self._database.transaction() as now:
            return await now.whole(step)

    async def note_resumption(self, note: Resumption) -> None:
        """Note how far a long command came."""
        async with self._database.transaction() as now:
            await bookkeeping.note_resumption(now, note)

    async def bring(
        self,
        names: Sequence[bringing.Name],
        how: bringing.Bringing,
        note: Callable[[bringing.Brought], Resumption] | None = None,
    ) -> bringing.Brought:
        """Put packages on the work list that a listing or a file names; see `Bringing`.

        What `note` makes of the result is kept in the same transaction: how far it came.
        """
        async with self._database.transaction() as now:
            brought = await now.whole(partial(_bring, names, how))
            if note is not None:
                await bookkeeping.note_resumption(now, note(brought))
            reach("bring.before_commit")
        reach("bring.committed")
        return brought

    async def withdraw(self, who: str) -> int:
        """Give up what somebody brings: his note, and his rows that nobody tried; how many.

        Both at once: rows without the note would be fetched as if nobody had given them up.
        """
        async with self._database.transaction() as now:
            await bookkeeping.forget_resumption(now, who)
            return await bringing.withdraw(now, who)

    async def end_resumption(self, note: Resumption, key: str, value: str) -> None:
        """A long command came to its end: keep what is to be known of it, and forget its note.

        A note that somebody made anew in the meantime stays.
        """
        async with self._database.transaction() as now:
            await bringing.set_meta(now, key, value)
            await now.run(
                "DELETE FROM resumptions WHERE command = ? AND started_at = ?",
                (note.command, note.started_at),
            )

    async def begin_cursor(self, cursor: Seq) -> Seq:
        """Set the feed's cursor where there is none; the cursor that stands."""
        async with self._database.transaction() as now:
            known, _ = await bookkeeping.progress(now)
            if known is None:
                await bookkeeping.set_cursor(now, cursor)
        return cursor if known is None else known

    async def apply_policy(self, text: str) -> None:
        """Keep what is to be known of the policy that is applied by now."""
        async with self._database.transaction() as now:
            await shelf.apply_policy(now, text)

    async def put_new_work(self, rows: Sequence[WorkItem]) -> int:
        """Put rows on the work list; those that are there already stay. How many are new."""
        async with self._database.transaction() as now:
            return await now.whole(partial(shelf.put_new_work, rows=rows))

    async def forget_resumption(self, command: str) -> None:
        """Forget it: the command came to its end."""
        async with self._database.transaction() as now:
            await bookkeeping.forget_resumption(now, command)


async def _bring(
    names: Sequence[bringing.Name], how: bringing.Bringing, now: Transaction
) -> bringing.Brought:
    return await bringing.bring(now, names, how)


def _check_singular(group: Group) -> None:
    compared = [doc.name for doc in group.documents if doc.effects is not None]
    compared += [gone.name for gone in group.gone]
    if len(compared) > len(set(compared)):
        twice = next(name for name, count in Counter(compared).items() if count > 1)
        raise ValueError(f"two records of {twice!r} in one group would be compared with the same")
