"""What the capture log says about the upstream that is followed."""

import structlog

from npmmirror.archive import records
from npmmirror.change import Seq
from npmmirror.clock import timestamp
from npmmirror.daemon.mirror import Mirror, Source

log = structlog.get_logger(__name__)


async def note_upstream(mirror: Mirror, source: Source, cursor: Seq) -> None:
    """Have the log say what is followed from here on, where it does not yet."""
    told = source.public
    feed = told.feed or ""
    known = await mirror.opened.index.last_following()
    if known is not None and known.upstream == feed:
        return
    if known is not None:
        log.warning("upstream_changed", before=known.upstream, now=feed)
    following = records.following(
        timestamp(mirror.clock.now()), feed=feed, registry=told.registry, since=cursor
    )
    await mirror.begin_following(following)
