"""What keeps the mirror's disks from taking more."""

from pathlib import Path

from npmmirror.daemon.resting import _looked_at
from npmmirror.daemon.run import _no_room


def test_room_enough(tmp_path: Path) -> None:
    """Nothing to say."""
    assert _no_room([tmp_path], least=1) is None


def test_a_disk_that_is_low_is_named(tmp_path: Path) -> None:
    """With the directory and the bound."""
    assert _no_room([tmp_path], least=1 << 60) == (
        f"disk_low: {tmp_path} has less than {1 << 60} bytes free"
    )


def test_a_disk_that_went_away_stops_fetching_and_not_the_daemon(tmp_path: Path) -> None:
    """Seen in a kill test: the directory of a NAS is gone, and the look at it raised."""
    gone = tmp_path / "nas"
    assert _no_room([tmp_path, gone], least=1) == (
        f"disk_unavailable: {gone}: No such file or directory"
    )


def test_the_status_shows_each_disk_once(tmp_path: Path) -> None:
    """Directories of one disk are one line; one that is gone says so."""
    staging = tmp_path / "staging"
    staging.mkdir()
    here, gone = _looked_at([tmp_path, staging, tmp_path / "nas"])
    assert here["path"] == str(tmp_path)
    assert 0 < here["free_bytes"] <= here["total_bytes"]
    assert gone == {"path": str(tmp_path / "nas"), "error": "No such file or directory"}
