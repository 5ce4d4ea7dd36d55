"""Where the mirror is: cursor, checkpoint, page receipts, marks. Steps of a transaction."""

from collections.abc import Sequence
from typing import Final

from npmmirror.capture import Location
from npmmirror.change import Seq
from npmmirror.index.group import Group, KeptReceipt, Mark, Resumption, StoredFollowing
from npmmirror.receipt import Position, Receipt
from npmmirror.sqlite import Row, Transaction, storable

_SET_CURSOR: Final = (
    "INSERT INTO progress (one, cursor) VALUES (1, ?) "
    "ON CONFLICT DO UPDATE SET cursor = excluded.cursor"
)
_SET_CHECKPOINT: Final = (
    "INSERT INTO progress (one, checkpoint_buffer, checkpoint) VALUES (1, ?, ?) "
    "ON CONFLICT DO UPDATE SET checkpoint_buffer = excluded.checkpoint_buffer, "
    "checkpoint = excluded.checkpoint"
)
_MARK: Final = (
    'SELECT ordinal, committed_at, lower(hex(header_sha256)), segment, "offset", cursor FROM marks'
)

_RETRY: Final = (
    "UPDATE work_list SET not_before = ?1, attempts = 0 "
    "WHERE (not_before IS NULL OR (NOT ?2 AND not_before > ?1))"
)
_RETRY_ONE: Final = f"{_RETRY} AND package_id = (SELECT id FROM packages WHERE name = ?3)"  # noqa: S608  constants


FORGOTTEN: Final = ""
"""The cursor of a mark that the operator had everything before it forgotten with; never a seq."""


def _seq(seq: Seq | None) -> Seq | None:
    return storable(seq) if isinstance(seq, str) else seq


async def close_group(now: Transaction, group: Group) -> None:
    """The end of a group: its mark, and how far the buffer is worked off."""
    for start in group.following:
        await now.run(
            "INSERT INTO followings VALUES (?, ?, ?, ?)",
            (start.ordinal, start.at, start.upstream, _seq(start.since)),
        )
    marks = group.earlier_marks if group.mark is None else (*group.earlier_marks, group.mark)
    for mark in marks:
        header = bytes.fromhex(mark.header_sha256)
        await now.run(
            "INSERT INTO marks VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(mark.ordinal, mark.committed_at, header),
                *(mark.place.segment, mark.place.offset, _seq(mark.cursor)),
            ),
        )
    if group.checkpoint is not None:
        await now.run(_SET_CHECKPOINT, (group.checkpoint.buffer, group.checkpoint.value))
    if group.finished_receipt is not None:
        number = group.finished_receipt
        await now.run("DELETE FROM receipts WHERE number < ?", (number,))
        await now.run("UPDATE receipts SET finished = 1 WHERE number = ?", (number,))


async def receive(now: Transaction, receipt: Receipt, at: str, *, keep: int) -> int:
    """Keep a receipt, advance the cursor; all but the oldest and the newest `keep` may go.

    The oldest is the newest finished one, or the first of all where none is finished: the place
    to go back to when the buffer is lost.
    """
    await now.run(
        "INSERT INTO receipts (received_at, cursor_before, cursor_after, buffer, position, tail, "
        "finished) VALUES (?, ?, ?, ?, ?, ?, 0)",
        (
            *(at, _seq(receipt.before), _seq(receipt.after)),
            *(receipt.end.buffer, receipt.end.value, receipt.tail),
        ),
    )
    await now.run(_SET_CURSOR, (_seq(receipt.after),))
    [(number, oldest)] = await now.rows("SELECT max(number), min(number) FROM receipts")
    await now.run("DELETE FROM receipts WHERE number > ? AND number <= ?", (oldest, number - keep))
    return int(number)


async def receipts(now: Transaction) -> list[KeptReceipt]:
    """All receipts, oldest first."""
    rows = await now.rows(
        "SELECT number, cursor_before, cursor_after, buffer, position, tail, received_at, finished "
        "FROM receipts ORDER BY number"
    )
    return [
        KeptReceipt(
            number, Receipt(before, after, Position(buffer, value), tail), at, finished == 1
        )
        for number, before, after, buffer, value, tail, at, finished in rows
    ]


async def rewind(
    now: Transaction, cursor: Seq, checkpoint: Position, last_receipt: int | None
) -> None:
    """Set cursor and checkpoint, and forget the receipts behind `last_receipt` (None: all)."""
    # What was read behind that receipt is read again, and lies in no window until then.
    await now.run(
        "DELETE FROM cursors WHERE seen_at > coalesce("
        "(SELECT received_at FROM receipts WHERE number = ?), '')",
        (last_receipt,),
    )
    await now.run("DELETE FROM receipts WHERE number > ?", (last_receipt or 0,))
    await now.run(_SET_CURSOR, (_seq(cursor),))
    await now.run(_SET_CHECKPOINT, (checkpoint.buffer, checkpoint.value))


