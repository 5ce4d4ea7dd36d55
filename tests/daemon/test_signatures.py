"""Keys of the registry, and what the signatures of captured versions are worth."""

import sqlite3
from contextlib import closing
from typing import Any

import anyio
import pytest
import structlog

from npmmirror.archive import CaptureReader
from npmmirror.capture import Kind, Record
from npmmirror.clock import SystemClock
from npmmirror.daemon.reindex import reindex
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from npmmirror.testing.asked import Asked
from npmmirror.testing.faults import Status
from npmmirror.testing.signing import Signing
from tests.daemon.conftest import Open, RunningMirror
from tests.daemon.derived import derived, differences

pytestmark = pytest.mark.anyio

END = "2026-01-01T00:03:00.000Z"


class Quick(SystemClock):
    """The looks at the keys follow one another in a moment."""

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await super().sleep(min(seconds, 0.05))


def signing(registry: ScriptedRegistry) -> Signing:
    assert registry.signing is not None
    return registry.signing


def signed_upstream() -> ScriptedUpstream:
    """One package with a version in each state."""
    registry = ScriptedRegistry(signs=True)
    registry.publish("a", "1.0.0")
    registry.publish("a", "2.0.0", signature="bad")
    registry.publish("a", "3.0.0", signature="none")
    registry.publish("a", "4.0.0", signature="unknown")
    return ScriptedUpstream(registry)


def states(here: RunningMirror) -> dict[str, str]:
    """What the index says of each version, by `name@version`."""
    found = here.rows(
        "SELECT p.name || '@' || version, signature FROM versions "
        "JOIN packages AS p ON p.id = package_id"
    )
    return dict(found)


def key_records(here: RunningMirror) -> list[Record]:
    with CaptureReader(here.config.storage.data_dir / "captures") as captures:
        found = list(captures.scan())
    return [one for one in found if isinstance(one, Record) and one.kind is Kind.KEYS]


async def settled(here: RunningMirror, expected: dict[str, str]) -> None:
    """Wait until versions are in these states."""
    with anyio.move_on_after(20):
        while states(here) != expected:  # noqa: ASYNC110 - as another program would
            await anyio.sleep(0.02)
    assert states(here) == expected


async def same_when_rebuilt(here: RunningMirror) -> None:
    """The log gives the same tables, sums of states among them."""
    index = here.config.storage.index_path
    before = derived(index)
    await reindex(here.config, lambda _: None)
    assert not differences(before, derived(index))
    with closing(sqlite3.connect(index)) as rebuilt:
        counted: dict[str, Any] = dict(
            rebuilt.execute("SELECT 'signatures_' || signature, count(*) FROM versions GROUP BY 1")
        )
        told = dict(
            rebuilt.execute("SELECT * FROM totals WHERE what LIKE 'signatures_%' AND number <> 0")
        )
    assert told == counted


STATES = {
    "a@1.0.0": "valid",
    "a@2.0.0": "invalid",
    "a@3.0.0": "unsigned",
    "a@4.0.0": "unknown_key",
}


async def test_every_captured_version_is_judged(mirror: Open) -> None:
    """By the keys that upstream serves, which the log keeps byte for byte."""
    async with mirror(signed_upstream()) as here, here.running():
        await here.at_head()
        await settled(here, STATES)
    [record] = key_records(here)
    with CaptureReader(here.config.storage.data_dir / "captures") as captures:
        assert captures.document(record.place) == signing(here.upstream.registry).document
    await same_when_rebuilt(here)


async def test_sync_looks_at_the_keys_too(mirror: Open) -> None:
    """Without any feed."""
    async with mirror(signed_upstream()) as here:
        await here.sync("a")
        assert states(here) == STATES
        await here.sync("a", force=True)
        assert len(key_records(here)) == 1
    await same_when_rebuilt(here)


async def test_an_upstream_without_keys(mirror: Open) -> None:
    """No record, no error: whatever is signed is signed with a key that is not known."""
    registry = ScriptedRegistry()
    registry.publish("a", "1.0.0")
    async with mirror(ScriptedUpstream(registry)) as here:
        [report] = await here.sync("a")
        assert report.complete
        assert here.upstream.count("keys") == 1
        assert states(here) == {"a@1.0.0": "unknown_key"}
        assert not key_records(here)
    await same_when_rebuilt(here)


async def test_keys_that_come_later_judge_what_named_them(mirror: Open) -> None:
    """Also versions that are gone from the newest document by then."""
    upstream = signed_upstream()
    registry = upstream.registry
    signing(registry).served = False
    async with mirror(upstream) as here:
        async with here.running():
            await here.at_head()
            registry.unpublish_version("a", "2.0.0")
            await here.at_head()
        unknown = dict.fromkeys(STATES, "unknown_key") | {"a@3.0.0": "unsigned"}
        assert states(here) == unknown
        signing(registry).served = True
        async with here.running():
            await settled(here, STATES)
    await same_when_rebuilt(here)


