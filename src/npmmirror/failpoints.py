"""Places at which a test has the process killed, as a kill or lost power may do anywhere.

Where `NPMMIRROR_TEST_FAILPOINT=<name>[:<pass>]` is set when the program starts, it sends itself SIGKILL
as it passes that place for the n-th time (the first, where no number is given). Where it is not
set, as ever in production, a place costs one call of an empty function: some 40 ns at steps that
take a hundred microseconds and more.
"""

import os
import signal
import threading
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "NPMMIRROR_TEST_FAILPOINT"

FAILPOINTS: Final = frozenset(
    {
        # start
        "start.locked",
        "start.index_opened",
        "start.log_opened",
        "start.first_mark_logged",
        "start.swept",
        "start.rewound",
        "start.first_receipt",
        "start.following_noted",
        # start, behind a kill: the capture log's torn tail, and records that the index lacks
        "recovery.tail_copied",
        "recovery.tail_named",
        "recovery.tail_cut",
        "replay.record_taken",
        "replay.group_committed",
        "replay.sealed",
        # follow
        "follow.page_read",
        "follow.page_appended",
        "follow.page_received",
        "follow.head_fell",
        "follow.head_taken",
        # buffer
        "buffer.before_commit",
        "buffer.committed",
        "buffer.trimmed",
        "buffer.blocks_deleted",
        # feed
        "feed.entry_opened",
        "feed.job_handed_out",
        "feed.work_handed_out",
        # fetch
        "fetch.document_answered",
        "fetch.tarball_received",
        "fetch.attestations_received",
        "fetch.done",
        # record: tarballs, then the capture log, then the index
        "publish.data_synced",
        "publish.renamed",
        "publish.names_synced",
        "captures.segment_synced",
        "captures.segment_begun",
        "captures.written",
        "captures.synced",
        "record.durable",
        "index.begun",
        "index.before_commit",
        "index.committed",
        "record.committed",
        # retention: files that the policy wants no longer
        "retire.noted",
        "retire.dropped",
        "retire.removed",
        # backfill, reconcile
        "bring.before_commit",
        "bring.committed",
        "backfill.names_kept",
        "backfill.begun",
        "backfill.listed_all",
        "reconcile.scanned",
        "reconcile.reported",
        # the command reset
        "reset.noted",
        "reset.logged",
        "reset.index_gone",
        "reset.buffer_gone",
        "reset.file_deleted",
        "reset.archive_gone",
    }
)
"""All of them, in the order of a change's way. The source names no other, and each once."""


def off(name: str, /) -> None:
    """Pass by."""


def killing(asked: str) -> Callable[[str], None]:
    """What kills the process at the place, and the pass, that `asked` names.

    Raises:
        ValueError: there is no such place, or the pass is not a number above 0.
    """
    wanted, _, number = asked.partition(":")
    left = int(number or 1) if number.isdecimal() or not number else 0
    if wanted not in FAILPOINTS or left < 1:
        raise ValueError(f"{VARIABLE}={asked}: no failpoint, or no number of a pass")
    counting = threading.Lock()

    def on(name: str, /) -> None:
        nonlocal left
        if name != wanted:
            return
        with counting:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return on


_asked = os.environ.get(VARIABLE)
reach: Callable[[str], None] = killing(_asked) if _asked else off
"""Tell that a place is reached."""
