"""How the progress of a long command is told."""

import time
from typing import Any

import pytest

from npmmirror.cli.progress import Meter, line_of


def report(done: int, total: int | None, size: int = 0, sizes: int | None = None) -> dict[str, Any]:
    return {
        "phase": "tarballs",
        "done": done,
        "total": total,
        "bytes": size,
        "total_bytes": sizes,
    }


@pytest.mark.parametrize(
    ("start", "now", "seconds", "line"),
    [
        (report(0, None), report(7, None), 9.0, "7"),
        (report(0, 1000), report(0, 1000), 0.0, "0 of 1,000"),
        (report(0, 1000), report(250, 1000), 10.0, "250 of 1,000, 30 s left"),
        (
            report(0, 10, 0, 4_194_304),
            report(2, 10, 1_048_576, 4_194_304),
            100.0,
            "2 of 10, 1.0 MiB, 10.2 KiB/s, 5 min 00 s left",
        ),
        # What an earlier start did says nothing of how fast this one is.
        (
            report(8, 10, 8_000, 10_000),
            report(9, 10, 9_000, 10_000),
            3600.0,
            "9 of 10, 8.8 KiB, 0 B/s, 1 h 00 min left",
        ),
        (report(0, 100), report(1, 100), 3600.0, "1 of 100, 4 d 3 h left"),
        (report(0, 9), report(1, 9) | {"growing": True}, 9.0, "1 of 9"),
    ],
)
def test_a_line_tells_number_bytes_rate_and_what_is_left(
    start: dict[str, Any], now: dict[str, Any], seconds: float, line: str
) -> None:
    """Each as far as it is known."""
    assert line_of(start, now, seconds) == line


def test_elsewhere_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not for each report."""
    seconds = iter([0.0, 3.0, 11.0, 12.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    meter = Meter()
    for done in range(4):
        meter.show(report(done, 4))
    meter.clear()
    assert capsys.readouterr().err == "tarballs: 2 of 4, 11 s left\n"


def test_a_quiet_one_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """As beside JSON."""
    with Meter(quiet=True) as meter:
        meter.show(report(1, 2))
    assert capsys.readouterr() == ("", "")
