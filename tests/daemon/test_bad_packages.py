"""Packages that are broken for good never block the others."""

import pytest

from npmmirror.testing import faults
from tests.daemon.conftest import Open

pytestmark = pytest.mark.anyio


async def test_more_broken_packages_than_workers_do_not_block_the_rest(mirror: Open) -> None:
    """Each of them looks like a broken host; the next package that is tried proves it well."""
    async with mirror(fetch={"concurrency": 4, "max_attempts": 2}) as here:
        registry = here.upstream.registry
        for number in range(12):
            registry.publish(f"broken-{number}", "1.0.0")
            here.upstream.fault(
                "packument", faults.Status(500), name=f"broken-{number}", times=None
            )
        for number in range(12):
            registry.publish(f"sound-{number}", "1.0.0")
        async with here.running():
            await here.until(lambda status: status["totals"]["packages"] == {"live": 12})
            await here.until(lambda status: sum(status["dead_letters"].values()) == 12)
