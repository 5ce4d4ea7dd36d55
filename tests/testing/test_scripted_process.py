"""The scripted upstream as a process, and the history that it plays."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from npmmirror.testing import ScriptedRegistry
from npmmirror.testing.history import MOVES, History
from npmmirror.testing.remote import RemoteUpstream


@pytest.fixture
def remote() -> Iterator[RemoteUpstream]:
    with RemoteUpstream("--packages", "2", "--living", "5", "--seed", "1") as started:
        yield started


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own, on loopback
        return json.loads(answer.read())


def test_process_serves_and_takes_commands(remote: RemoteUpstream) -> None:
    """A command changes what is served at once."""
    assert remote.do("publish", name="new", version="1.0.0").startswith("1-")
    assert fetch(f"{remote.url}/new")["dist-tags"] == {"latest": "1.0.0"}
    assert fetch(remote.feed)["doc_count"] == 8


def test_process_tells_its_state(remote: RemoteUpstream) -> None:
    """`state` is the truth of every package."""
    remote.do("publish", name="new", version="1.0.0")
    state = remote.do("state")
    assert list(state["new"]["versions"]) == ["1.0.0"]


def test_process_plays_steps(remote: RemoteUpstream) -> None:
    """A step changes packages, none twice, and moves the head."""
    before = remote.do("head")
    changed = [name for name, _ in remote.do("step")]
    assert len(changed) == len(set(changed)) > 0
    assert remote.do("head") > before


def test_process_plays_faults(remote: RemoteUpstream) -> None:
    """A fault is armed by its kind."""
    remote.do("fault", fault={"kind": "status", "code": 451}, scope="root")
    with pytest.raises(urllib.error.HTTPError, match="451"):
        fetch(remote.feed)
    assert fetch(remote.feed)["engine"] == "npm-replicate"


def test_a_wrong_command_is_answered(remote: RemoteUpstream) -> None:
    """A mistake gets an answer, and the process goes on."""
    with pytest.raises(ValueError, match="dance"):
        remote.do("dance")
    with pytest.raises(ValueError, match="nmae"):
        remote.do("publish", nmae="x")
    assert remote.do("state")


def test_process_ends_with_its_input(remote: RemoteUpstream) -> None:
    """Whoever started it is gone: so is it."""
    assert remote.close() == 0


def test_process_ends_on_sigterm(remote: RemoteUpstream) -> None:
    """SIGTERM is a clean end."""
    os.kill(remote.process.pid, signal.SIGTERM)
    assert remote.process.wait(20) == 0


def test_history_is_the_same_for_a_seed() -> None:
    """Two histories of one seed give one truth, whatever happens."""
    registries = [ScriptedRegistry(seed=2), ScriptedRegistry(seed=2)]
    for registry in registries:
        history = History(registry, seed=2)
        for _ in range(60):
            history.step()
    assert registries[0].state() == registries[1].state()


@pytest.mark.parametrize("move", sorted(MOVES))
def test_every_move_can_happen(move: str) -> None:
    """Each kind of change alone keeps a history going, and changes the documents."""
    registry = ScriptedRegistry()
    history = History(registry, moves=[move])
    before = registry.state()
    moves = [how for _ in range(12) for _, how in history.step()]
    assert move in moves
    assert registry.state() != before
