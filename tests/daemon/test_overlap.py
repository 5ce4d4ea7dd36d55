"""Files of one group get their names while the group before goes into the log and the index."""

import threading
from typing import Any

import anyio
import pytest

from npmmirror.archive import CaptureLog
from npmmirror.daemon.verification.run import Asked
from npmmirror.pipeline.record import Recorder
from tests.daemon.conftest import Open, RunningMirror

pytestmark = pytest.mark.anyio


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, nothing that was published since gets into the log."""
    slow, append = threading.Event(), CaptureLog.append

    def wait(self: CaptureLog, record: Any) -> Any:
        if record.name is not None:
            slow.wait(30)
        return append(self, record)

    monkeypatch.setattr(CaptureLog, "append", wait)
    return slow


async def published(mirror: RunningMirror, count: int) -> None:
    """Wait until so many tarballs have their final names."""
    packages = mirror.config.storage.packages_path
    with anyio.fail_after(10):
        while len([*packages.rglob("*.tgz")]) != count:  # noqa: ASYNC110 - as another program would
            await anyio.sleep(0.01)


async def test_a_group_is_published_while_the_one_before_waits_for_the_log(
    mirror: Open, slow: threading.Event
) -> None:
    """The second one's file is in its place; of neither is anything told before its record."""
    async with mirror(storage={"commit_count": 1}) as here:
        for name in ("a", "b", "c"):
            here.upstream.registry.publish(name, "1.0.0")
        async with here.running():
            try:
                await published(here, 2)
                status = await here.status()
            finally:
                slow.set()
            assert status["totals"]["tarballs"] == 0
            status = await here.at_head()
            assert status["totals"]["tarballs"] == 3
        assert len(here.rows("SELECT DISTINCT ordinal FROM versions")) == 3


async def test_a_verification_waits_for_both_groups(
    mirror: Open, slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that have their names and no record yet are no orphans."""
    asked, settle = anyio.Event(), Recorder.settle

    async def wait(self: Recorder) -> None:
        asked.set()
        await settle(self)

    monkeypatch.setattr(Recorder, "settle", wait)
    ends: list[dict[str, Any]] = []
    async with mirror(storage={"commit_count": 1}) as here:
        for name in ("a", "b"):
            here.upstream.registry.publish(name, "1.0.0")

        async def verify() -> None:
            async with here.control() as daemon:
                told = daemon.verify(Asked(None).to_json())
                ends.extend([report async for report in told if report.get("end")])

        async with here.running():
            try:
                await published(here, 2)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(verify)
                    await asked.wait()
                    slow.set()
            finally:
                slow.set()
    assert [(end["files"], end["problems"]) for end in ends] == [(2, 0)]
