"""Who is to blame for a request that failed: the package, or the host and so nobody's attempt."""

from typing import Final

from npmmirror.outcome import WorkItem
from npmmirror.pipeline.job import THROTTLED
from npmmirror.pipeline.pause import Pause
from npmmirror.upstream import HostFault, UpstreamError

DOCUMENT: Final = "document"
TARBALL: Final = "tarball"

_NEVER_SENT: Final = frozenset({"bad_name", "bad_url"})
_ANSWERED: Final = frozenset({"too_large", "host_refused", "http_404", "http_410", "http_451"})
"""Answers of a host that is well, however many packages they are met with."""


def blame(host: Pause, kind: str, package: str, fault: UpstreamError, row: WorkItem | None) -> bool:
    """Tell the host's pause of a fault; whether the host is to blame for it.

    `kind` is `DOCUMENT` or `TARBALL`. `row` is the work list's, where this was tried before. A
    refusal stops everybody: all the same, one that meets only this package while others are
    served (503 for a single document, a tarball on another host that is down) must not stop the
    mirror again and again.
    """
    if isinstance(fault, HostFault):
        # Our own throttle's word is nobody's, whoever hears it.
        same = row is not None and row.reason == fault.reason != THROTTLED
        return host.refused(fault.reason, fault.detail, fault.retry_after, again=same)
    if fault.reason in _ANSWERED:
        host.success(kind)
    if fault.reason in _ANSWERED | _NEVER_SENT:
        return False
    return host.suspect(kind, package, fault.reason, fault.detail, again=failed_before(row))


def failed_before(row: WorkItem | None) -> bool:
    """Whether this failed before by its own fault: then it is no witness against the host."""
    return row is not None and row.attempts > 0
