"""The index over the archive: index.db, its one writer and its readers."""

from npmmirror.index.auditing import StoredRow
from npmmirror.index.bringing import Bringing, Brought
from npmmirror.index.feed_notes import FeedNotes, Regression, SeenCursor
from npmmirror.index.group import (
    Check,
    Finished,
    Group,
    HeldRemoval,
    KeptReceipt,
    Mark,
    Resumption,
    Skip,
    StoredBundle,
    StoredDocument,
    StoredDrop,
    StoredErasure,
    StoredFollowing,
    StoredGone,
    StoredKeys,
    StoredTarball,
    Wake,
)
from npmmirror.index.listing import EventRow, HeldFile, PackageRow, RevisionRow, VersionRow
from npmmirror.index.reader import IndexReader
from npmmirror.index.schema import IndexUnavailableError, Schema
from npmmirror.index.status import IndexStatus
from npmmirror.index.writer import IndexWriter

__all__ = [
    "Bringing",
    "Brought",
    "Check",
    "EventRow",
    "FeedNotes",
    "Finished",
    "Group",
    "HeldFile",
    "HeldRemoval",
    "IndexReader",
    "IndexStatus",
    "IndexUnavailableError",
    "IndexWriter",
    "KeptReceipt",
    "Mark",
    "PackageRow",
    "Regression",
    "Resumption",
    "RevisionRow",
    "Schema",
    "SeenCursor",
    "Skip",
    "StoredBundle",
    "StoredDocument",
    "StoredDrop",
    "StoredErasure",
    "StoredFollowing",
    "StoredGone",
    "StoredKeys",
    "StoredRow",
    "StoredTarball",
    "VersionRow",
    "Wake",
]
