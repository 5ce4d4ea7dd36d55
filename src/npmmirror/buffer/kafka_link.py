"""The link to a topic: opened when it is first used, again after each failure, and watched.

It remembers what was acknowledged. A topic that differs from that is another one, and every call
says so until `renew`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, NoReturn

import anyio
import structlog
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
)

from npmmirror.buffer.base import BufferChangedError, BufferUnavailableError
from npmmirror.buffer.kafka_protocol import Topic
from npmmirror.buffer.kafka_session import Extent, Session, broken_links, is_cancelled, tail_of
from npmmirror.buffer.kafka_topic import WANTED, unwanted, why_unreachable
from npmmirror.config import KafkaSection

STEPS: Final = 4
"""How many answers a call may wait for: the time of one request is `request_seconds`."""

log = structlog.get_logger(__name__)


class Link:
    """The way to a topic, and the extent of it that is known to be there.

    Args:
        section: the topic, and how its brokers are reached.
        security: see `connection_options`.
        create: whether a topic that is not there is created.
    """

    def __init__(
        self, section: KafkaSection, security: Mapping[str, Any], *, create: bool = True
    ) -> None:
        self._section = section
        self._security = security
        self._create = create
        self._session: Session | None = None
        self._opening = anyio.Lock()
        self._consuming = anyio.Lock()
        self._topic: Topic | None = None
        self._changed: str | None = None
        self.extent = Extent([], [], [])
        self.trimmed: list[int] = []
        """Where the mirror itself has each partition begin."""

    @property
    def topic(self) -> Topic:
        """The topic as it was found by `renew`.

        Raises:
            BufferUnavailableError: nobody has looked yet.
        """
        if self._topic is None:
            raise BufferUnavailableError("the topic was not looked at yet")
        return self._topic

    async def renew(self) -> None:
        """Take the topic for what it is now. One that is not there is created.

        Raises:
            BufferUnavailableError: the brokers do not answer.
        """
        await self.let_go()
        self._changed = self._topic = None
        async with self.asking():
            pass

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Session]:
        """A session for one call. One that fails is let go, and the failure told in plain words.

        Raises:
            BufferUnavailableError: the brokers do not answer, or refuse.
            BufferChangedError: the topic is not what it was.
        """
        self.check()
        try:
            with anyio.fail_after(STEPS * self._section.request_seconds), broken_links():
                yield await self._opened()
        except OffsetOutOfRangeError as error:
            await self.let_go()
            self._changed = "records that were not read yet are gone"
            raise BufferChangedError(self._changed) from error
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            # Another call let go of the session, and aiokafka's own tasks ended under this one.
            raise BufferUnavailableError("the connection to Kafka was given up") from error
        except (KafkaError, OSError) as error:
            await self.let_go()
            raise BufferUnavailableError(await self._told(error)) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Session]:
        """As `asking`, for a call that uses the consumer, which serves one at a time."""
        async with self.asking() as session, self._consuming:
            yield session

    async def look(self) -> None:
        """See whether the topic is still the same, and where it ends.

        Raises:
            BufferUnavailableError: the brokers do not answer.
            BufferChangedError: it is not the same.
        """
        async with self.reading() as session:
            topic = await session.describe()
            if topic is None or topic.id != session.topic.id:
                await self.let_go()
                self.fail("the topic was deleted" + (" and made anew" if topic else ""))
            starts, ends = await session.bounds()
            longer = {n: end - 1 for n, end in enumerate(ends) if end > self.extent.ends[n]}
            self._compare_ends(ends)
            found = await session.records_at(longer)
            for partition in longer:
                self.extent.ends[partition] = ends[partition]
                self.extent.tails[partition] = tail_of(found[partition])
            self.extent = replace(self.extent, starts=starts)

    def check(self) -> None:
        """See that nobody has found the topic to be another one.

        Raises:
            BufferChangedError: somebody has.
        """
        if self._changed is not None:
            raise BufferChangedError(self._changed)

    def fail(self, why: str) -> NoReturn:
        """Have this call and all others fail until `renew`.

        Raises:
            BufferChangedError: always.
        """
        self._changed = why
        raise BufferChangedError(why)

    async def let_go(self) -> None:
        """Close the session; the next call opens another one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _opened(self) -> Session:
        async with self._opening:
            if self._session is None:
                session = await Session.open(self._section, self._security, create=self._create)
                try:
                    await self._take(session)
                except BaseException:
                    await session.close()
                    raise
                self._session = session
            return self._session

    async def _take(self, session: Session) -> None:
        """Note what the topic is; it must be what it was, where that is known."""
        extent = await session.extent()
        if self._topic is None:
            self.trimmed = [*extent.starts]
            await self._tell_topic(session)
        else:
            if (session.topic.cluster, session.topic.id) != (self._topic.cluster, self._topic.id):
                self.fail("the topic was made anew")
            await self._compare(session, extent)
            self.trimmed += [0] * (session.topic.partitions - self._topic.partitions)
        self._topic, self.extent = session.topic, extent

    async def _compare(self, session: Session, extent: Extent) -> None:
        """See that what was acknowledged is there; there may be more."""
        self._compare_ends(extent.ends)
        ends = dict(enumerate(self.extent.ends))
        held = {n: end for n, end in ends.items() if end > extent.starts[n]}
        grown = {n: end - 1 for n, end in held.items() if extent.ends[n] > end}
        found = await session.records_at(grown)
        for partition in held:
            now = extent.tails[partition]
            if partition in found:
                now = tail_of(found[partition])
            if now != self.extent.tails[partition]:
                self.fail(f"partition {partition} holds other records than were acknowledged")

    def _compare_ends(self, ends: Sequence[int]) -> None:
        for partition, then in enumerate(self.extent.ends):
            if ends[partition] < then:
                self.fail(
                    f"partition {partition} ends at {ends[partition]}, and all up to {then} was "
                    "acknowledged: it lost its end"
                )

    async def _tell_topic(self, session: Session) -> None:
        """Say where the topic is not what it would be had the mirror created it."""
        topic, section = session.topic, self._section
        if topic.partitions != section.partitions:
            log.warning(
                "topic_has_other_partitions",
                topic=section.topic,
                partitions=topic.partitions,
                configured=section.partitions,
            )
        try:
            found = await session.configuration()
        except KafkaError as error:
            log.debug("topic_configuration_unknown", error=str(error))
            return
        for key, value in unwanted(found).items():
            log.warning(
                "topic_is_configured_otherwise",
                topic=section.topic,
                key=key,
                value=value,
                wanted=WANTED[key],
            )

    async def _told(self, error: Exception) -> str:
        """The failure in plain words."""
        if isinstance(error, KafkaConnectionError | NodeNotReadyError | TimeoutError):
            with anyio.move_on_after(self._section.request_seconds):
                return (
                    f"no answer from Kafka: {await why_unreachable(self._section, self._security)}"
                )
            return "no answer from Kafka"
        return f"Kafka refuses: {error.args[0] if error.args else type(error).__name__}"
