"""Which new files have the number of a package's files looked at."""

import pytest

from npmmirror.origin import FORCED
from npmmirror.outcome import Digests, HeldTarball, WorkItem
from npmmirror.pipeline.job import ASKED, REPAIR, WANTED, Job
from npmmirror.pipeline.retiring import _counts
from npmmirror.policy import Want

HELD = HeldTarball("1.0.0", "packages/a.tgz", 100, Digests("00"), "", None)


@pytest.mark.parametrize(
    ("job", "reason", "origin", "counts"),
    [
        (Job("a"), None, "", True),
        (Job("a"), WANTED, "", True),
        (Job("a"), "http_503", "", True),
        (Job("a"), REPAIR, "", True),
        (Job("a"), ASKED, "", False),
        (Job("a"), "http_503", FORCED, False),
        (Job("a", want=Want(("1.0.0",)), force=True), None, "", False),
    ],
)
def test_what_somebody_insisted_on_does_not_count(
    job: Job, reason: str | None, origin: str, *, counts: bool
) -> None:
    """A file that is repaired does: it may be one too many by now."""
    if reason is not None:
        job.work = {"1.0.0": WorkItem("a", "1.0.0", reason, None, origin=origin)}
    assert _counts(job, HELD) is counts
