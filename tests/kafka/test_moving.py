"""From one backend to the other: change `buffer.backend`, restart, and nothing is lost."""

from pathlib import Path

import pytest

from tests.kafka.conftest import settings
from tests.kill.pair import Pair
from tests.kill.places import kill_at

pytestmark = [pytest.mark.kafka, pytest.mark.kill, pytest.mark.timeout(400), pytest.mark.long]


def test_the_backend_is_changed_with_changes_pending(
    broker_address: str, topic: str, tmp_path: Path
) -> None:
    """To Kafka, back to SQLite, and to the same topic again, whatever lies there from before."""
    pair = Pair(tmp_path)
    sqlite = {"BUFFER__BACKEND": "sqlite"}
    try:
        for other in (settings(broker_address, topic), sqlite, {"BUFFER__BACKEND": "kafka"}):
            assert kill_at(pair, "record.committed")
            assert pair.disturbed.unfinished()
            pair.disturbed.configure(other)
            pair.recover()
            told = [
                line
                for line in pair.disturbed.log.read_text().splitlines()
                if "buffer_lost_changes" in line
            ]
            assert "the buffer is another one; the feed is read again from" in told[-1]
    finally:
        pair.close()
