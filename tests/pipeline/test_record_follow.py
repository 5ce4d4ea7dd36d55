"""The recorder's checkpoint where following begins anew while a group is committed."""

from typing import Any, cast

import pytest

from npmmirror.buffer.memory import MemoryBuffer
from npmmirror.index import Group, IndexWriter
from npmmirror.liveness import Liveness
from npmmirror.pipeline.pause import Pause
from npmmirror.pipeline.record import Pace, Recorder
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio


class Index(IndexWriter):
    """During whose commit following begins."""

    def __init__(self, buffer: MemoryBuffer) -> None:
        self.buffer = buffer
        self.recorder: Recorder | None = None

    async def commit(self, group: Group) -> None:
        """See `IndexWriter.commit`."""
        assert group.checkpoint is None
        assert self.recorder is not None
        self.recorder.follow(self.buffer, await self.buffer.start(), 7, [])


async def test_a_group_of_before_does_not_take_the_checkpoint_away(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began while nothing was followed, as behind a head that went back."""
    buffer = MemoryBuffer()
    index = Index(buffer)
    unused = cast("Any", None)
    recorder = index.recorder = Recorder(
        unused,
        unused,
        index,
        unused,
        unused,
        clock=clock,
        disk=Pause(clock),
        pace=Pace(1, 1.0),
        cursor=7,
        in_work=lambda: 0,
        liveness=Liveness(clock, 60),
        committed=lambda _: None,
    )

    async def nothing(_: object) -> tuple[list[object], None]:
        return [], None

    monkeypatch.setattr(recorder, "_make_durable", nothing)
    await recorder._commit([], [])
    assert recorder.checkpoint == await buffer.start()
