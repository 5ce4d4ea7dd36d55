"""What was known at a moment of the past. Steps of a transaction, each along an index.

Records are numbered in their order, and nothing is ever put between two: what the records up to one
tell is told for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from npmmirror.capture import Location
from npmmirror.index.bookkeeping import last_mark, mark_at
from npmmirror.index.group import Mark
from npmmirror.index.listing import RevisionRow
from npmmirror.index.rows import EVENTS_EACH
from npmmirror.past import AtTime, Bound, Outside, When
from npmmirror.sqlite import Transaction, storable

_FIRST: Final = "SELECT min(ordinal) FROM revisions"
_MARK_BEHIND: Final = "SELECT committed_at FROM marks WHERE ordinal >= ? ORDER BY ordinal LIMIT 1"
_COLUMNS: Final = (
    "r.ordinal, r.rev, r.announced_rev, r.seq, r.observed_at, r.etag, r.stale = 1, "
    'lower(hex(r.sha256)), r.length, r.segment, r."offset", r.number, r.erased = 1'
)
_REVISION: Final = (
    f"SELECT {_COLUMNS}, r.package_id FROM revisions AS r "  # noqa: S608  constants
    "WHERE r.package_id = (SELECT id FROM packages WHERE name = ?) AND r.ordinal <= ? "
    "AND r.stale = 0 ORDER BY r.ordinal DESC LIMIT 1"
)
# Of the events behind the newest document only removals are left.
_REMOVED: Final = (
    "SELECT id FROM events WHERE package_id = ? AND id >= ? AND id < ? "
    "AND kind = 'package_removed' ORDER BY id DESC LIMIT 1"
)
_BY_ORDINAL: Final = (
    f"SELECT {_COLUMNS}, p.name FROM revisions AS r "  # noqa: S608  constants
    "JOIN packages AS p ON p.id = r.package_id WHERE r.ordinal = ?"
)


@dataclass(frozen=True, slots=True)
class PastPackage:
    """A package as it stood at a moment.

    `revision` is the newest document by then that is not stale. `erased`: it was blanked since, or
    just then. `removed`: the ordinal of the record by which the package was found gone behind that
    document; None: it was there.
    """

    name: str
    revision: RevisionRow
    erased: bool
    removed: int | None


async def bound(now: Transaction, when: When) -> Bound | Outside:
    """The moment that is meant, once and for all, or why there is none.

    A time means the newest mark of that time or before. Marks may have the same time, so one of the
    last mark's own is not past yet: another mark may follow with it.
    """
    newest, [(first,)] = await last_mark(now), await now.rows(_FIRST)
    last = _bound(newest) if newest is not None else None
    found = await _found(now, when, last) if last is not None else None
    if found is not None and first is not None and found.ordinal >= first:
        return found
    captured = await now.row(_MARK_BEHIND, (first,)) if first is not None else None
    return Outside(when, captured[0] if captured is not None else None, last)


async def _found(now: Transaction, when: When, last: Bound) -> Bound | None:
    if isinstance(when, AtTime):
        mark = await mark_at(now, when.at) if when.at < last.committed_at else None
        return _bound(mark) if mark is not None else None
    if when.ordinal > last.ordinal:
        return None
    [(committed_at,)] = await now.rows(_MARK_BEHIND, (when.ordinal,))
    return Bound(when.ordinal, committed_at)


def _bound(mark: Mark) -> Bound:
    return Bound(mark.ordinal, mark.committed_at)


async def package_at(now: Transaction, name: str, ordinal: int) -> PastPackage | None:
    """A package as the records up to one told; None where no document of it was captured by then."""
    row = await now.row(_REVISION, (storable(name), ordinal))
    if row is None:
        return None
    *found, erased, package = row
    revision = _revision(found)
    behind = (package, (revision.ordinal + 1) * EVENTS_EACH, (ordinal + 1) * EVENTS_EACH)
    gone = await now.row(_REMOVED, behind)
    return PastPackage(name, revision, erased == 1, gone[0] // EVENTS_EACH if gone else None)


async def revision(now: Transaction, ordinal: int) -> tuple[str, RevisionRow, bool] | None:
    """The captured document of an ordinal: package, row, and whether it was erased."""
    row = await now.row(_BY_ORDINAL, (ordinal,))
    if row is None:
        return None
    *found, erased, name = row
    return name, _revision(found), erased == 1


def _revision(row: Sequence[Any]) -> RevisionRow:
    *found, stale, sha256, length, segment, offset, number = row
    return RevisionRow(*(*found, stale == 1, sha256, length, Location(segment, offset), number))
