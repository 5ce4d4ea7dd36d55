"""Invariant 2 where the feed misbehaves: kills among late rows, and while its head goes back."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon
from tests.kill.trial import settled

pytestmark = [pytest.mark.kill, pytest.mark.timeout(120), pytest.mark.long]

SOON = {"FOLLOW__OVERLAP_EVERY_MINUTES": "0.002", "FOLLOW__HEAD_FALL_MINUTES": "0.005"}
LATE = 5


@pytest.fixture
def upstream() -> Iterator[RemoteUpstream]:
    """An upstream in another process."""
    with RemoteUpstream("--living", "3", "--seed", "7") as upstream:
        yield upstream


@pytest.fixture
def daemon(tmp_path: Path, upstream: RemoteUpstream) -> Iterator[MirrorDaemon]:
    """A mirror of it, stopped at the head."""
    with MirrorDaemon(tmp_path, upstream, SOON) as daemon:
        daemon.start()
        daemon.wait_for_head()
        yield daemon


def row(daemon: MirrorDaemon, sql: str) -> tuple[object, ...] | None:
    """A row of the index."""
    with closing(endstate.connect(daemon.data_dir)) as index:
        found: tuple[object, ...] | None = index.execute(sql).fetchone()
    return found


@pytest.mark.parametrize(
    "failpoint",
    [
        *("buffer.before_commit", "buffer.committed"),
        *("follow.page_appended", "follow.page_received"),
        *("feed.entry_opened", "index.committed"),
    ],
)
def test_killed_while_late_rows_are_appended(
    upstream: RemoteUpstream, daemon: MirrorDaemon, failpoint: str
) -> None:
    """None is lost, and none is there twice."""
    for number in range(LATE):
        upstream.do("publish", name=f"late-{number}", version="1.0.0", announce="late")
    upstream.do("publish", name="after", version="1.0.0")
    daemon.wait_for_head()
    assert daemon.stop() == 0
    for number in range(LATE):
        upstream.do("reveal", name=f"late-{number}")
    daemon.start(failpoint)
    assert daemon.wait_for_kill()
    daemon.start()
    daemon.wait_for_head()
    settled(upstream, daemon)
    revisions = (
        "SELECT count(*), count(DISTINCT p.name) FROM revisions "
        "JOIN packages AS p ON p.id = package_id WHERE p.name LIKE 'late-%'"
    )
    assert row(daemon, revisions) == (LATE, LATE)
    cursor = upstream.do("head")
    assert row(daemon, "SELECT cursor FROM progress") == (cursor,)


@pytest.mark.parametrize("failpoint", ["follow.head_fell", "follow.head_taken"])
def test_killed_while_the_head_goes_back(
    upstream: RemoteUpstream, daemon: MirrorDaemon, failpoint: str
) -> None:
    """It is believed again, or it was done; following goes on in either case."""
    assert daemon.stop() == 0
    upstream.do("reset_head", head=4)
    daemon.start(failpoint)
    assert daemon.ended(60) == -9, daemon.tail()
    daemon.start()
    while row(daemon, "SELECT after FROM regressions") != (4,):
        assert daemon.ended(0.05) is None, daemon.tail()
    upstream.do("publish", name="after", version="1.0.0")
    daemon.wait_for_head()
    settled(upstream, daemon)
