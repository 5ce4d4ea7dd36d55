"""Large packuments wait on disk for their turn, and pass one at a time until committed."""

import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from npmmirror.archive import CaptureReader
from npmmirror.capture import Kind, Record
from npmmirror.pipeline.large import LargeDocument
from npmmirror.pipeline.packuments import Body, PackumentFetcher
from npmmirror.testing import faults
from tests.daemon.conftest import PATIENCE, Open, RunningMirror

pytestmark = pytest.mark.anyio

SMALL = {"large_packument_bytes": 1000}
"""Every document of these tests is large."""


def captured(mirror: RunningMirror) -> dict[str, list[bytes]]:
    """The documents in the log, by package, in the order of their coming."""
    found: dict[str, list[bytes]] = {}
    with closing(CaptureReader(mirror.config.storage.data_dir / "captures")) as reader:
        for record in reader.scan():
            if isinstance(record, Record) and record.kind is Kind.PACKUMENT:
                found.setdefault(record.name or "", []).append(reader.document(record.place))
    return found


async def test_they_pass_one_at_a_time_until_they_are_committed(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next comes into memory when the one before is in the index."""
    under_way: list[str] = []
    most: list[int] = []
    take_turn = PackumentFetcher._take_turn

    async with mirror(fetch=SMALL) as here:

        def watched(body: Body) -> Callable[[], None]:
            release = body.release

            def done() -> None:
                assert release is not None
                [(finished,)] = here.rows("SELECT count(*) FROM revisions")
                most.append(finished - len(most))
                under_way.pop()
                release()

            return done

        async def counted(self: PackumentFetcher, path: Path, etag: str | None) -> Body:
            body = await take_turn(self, path, etag)
            under_way.append(path.name)
            assert len(under_way) == 1
            body.release = watched(body)
            return body

        monkeypatch.setattr(PackumentFetcher, "_take_turn", counted)
        for number in range(10):
            here.upstream.registry.publish(f"p{number}", "1.0.0")
        async with here.running():
            await here.at_head()
        assert most == [1] * 10
        assert not list(here.config.storage.staging_path.iterdir())


async def test_they_are_captured_byte_for_byte(mirror: Open) -> None:
    """Every revision, read back from the log."""
    async with mirror(fetch=SMALL) as here:
        registry, served = here.upstream.registry, list[bytes]()
        async with here.running():
            for minor in range(5):
                registry.publish("large", f"1.{minor}.0", manifest={"x": "y" * 50_000})
                served.append(registry.document("large"))
                await here.at_head()
        assert captured(here) == {"large": served}


async def test_the_same_document_again_makes_no_new_revision(mirror: Open) -> None:
    """Announced anew, with the same bytes: nothing is captured, nothing happened."""
    async with mirror(fetch=SMALL) as here:
        registry = here.upstream.registry
        registry.publish("large", "1.0.0")
        raw, rev = registry.document("large"), registry.revision("large").rev
        async with here.running():
            await here.at_head()
            registry.put_document("large", raw, rev="2-" + rev.partition("-")[2])
            await here.until(lambda status: status["feed"]["cursor"] == status["feed"]["head"])
            await here.until(lambda status: status["fetch"]["finished"] >= 1)
        assert captured(here) == {"large": [raw]}


@pytest.mark.parametrize(
    "fault",
    [faults.Truncated(), faults.Altered(), faults.Status(500)],
    ids=lambda fault: fault.kind,
)
async def test_one_that_fails_lets_the_next_pass(mirror: Open, fault: faults.Fault) -> None:
    """However it ends, the turn is given back and no file is left."""
    async with mirror(fetch={**SMALL, "max_attempts": 2}) as here:
        for number in range(4):
            here.upstream.registry.publish(f"p{number}", "1.0.0")
        here.upstream.registry.put_document("p1", b'{"name": "other", "x": "' + b"x" * 9000)
        here.upstream.fault("packument", fault, name="p2", times=None)
        async with here.running():
            await here.until(lambda status: sum(status["dead_letters"].values()) == 2)
            await here.at_head()
        assert set(captured(here)) == {"p0", "p3"}
        assert not list(here.config.storage.staging_path.iterdir())


async def test_a_large_document_is_let_go_of_once_it_is_committed(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the last one, whose result the daemon goes on to tell of: the next needs its room."""
    taken: list[weakref.ref[LargeDocument]] = []
    take = LargeDocument.take

    def noted(path: Path) -> LargeDocument:
        document = take(path)
        taken.append(weakref.ref(document))
        return document

    monkeypatch.setattr(LargeDocument, "take", noted)
    async with mirror(fetch=SMALL) as here, here.running():
        for version in ("1.0.0", "1.1.0"):
            here.upstream.registry.publish("large", version)
            await here.at_head()
        assert len(taken) == 2
        assert [document() for document in taken] == [None, None]


async def test_a_daemon_gives_freed_memory_back(
    mirror: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A soak found 140 of 170 MB freed, and still the process's: see `npmmirror.memory`."""
    called = threading.Event()
    monkeypatch.setattr("npmmirror.daemon.run.give_back", called.set)
    async with mirror() as here, here.running():
        await here.at_head()
        assert await anyio.to_thread.run_sync(called.wait, PATIENCE)
