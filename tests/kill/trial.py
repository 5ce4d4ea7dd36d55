"""Trials of a mirror: what it must hold whenever it is at the head, whatever happened to it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from npmmirror.archive import CaptureReader, Damage
from npmmirror.capture import Kind
from npmmirror.testing.remote import RemoteUpstream
from tests.kill import endstate
from tests.kill.daemon_process import MirrorDaemon

NEWS_BEGIN = "2100-01-01T00:00:00Z"
"""From then on, changes are news to a mirror that began to follow before."""


def settled(upstream: RemoteUpstream, daemon: MirrorDaemon) -> endstate.EndState:
    """Stop the daemon; the end state, which is `sound`."""
    assert daemon.stop() == 0, daemon.tail()
    return sound(upstream, daemon.data_dir)


def sound(upstream: RemoteUpstream, data_dir: Path) -> endstate.EndState:
    """The end state of a mirror at the head: it is upstream's, whole, and leaves nothing about."""
    state = endstate.read(data_dir)
    assert endstate.untruths(state, upstream.do("state")) == []
    assert endstate.leftovers(data_dir, state) == []
    assert list(unreadable(data_dir)) == []
    return state


def unreadable(data_dir: Path) -> Iterator[str]:
    """Records of the capture log that are damaged, and documents that do not read back."""
    with CaptureReader(data_dir / "captures") as captures:
        for record in captures.scan():
            if isinstance(record, Damage):
                yield str(record.error())
            elif record.kind in {Kind.PACKUMENT, Kind.ATTESTATION, Kind.KEYS} and record.sha256:
                found = hashlib.sha256(captures.document(record.place)).hexdigest()
                if found != record.sha256:
                    yield f"{record.ordinal}: {found}, not {record.sha256}"
