"""The protocol of sd_notify(3)."""

import os
import secrets
from pathlib import Path

import pytest

from npmmirror.daemon.notify import Notifier
from tests.service.played_systemd import PlayedSystemd


def test_fields_are_lines_of_one_datagram(tmp_path: Path) -> None:
    """As systemd reads them."""
    with PlayedSystemd(tmp_path / "notify") as systemd:
        Notifier(systemd.address).tell(READY=1, STATUS="at the head")
        assert list(systemd.told()) == [{"READY": "1", "STATUS": "at the head"}]


def test_an_address_in_the_abstract_namespace() -> None:
    """Containers give such ones."""
    with PlayedSystemd(f"@npmmirror-{secrets.token_hex(8)}") as systemd:
        Notifier(systemd.address).tell(WATCHDOG=1)
        assert list(systemd.told()) == [{"WATCHDOG": "1"}]


def test_a_value_cannot_begin_another_field(tmp_path: Path) -> None:
    """Upstream's words are in the status; a line break in them is none."""
    with PlayedSystemd(tmp_path / "notify") as systemd:
        Notifier(systemd.address).tell(STATUS="odd\nMAINPID=1\x1b[31m" + "x" * 9000)
        [told] = systemd.told()
        assert told["STATUS"].startswith("odd?MAINPID=1?[31mxxx")


@pytest.mark.parametrize("address", [None, "/nowhere/notify", "@nobody-listens"])
def test_nobody_who_listens_stops_nothing(address: str | None) -> None:
    """The service works outside of systemd, too."""
    Notifier(address).tell(READY=1)


def test_it_is_told_by_the_environment_whom_to_tell() -> None:
    """And how often at least, where that is meant for this process."""
    given = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "120000000"}
    own = given | {"WATCHDOG_PID": str(os.getpid())}
    other = given | {"WATCHDOG_PID": "1"}
    assert Notifier.from_environment(given).watchdog_seconds == 120.0
    assert Notifier.from_environment(own).watchdog_seconds == 120.0
    assert Notifier.from_environment(other).watchdog_seconds is None
    assert Notifier.from_environment(other).listens
    assert not Notifier.from_environment({}).listens
    assert Notifier.from_environment({"WATCHDOG_USEC": "120000000"}).watchdog_seconds is None
