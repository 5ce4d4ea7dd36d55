"""A mirror of a mirror while either of the two is killed."""

import random
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from npmmirror.testing.remote import RemoteUpstream
from tests.kill.daemon_process import DEADLINE_SECONDS, MirrorDaemon
from tests.kill.endstate import leftovers, read
from tests.kill.trial import unreadable
from tests.server.chain import Held, differences, free_port, held

pytestmark = [pytest.mark.kill, pytest.mark.timeout(180), pytest.mark.long]

KILLS = 6
ALL = {"POLICY__TARBALLS": "all"}


@dataclass
class Between:
    """The first mirror as the upstream of the second."""

    port: int
    upstream: RemoteUpstream

    @property
    def url(self) -> str:
        """Its documents as they were captured."""
        return f"http://127.0.0.1:{self.port}/-/raw"

    @property
    def feed(self) -> str:
        """Its feed."""
        return f"http://127.0.0.1:{self.port}/-/replicate/registry"

    def do(self, what: str, **words: Any) -> Any:
        """Steer the registry behind it."""
        return self.upstream.do(what, **words)


def apart_of(first: Held, second: Held) -> list[str]:
    """How they differ, but for removed packages that the second never saw."""
    seen = {name: one for name, one in first.items() if name in second or one[0] != "removed"}
    return differences(seen, second)


def wait_until_alike(first: MirrorDaemon, second: MirrorDaemon) -> None:
    """Wait until the second mirror has what the first one has, byte for byte.

    What upstream removed before the second had a look at it is in the first alone.
    """
    began = time.monotonic()
    while apart := apart_of(held(first.data_dir), held(second.data_dir)):
        assert time.monotonic() - began < DEADLINE_SECONDS, f"{apart}\n{second.tail()}"
        time.sleep(0.05)


def test_either_is_killed_while_upstream_goes_on(tmp_path: Path) -> None:
    """At the end both have the same, and nothing is left about."""
    chance = random.Random(8)
    with ExitStack() as stack:
        upstream = stack.enter_context(RemoteUpstream("--living", "8", "--seed", "8"))
        port = free_port()
        listening = ALL | {"SERVER__LISTEN": f"127.0.0.1:{port}"}
        between: Any = Between(port, upstream)
        first = stack.enter_context(MirrorDaemon(tmp_path / "first", upstream, listening))
        second = stack.enter_context(MirrorDaemon(tmp_path / "second", between, ALL))
        first.start()
        first.wait_for_head()
        second.start()
        for _ in range(KILLS):
            upstream.do("step")
            time.sleep(chance.uniform(0.0, 0.8))
            killed = chance.choice([first, second])
            killed.kill()
            upstream.do("step")
            killed.start()
        first.wait_for_head()
        wait_until_alike(first, second)
        assert (first.stop(), second.stop()) == (0, 0)
        for one in (first, second):
            assert leftovers(one.data_dir, read(one.data_dir)) == []
            assert list(unreadable(one.data_dir)) == []
        assert held(first.data_dir)
