"""The soak's upstream, a process of its own: a scripted registry with a life of its own.

    python -m benchmarks.soaking.upstream JOURNAL --seed N --packages N

Commands are those of `npmmirror.testing.commands`, and those below.
"""

import argparse
import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.soaking.life import Life
from benchmarks.soaking.truth import Journal
from npmmirror.testing import ScriptedRegistry, ScriptedUpstream
from npmmirror.testing.commands import Call, Commands
from npmmirror.testing.faults import Armed, fault_from
from npmmirror.testing.history import History
from npmmirror.testing.manifest import SECURITY_VERSION
from npmmirror.testing.process import attend
from npmmirror.testing.tarball import path_of

KEPT_REQUESTS = 1_000


class Steering:
    """What the driver can have done besides the usual commands."""

    def __init__(self, upstream: ScriptedUpstream, life: Life) -> None:
        self._upstream = upstream
        self._life = life
        self._armed: dict[str, list[Armed]] = {}
        self.switch: asyncio.Queue[bool] = asyncio.Queue()

    @property
    def calls(self) -> dict[str, Call]:
        """The commands by name."""
        registry = self._upstream.registry
        return {
            "step": self._life.step,
            "large": self._life.large,
            "reveal": self._life.reveal,
            "settle": self._life.settle,
            "forget": self._life.forget,
            "happened": lambda: self._life.happened,
            "told": registry.told,
            "sha512": self.sha512,
            "arm": self.arm,
            "disarm": self.disarm,
            "bugs": lambda: [repr(bug) for bug in self._upstream.bugs],
            "down": lambda: self.switch.put_nowait(False),
            "up": lambda: self.switch.put_nowait(True),
        }

    def sha512(self, name: str, file: str) -> str | None:
        """The digest of a tarball that is served, by its name on the mirror's disk."""
        registry = self._upstream.registry
        for version in registry.versions_ever(name) | {SECURITY_VERSION}:
            if file.endswith(f"-{version}.tgz"):
                body = registry.file(path_of(name, version))
                return hashlib.sha512(body.raw).hexdigest() if body is not None else None
        return None

    def arm(self, key: str, faults: list[dict[str, Any]]) -> None:
        """Have faults come, each `{"scope", "fault", "name", "chance"}`, until `disarm`."""
        self._armed[key] = [
            self._upstream.fault(
                one["scope"],
                fault_from(one["fault"]),
                name=one.get("name", "*"),
                times=None,
                chance=one.get("chance", 1.0),
            )
            for one in faults
        ]

    def disarm(self, key: str) -> int:
        """Take faults back; how often they were played."""
        armed = self._armed.pop(key, [])
        for one in armed:
            self._upstream.heal(one)
        self._upstream.release()
        return sum(one.played for one in armed)

    async def obey(self) -> None:
        """Go down and come back as the driver says."""
        while True:
            if await self.switch.get():
                await self._upstream.come_back()
            else:
                await self._upstream.go_down()


async def serve(options: argparse.Namespace) -> None:
    """Serve until the standard input ends."""
    # Clients that go away in the midst are the purpose; bugs are told by a command.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    registry = ScriptedRegistry(seed=options.seed)
    journal = Journal(options.journal)
    life = Life(registry, journal, seed=options.seed, packages=options.packages)
    server = ScriptedUpstream(registry, seed=options.seed, kept_requests=KEPT_REQUESTS)
    async with server as upstream, asyncio.TaskGroup() as tasks:
        steering = Steering(upstream, life)
        obeying = tasks.create_task(steering.obey())
        await attend(
            upstream, Commands(upstream, History(registry, packages=0), more=steering.calls)
        )
        obeying.cancel()
    journal.close()


def main() -> None:
    """Read the command line, then serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--packages", type=int, required=True)
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
