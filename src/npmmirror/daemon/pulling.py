"""Pull-through, where it is wanted: `server.unheld = "fetch"`."""

import anyio

from npmmirror.daemon.mirror import Mirror
from npmmirror.pipeline.pull import Puller


def puller_of(mirror: Mirror, draining: anyio.Event) -> Puller | None:
    """Who fetches what clients ask for; None where what is not held is hidden."""
    section = mirror.config.server
    if section.unheld != "fetch":
        return None
    return Puller(
        mirror.feed,
        mirror.opened.reader,
        mirror.opened.policy,
        mirror.arrivals,
        mirror.clock,
        host=mirror.host,
        disk=mirror.disk,
        most=section.unheld_fetches,
        draining=draining.is_set,
    )