async def test_a_version_whose_key_is_not_known_has_the_keys_looked_at(mirror: Open) -> None:
    """A registry begins to use a new key before the next look is due."""
    registry = ScriptedRegistry(signs=True)
    registry.publish("a", "1.0.0")
    async with mirror(ScriptedUpstream(registry)) as here:
        async with here.running(clock=Quick()):
            await here.at_head()
            await settled(here, {"a@1.0.0": "valid"})
            signing(registry).rotate(END)
            registry.publish("a", "1.1.0")
            await settled(here, {"a@1.0.0": "valid", "a@1.1.0": "valid"})
        assert len(key_records(here)) == 2
    await same_when_rebuilt(here)


async def test_a_version_published_behind_its_keys_end_is_told(mirror: Open) -> None:
    """What was captured before the key expired stays valid, whatever expires later."""
    registry = ScriptedRegistry(signs=True)
    registry.publish("a", "1.0.0", at="2026-01-01T00:00:00.000Z")
    registry.publish("a", "1.1.0", at="2026-03-01T00:00:00.000Z")
    async with mirror(ScriptedUpstream(registry)) as here:
        await here.sync("a")
        signing(registry).expire("2026-02-01T00:00:00.000Z")
        registry.publish("a", "1.2.0", at="2026-03-02T00:00:00.000Z")
        registry.publish("a", "1.3.0", at="2026-01-02T00:00:00.000Z")
        await here.sync("b")  # there is no such package: only the keys are looked at
        await here.sync("a")
        assert states(here) == {
            "a@1.0.0": "valid",
            "a@1.1.0": "valid",
            "a@1.2.0": "expired_key",
            "a@1.3.0": "valid",
        }
    await same_when_rebuilt(here)


async def test_one_404_does_not_take_the_keys_away(mirror: Open) -> None:
    """Three in a row do; what is signed then is signed with a key that upstream does not serve."""
    registry = ScriptedRegistry(signs=True)
    registry.publish("a", "1.0.0")
    async with mirror(ScriptedUpstream(registry)) as here:
        await here.sync("a")
        signing(registry).served = False
        async with here.running(clock=Quick()):
            await here.upstream.asked("keys", times=4)
            await here.until(lambda _: len(key_records(here)) == 2)
            registry.publish("a", "1.1.0")
            await settled(here, {"a@1.0.0": "valid", "a@1.1.0": "unknown_key"})
        newest = key_records(here)[-1]
        assert (newest.facts, newest.length) == ({"absent": True}, None)
        signing(registry).served = True
        await here.sync("a")
        assert states(here) == {"a@1.0.0": "valid", "a@1.1.0": "valid"}
    await same_when_rebuilt(here)


@pytest.mark.parametrize("said", [b"<html>", b"{}", b'{"keys": 5}'])
async def test_what_is_no_document_of_keys_is_not_kept(mirror: Open, said: bytes) -> None:
    """Whoever answers so; everything else goes on."""
    registry = ScriptedRegistry()
    registry.publish("a", "1.0.0")
    registry.beside = lambda path: said if path.endswith("/keys") else None  # type: ignore[method-assign]  # a registry that is broken
    async with mirror(ScriptedUpstream(registry)) as here:
        [report] = await here.sync("a")
        assert report.complete
    assert not key_records(here)


async def test_keys_that_cannot_be_had_hold_nothing_up(mirror: Open) -> None:
    """Nor do they count against the host."""
    async with mirror(signed_upstream()) as here:
        here.upstream.fault("keys", Status(503), times=None)
        async with here.running():
            status = await here.at_head()
            assert status["fetch"]["paused"] is None
        assert states(here)["a@1.0.0"] == "unknown_key"


async def test_a_wrong_signature_is_an_alarm_and_the_tarball_is_kept(mirror: Open) -> None:
    """Its bytes are what the document promised: that is another matter."""
    with structlog.testing.capture_logs() as lines:
        async with mirror(signed_upstream()) as here:
            await here.sync("a", all_versions=True)
            held = here.rows("SELECT version FROM versions WHERE state = 'held'")
            assert ("2.0.0",) in held
    alarms = [line for line in lines if line["event"] == "signature_invalid"]
    assert alarms == [
        {
            "event": "signature_invalid",
            "log_level": "error",
            "package": "a",
            "number": 1,
            "versions": ["2.0.0"],
        }
    ]


async def test_a_document_in_work_while_the_keys_change(mirror: Open) -> None:
    """Its record says which keys it was judged with, so that a replay says the same."""
    registry = ScriptedRegistry(signs=True)
    registry.publish("a", "1.0.0", at="2026-03-01T00:00:00.000Z")
    async with mirror(ScriptedUpstream(registry)) as here:

        async def expire(asked: Asked) -> None:
            if asked.scope == "tarball" and len(key_records(here)) == 1:
                signing(registry).expire("2026-02-01T00:00:00.000Z")
                while len(key_records(here)) == 1:  # noqa: ASYNC110 - as another program would
                    await anyio.sleep(0.02)

        here.upstream.hooks.append(expire)
        async with here.running(clock=Quick()):
            await here.at_head()
    with CaptureReader(here.config.storage.data_dir / "captures") as captures:
        [document] = [
            one for one in captures.scan() if isinstance(one, Record) and one.kind is Kind.PACKUMENT
        ]
    first, second = key_records(here)
    assert first.ordinal < second.ordinal < document.ordinal
    assert document.facts["keys"] == first.ordinal
    assert states(here) == {"a@1.0.0": "valid"}
    await same_when_rebuilt(here)
