"""What systemd/ and docs/kafka.md give to whoever runs a broker."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.buffer.contract import append, changes
from tests.kafka.broker import Broker, free_ports
from tests.kafka.conftest import buffer_of, section
from tests.machine import missing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")
UNIT = (ROOT / "systemd" / "kafka.service").read_text(encoding="utf-8")
SHIPPED = (ROOT / "systemd" / "kafka.properties").read_text(encoding="utf-8")


def shell() -> str:
    """What is to be typed."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))


def test_what_is_typed_can_be_parsed() -> None:
    """By the shell; no quote is open."""
    subprocess.run(["sh", "-n", "-c", shell()], check=True)


def test_the_files_that_are_installed_are_there() -> None:
    """All of those for Kafka, each where the others look for it."""
    installed = set(re.findall(r"install .*systemd/(\S+) ", shell()))
    shipped = {path.name for path in (ROOT / "systemd").iterdir() if "kafka" in path.name}
    assert installed == shipped
    assert "kafka.Kafka /etc/kafka/kafka.properties" in UNIT
    assert "-cp /opt/kafka/libs/*" in UNIT
    assert "StateDirectory=kafka\n" in UNIT
    assert "log.dirs=/var/lib/kafka/" in SHIPPED


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """With programs that are there in place of those that may not be."""
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")
    unit = tmp_path / "kafka.service"
    unit.write_text(UNIT.replace("/usr/bin/java", "/bin/true").replace("=kafka\n", "=root\n"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "kafka.service" in line]
    assert said == []


@pytest.mark.kafka
@pytest.mark.anyio
@pytest.mark.timeout(400)
async def test_a_broker_with_the_shipped_properties_holds_a_topic(
    tmp_path: Path, topic: str
) -> None:
    """But for ports and the directory it is started as the documents say."""
    port, controller = free_ports(2)
    text = SHIPPED.replace("9092", str(port)).replace("9093", str(controller))
    text = text.replace("/var/lib/kafka/log", str(tmp_path / "log"))
    broker = Broker(tmp_path / "broker", text=text, address=f"127.0.0.1:{port}")
    with broker:
        async with buffer_of(section(broker.address, topic), tmp_path) as buffer:
            await buffer.refresh()
            assert await buffer.holds(await append(buffer, changes(1, 5)))
