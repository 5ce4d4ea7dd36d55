"""Keeping everybody off some packages."""

import anyio
import pytest

from npmmirror.pipeline.gate import Gate
from npmmirror.pipeline.holding import Holding
from npmmirror.pipeline.job import Job
from tests.pipeline.conftest import ManualClock

pytestmark = pytest.mark.anyio


async def test_two_who_hold_the_same_packages_do_not_wait_for_each_other(
    clock: ManualClock,
) -> None:
    """In whatever order they name them, and whatever is in work at first."""
    gate = Gate()
    gate.admit(Job("x", sent=True))

    def let_go(package: str) -> None:
        gate.release(package)

    holding = Holding(gate, let_go, clock)

    async def hold(*packages: str) -> None:
        async with holding.holding(packages):
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, "a", "x", "b")
            tasks.start_soon(hold, "b", "x", "a")
            while len(clock.slept) < 2:
                await anyio.lowlevel.checkpoint()
            gate.release("x")
    assert gate.running == 0