async def progress(now: Transaction) -> tuple[Seq | None, Position | None]:
    """The cursor and the checkpoint, each None before the first."""
    row = await now.row("SELECT cursor, checkpoint_buffer, checkpoint FROM progress")
    if row is None:
        return None, None
    cursor, buffer, value = row
    return cursor, Position(buffer, value) if buffer is not None else None


async def set_cursor(now: Transaction, cursor: Seq) -> None:
    """Set the cursor alone; the checkpoint stays as it is."""
    await now.run(_SET_CURSOR, (_seq(cursor),))


async def forget_cursor(now: Transaction) -> None:
    """Forget the cursor and its receipts; what is in the buffer is still worked off."""
    await now.run("DELETE FROM receipts")
    await now.run("DELETE FROM cursors")
    await now.run("UPDATE progress SET cursor = NULL")


async def last_mark(now: Transaction) -> Mark | None:
    """The newest mark that is indexed."""
    return _mark(await now.row(f"{_MARK} ORDER BY ordinal DESC LIMIT 1"))


async def last_marked_cursor(now: Transaction) -> Seq | None:
    """The newest cursor that a mark tells; marks of commands that followed nothing tell none.

    None, too, where one was forgotten since.
    """
    row = await now.row(
        "SELECT cursor FROM marks WHERE cursor IS NOT NULL ORDER BY ordinal DESC LIMIT 1"
    )
    return row[0] if row is not None and row[0] != FORGOTTEN else None


async def mark_at(now: Transaction, at: str) -> Mark | None:
    """The newest mark of that time or before."""
    row = await now.row(
        f"{_MARK} WHERE committed_at <= ? ORDER BY committed_at DESC, ordinal DESC LIMIT 1", (at,)
    )
    return _mark(row)


def _mark(row: Row | None) -> Mark | None:
    if row is None:
        return None
    ordinal, committed_at, header, segment, offset, cursor = row
    told = cursor if cursor != FORGOTTEN else None
    return Mark(ordinal, committed_at, header, Location(segment, offset), told)


async def first_following(now: Transaction) -> StoredFollowing | None:
    """The first start of following."""
    row = await now.row(
        "SELECT ordinal, at, upstream, since FROM followings ORDER BY ordinal LIMIT 1"
    )
    return StoredFollowing(*row) if row is not None else None


async def last_following(now: Transaction) -> StoredFollowing | None:
    """The newest start of following."""
    row = await now.row(
        "SELECT ordinal, at, upstream, since FROM followings ORDER BY ordinal DESC LIMIT 1"
    )
    return StoredFollowing(*row) if row is not None else None


async def resumption(now: Transaction, command: str) -> Resumption | None:
    """How far a long command came; None where it is not in the middle of anything."""
    row = await now.row(
        "SELECT command, started_at, place FROM resumptions WHERE command = ?", (command,)
    )
    return Resumption(*row) if row is not None else None


async def note_resumption(now: Transaction, note: Resumption) -> None:
    """Note how far a long command came."""
    await now.run(
        "INSERT OR REPLACE INTO resumptions VALUES (?, ?, ?)",
        (note.command, note.started_at, note.place),
    )


async def forget_resumption(now: Transaction, command: str) -> None:
    """Forget it."""
    await now.run("DELETE FROM resumptions WHERE command = ?", (command,))


async def newest_ordinal(now: Transaction) -> int:
    """The newest record that left a row, those of files aside."""
    [(ordinal,)] = await now.rows(
        "SELECT max(coalesce((SELECT max(ordinal) FROM marks), 0), "
        "coalesce((SELECT max(ordinal) FROM revisions), 0), "
        "coalesce((SELECT max(ordinal) FROM packages), 0), "
        "coalesce((SELECT max(ordinal) FROM followings), 0))"
    )
    return int(ordinal)


async def recall(now: Transaction, at: str, latest: str) -> int:
    """Make rows due that wait for a time behind the latest; how many."""
    return await now.run("UPDATE work_list SET not_before = ? WHERE not_before > ?", (at, latest))


async def retry(
    now: Transaction, at: str, packages: Sequence[str] | None, *, dead_only: bool
) -> int:
    """Make rows of the work list due, with all attempts before them; how many."""
    if packages is None:
        return await now.run(_RETRY, (at, dead_only))
    return sum([await now.run(_RETRY_ONE, (at, dead_only, storable(name))) for name in packages])
