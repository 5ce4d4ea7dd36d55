"""The way of jobs to the workers: suspects of a sudden death pass alone, all others side by side.

What a client waits for has workers of its own, so that a backfill does not stand before it.
"""

from collections.abc import Callable, Iterable

import anyio

from npmmirror.liveness import at_rest
from npmmirror.pipeline.channel import Sender
from npmmirror.pipeline.job import Job


class Handout:
    """Hands jobs out. While a suspect waits or is in work, nobody else sets out.

    Express jobs go to `express`, where there is one.
    """

    def __init__(
        self,
        jobs: Sender[Job],
        is_suspect: Callable[[str], bool],
        *,
        express: Sender[Job] | None = None,
    ) -> None:
        self._jobs = jobs
        self._express = express or jobs
        self._is_suspect = is_suspect
        self._out: set[str] = set()
        self._suspects: set[str] = set()
        self._turn = anyio.Lock()
        self._news = anyio.Event()

    async def send(self, job: Job) -> None:
        """Return once a worker has the job."""
        with at_rest():
            if self._is_suspect(job.package):
                await self._send_alone(job)
                return
            while self._suspects:
                await self._news.wait()
            await self._send(job)

    async def hurry(self, job: Job) -> None:
        """Have a job that waits for a worker be done by an express one.

        It is handed out twice then: `Job.sent` tells the second worker that somebody has it.
        """
        if self._is_suspect(job.package):
            return
        with at_rest():
            while self._suspects:
                await self._news.wait()
            await self._send(job)

    def committed(self, packages: Iterable[str]) -> None:
        """These are in the index: they are out no more."""
        for package in packages:
            self._out.discard(package)
            self._suspects.discard(package)
        self._tell()

    @property
    def alone(self) -> bool:
        """Whether a suspect is in work, and nobody else."""
        return bool(self._suspects) and self._suspects >= self._out

    async def _send_alone(self, job: Job) -> None:
        self._suspects.add(job.package)
        try:
            async with self._turn:
                while self._out:
                    await self._news.wait()
                await self._send(job)
        except BaseException:
            self._suspects.discard(job.package)
            self._tell()
            raise

    async def _send(self, job: Job) -> None:
        self._out.add(job.package)
        try:
            await (self._express if job.express else self._jobs).send(job)
        except BaseException:
            self._out.discard(job.package)
            self._tell()
            raise

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()
