"""A connection that is cut between the mirror and its broker costs nothing."""

import random
import time
from pathlib import Path

import pytest

from tests.kafka.broker import Broker, free_ports
from tests.kafka.conftest import settings
from tests.kafka.proxy import Proxy
from tests.kill import endstate
from tests.kill.pair import Pair
from tests.kill.trial import settled, sound

pytestmark = [pytest.mark.kafka, pytest.mark.kill, pytest.mark.timeout(400), pytest.mark.long]

CUTS = 4


def test_a_connection_cut_again_and_again(tmp_path: Path, topic: str) -> None:
    """Whatever is under way just then, and whether it comes back at once or not."""
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    dice = random.Random(7)
    advertised = {"PROXIED": address}
    with (
        Broker(tmp_path / "broker", ("PROXIED",), advertised=advertised) as broker,
        Proxy(address, broker.addresses["PROXIED"]) as proxy,
    ):
        pair = Pair(tmp_path, settings(address, topic))
        try:
            pair.disturbed.start()
            for _ in range(CUTS):
                pair.upstream.do("step")
                time.sleep(dice.uniform(0, 0.3))  # the moment of a cut is anybody's guess
                proxy.cut()
                time.sleep(dice.uniform(0, 0.3))
                proxy.mend()
                pair.disturbed.wait_for_head()
                pair.undisturbed.wait_for_head()
            found = settled(pair.upstream, pair.disturbed)
            expected = sound(pair.upstream, pair.undisturbed.data_dir)
            assert endstate.differences(expected, found) == []
        finally:
            pair.close()
