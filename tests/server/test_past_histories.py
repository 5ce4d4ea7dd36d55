"""Any day of the past as a property: at each mark the mirror tells what upstream told then.

The histories are those of the scripted upstream: versions, dist-tags, deprecations, unpublishing,
holds, removals and what comes back after them.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from npmmirror.daemon.reindex import reindex
from npmmirror.server.app import App
from npmmirror.server.listener import Listener
from npmmirror.server.opening import open_resources
from npmmirror.testing.history import History
from tests.server.conftest import Answer, Serve, Served

pytestmark = [pytest.mark.anyio, pytest.mark.long]

STEPS = 8
SECTIONS: dict[str, dict[str, Any]] = {
    "follow": {"poll_seconds": 0.01},
    "storage": {"commit_count": 2, "segment_bytes": 1 << 16},
    "policy": {
        "tarballs": "all",
        "confirm_removal_answers": 1,
        "confirm_removal_hours": 0.0,
        "removal_breaker_packages": 0,
        "removal_breaker_percent": 0.0,
    },
}


@dataclass(frozen=True)
class Day:
    """A moment, in both spellings, and upstream's documents then; None where one was removed."""

    ordinal: int
    time: str
    documents: dict[str, bytes | None]


def day(here: Served, history: History) -> Day:
    """What is so now."""
    [(ordinal, time)] = here.mirror.rows(
        "SELECT ordinal, committed_at FROM marks ORDER BY ordinal DESC LIMIT 1"
    )
    return Day(ordinal, time, {name: document(here, name) for name in history.names})


def document(here: Served, name: str) -> bytes | None:
    """Upstream's document of a package, if it is there."""
    if here.registry.revision(name).state == "removed":
        return None
    return here.registry.document(name)


async def lived(here: Served, history: History) -> list[Day]:
    """A mirror follows; its days, each of a mark at which it was at the head."""
    days = []
    async with here.mirror.running():
        await here.mirror.at_head()
        days.append(day(here, history))
        for step in range(STEPS):
            for name, _ in history.step():
                if step % 3 == 2:
                    here.registry.serve_stale(name, 1)
            await here.mirror.at_head()
            days.append(day(here, history))
    return days


async def told(here: Served, days: list[Day]) -> dict[tuple[str, str], Answer]:
    """Every package of every day, by ordinal; and by time, but for the last, which is not past."""
    moments = [f"seq:{each.ordinal}" for each in days] + [each.time for each in days[:-1]]
    names = days[-1].documents
    return {
        (moment, name): await here.ask(f"/-/at/{moment}/{quote(name, safe='@')}")
        for moment in moments
        for name in names
    }


def expected(here: Served, moment: str, document: bytes) -> Any:
    """Upstream's document with tarballs of the same view."""
    found = json.loads(document)
    for version, manifest in found.get("versions", {}).items():
        name = f"{found['name']}/-/{found['name'].rpartition('/')[2]}-{version}.tgz"
        manifest["dist"]["tarball"] = f"{here.url}/-/at/{moment}/{name}"
    return found


def differences(here: Served, days: list[Day], answers: dict[tuple[str, str], Answer]) -> list[str]:
    """Where an answer is not what upstream said on that day."""
    wrong = []
    by_moment = {f"seq:{each.ordinal}": each for each in days} | {each.time: each for each in days}
    for (moment, name), answer in answers.items():
        document = by_moment[moment].documents.get(name)
        status = 404 if document is None else 200
        if answer.status != status:
            wrong.append(f"{name} at {moment}: {answer.status} {answer.body[:80]!r}")
        elif document is not None and answer.json != expected(here, moment, document):
            wrong.append(f"{name} at {moment}: another document")
    return wrong


@pytest.mark.parametrize("seed", range(2))
async def test_each_day_is_what_upstream_said_then(served: Serve, seed: int) -> None:
    """And stays so byte for byte when more is captured, and when the index is made anew."""
    async with served(SECTIONS) as here:
        history = History(here.registry, seed=seed, packages=5, share=0.5)
        days = await lived(here, history)
        first = await told(here, days)
        assert differences(here, days, first) == []
        later = [*days, *await lived(here, history)]
        again = await told(here, later)
        assert differences(here, later, again) == []
        assert changed(first, again) == []
        assert (await reindex(here.mirror.config, lambda _: None)).whole
        section = here.resources.section
        async with (
            open_resources(section, here.mirror.config.storage) as resources,
            Listener(App(resources), section).open() as [url],
        ):
            host = {"Host": here.url.removeprefix("http://")}
            rebuilt = {
                key: await here.ask(f"{url}/-/at/{key[0]}/{quote(key[1], safe='@')}", headers=host)
                for key in again
            }
        assert changed(again, rebuilt) == []


def changed(before: dict[Any, Answer], after: dict[Any, Answer]) -> list[Any]:
    """Whose answers are not what they were."""
    return [
        key
        for key, one in before.items()
        if (one.status, one.body, one.headers.get("Etag"))
        != (after[key].status, after[key].body, after[key].headers.get("Etag"))
    ]
