"""Manifests read out of captured documents, for tarballs that come without one."""

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from npmmirror.archive import CaptureLog, CaptureReader, PayloadEncoder, records
from npmmirror.capture import Location
from npmmirror.effects import Known, KnownVersion
from npmmirror.pipeline import manifests
from npmmirror.pipeline.manifests import CapturedManifests
from npmmirror.worker_threads import WorkerThreads

pytestmark = pytest.mark.anyio

AT = "2026-11-20T10:00:00.000000Z"
VERSIONS = [f"1.0.{number}" for number in range(20)]
RAW = {version: orjson.dumps({"version": version, "x": "x" * 300}) for version in VERSIONS}
DOCUMENT = (
    b'{"name":"a","versions":{'
    + b",".join(orjson.dumps(version) + b":" + raw for version, raw in RAW.items())
    + b"}}"
)


class Turns:
    """Lets everybody in, and counts who is there."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self.inside = 0

    async def take(self, length: int, /) -> Callable[[], None]:
        """See `manifests.Turns`."""
        self.lengths.append(length)
        self.inside += 1
        return self._leave

    def _leave(self) -> None:
        self.inside -= 1


@pytest.fixture
def threads() -> Iterator[WorkerThreads]:
    """A thread that reads."""
    with WorkerThreads(1, "test") as made:
        yield made


def captured(captures: Path, raw: bytes = DOCUMENT) -> Known:
    """What the index knows of a package none of whose files is held."""
    payload = PayloadEncoder().encode(raw, None, CaptureReader(captures))
    with CaptureLog.open(captures) as log:
        place = log.append(records.packument(AT, "a", payload)).place
        log.write()
        log.sync()
    versions = {version: KnownVersion(b"") for version in VERSIONS}
    return Known("live", place=place, versions=versions)


async def test_they_are_the_bytes_of_the_document(tmp_path: Path, threads: WorkerThreads) -> None:
    """Of the versions that it has; large documents have to wait for their turn."""
    known, turns = captured(tmp_path), Turns()
    with CaptureReader(tmp_path) as reader:
        found = await CapturedManifests(reader, threads, turns.take).of(
            "a", known, ["1.0.3", "9.9.9", "1.0.1"]
        )
    assert found == {"1.0.3": RAW["1.0.3"], "1.0.1": RAW["1.0.1"]}
    assert (turns.lengths, turns.inside) == ([len(DOCUMENT)], 0)


async def test_the_next_jobs_of_a_package_find_theirs_kept(
    tmp_path: Path, threads: WorkerThreads
) -> None:
    """A document of thousands of versions is not read for each few of them."""
    known, turns = captured(tmp_path), Turns()
    with CaptureReader(tmp_path) as reader:
        source = CapturedManifests(reader, threads, turns.take)
        for start in range(0, len(VERSIONS), 4):
            asked = VERSIONS[start : start + 4]
            assert await source.of("a", known, asked) == {one: RAW[one] for one in asked}
    assert len(turns.lengths) == 1


async def test_what_is_kept_is_bounded(
    tmp_path: Path, threads: WorkerThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever does not fit is read again."""
    monkeypatch.setattr(manifests, "READ_BYTES", 2000)
    monkeypatch.setattr(manifests, "KEPT_BYTES", 1000)
    known, turns = captured(tmp_path), Turns()
    with CaptureReader(tmp_path) as reader:
        source = CapturedManifests(reader, threads, turns.take)
        for version in VERSIONS:
            assert await source.of("a", known, [version]) == {version: RAW[version]}
            assert source._bytes <= 1000
    assert len(turns.lengths) > 1


@pytest.mark.parametrize("raw", [b"<html>", b'{"name":"b","versions":{}}'])
async def test_a_document_that_is_none_gives_none(
    tmp_path: Path, threads: WorkerThreads, raw: bytes
) -> None:
    """The tarballs are fetched all the same."""
    known, turns = captured(tmp_path, raw), Turns()
    with CaptureReader(tmp_path) as reader:
        assert await CapturedManifests(reader, threads, turns.take).of("a", known, ["1.0.0"]) == {}
    assert turns.inside == 0


async def test_a_damaged_record_gives_none(tmp_path: Path, threads: WorkerThreads) -> None:
    """The same of a place at which nothing is."""
    captured(tmp_path)
    known = Known("live", place=Location(1, 77_777))
    with CaptureReader(tmp_path) as reader:
        source = CapturedManifests(reader, threads, Turns().take)
        assert await source.of("a", known, ["1.0.0"]) == {}
        assert await source.of("a", None, ["1.0.0"]) == {}
