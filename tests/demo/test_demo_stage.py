"""What the demo shows: rates, lines, and the picture of them."""

from pathlib import Path
from typing import Any

import pytest

from npmmirror.cli.demo.gauge import Gauge
from npmmirror.cli.demo.stage import Stage


def report(packages: int, received: int, **fetch: Any) -> dict[str, Any]:
    """A status as the daemon gives it, as far as it is read."""
    return {
        "totals": {
            "packages": {"live": packages, "unpublished": 1},
            "tarballs": 2_000,
            "tarball_bytes": 3,
        },
        "feed": {"follow_lag": 0},
        "mirror": {"lag": None},
        "buffer": {"depth": 7},
        "fetch": {
            "bytes_received": received,
            "in_work": 2,
            "requests": 9,
            "paused": None,
            **fetch,
        },
        "last_change": {"package": "chalk", "latest_version": "5.0.0"},
    }


def test_rates_are_those_of_the_last_seconds() -> None:
    """What is further back does not count, nor what an earlier start did."""
    gauge = Gauge(100)
    assert gauge.read(report(50, 0), 10.0).packages_rate == 0
    assert gauge.read(report(60, 500), 11.0).packages_rate == 10
    gauge.read(report(60, 500), 12.9)
    reading = gauge.read(report(62, 900), 14.9)
    assert (reading.packages_rate, reading.bytes_rate) == (1.0, 200.0)
    assert (reading.packages, reading.newest) == (63, "chalk@5.0.0")


def test_elsewhere_than_on_a_terminal_progress_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Now and then, and when it is settled; with the reason of a pause."""
    stage = Stage()
    gauge = Gauge(100)
    for moment in range(5):
        stage.progress(gauge.read(report(moment, 0, paused="disk: full"), moment / 10))
    stage.settle()
    assert capsys.readouterr().out.splitlines() == [
        "    1 of 100 packages, 2,000 tarballs (3 B), mirror lag -, 7 buffered; paused:",
        "    disk: full",
        "    5 of 100 packages, 2,000 tarballs (3 B), mirror lag -, 7 buffered; paused:",
        "    disk: full",
    ]


def test_what_comes_from_outside_cannot_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Control characters and markup are shown as they are."""
    stage = Stage()
    stage.say("[red]\033[2J")
    stage.item("label", "\033[2J[/]")
    told = capsys.readouterr().out
    assert "\033" not in told
    assert told.splitlines() == ["  [red]\\x1b[2J", "  label       \\x1b[2J[/]"]


def test_the_picture_has_what_was_shown_and_asks_nobody_for_a_font(tmp_path: Path) -> None:
    """But what was kept out of it."""
    stage = Stage(pictured=True)
    stage.title("headline")
    stage.progress(Gauge(100).read(report(50, 0), 0.0))
    stage.settle()
    with stage.unpictured():
        stage.say("secret")
    stage.draw(tmp_path / "demo.svg")
    drawn = (tmp_path / "demo.svg").read_text()
    assert "headline" in drawn
    assert "chalk@5.0.0" in drawn
    assert "secret" not in drawn
    assert "font-face" not in drawn
    assert "url(http" not in drawn.replace('"', "")
