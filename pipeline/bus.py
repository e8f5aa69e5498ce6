"""One MQTT session with the broker between gateway and writer.

* Nothing here is a guarantee. Messages may be lost, doubled or late; the ledger sorts that out (QoS 0 throughout,
  because a PUBACK would only say that the broker has it, and the broker is a wire).
* What has arrived and was not yet taken is bounded in messages and bytes; more is dropped, and sent again.
* Any trouble with the broker is `Unavailable`.
"""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import aiomqtt

from pipeline.errors import Unavailable
from pipeline.settings import Bus

MOST_BYTES: Final = 64 << 20
"""Bytes that may wait in memory to be taken."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it arrived."""

    topic: str
    payload: bytes
    retained: bool = False
    """The broker's memory from before we subscribed, not news."""


class Arrivals(asyncio.Queue[aiomqtt.Message]):
    """A queue that is full by messages or by bytes, whichever comes first."""

    def _init(self, maxsize: int) -> None:  # noqa: ARG002  # asyncio.Queue's own hook
        self._held: collections.deque[aiomqtt.Message] = collections.deque()
        self._bytes = 0

    def _put(self, item: aiomqtt.Message) -> None:
        self._held.append(item)
        self._bytes += len(_bytes(item))

    def _get(self) -> aiomqtt.Message:
        item = self._held.popleft()
        self._bytes -= len(_bytes(item))
        return item

    def qsize(self) -> int:
        """Messages waiting."""
        return len(self._held)

    def empty(self) -> bool:
        """Whether none is waiting."""
        return not self._held

    def full(self) -> bool:
        """Whether the next one is dropped."""
        return super().full() or self._bytes > MOST_BYTES

    def take(self) -> list[aiomqtt.Message]:
        """Everything that is there, without waiting."""
        return [self.get_nowait() for _ in range(self.qsize())]


class Session:
    """A connected session; made by `connected`."""

    def __init__(self, client: aiomqtt.Client, arrivals: Arrivals) -> None:
        self._client, self._arrivals = client, arrivals

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hands a message to the broker, QoS 0; waits while the socket is full.

        Raises:
            Unavailable: the broker is gone, or took nothing for the session's timeout.
        """
        with _as_unavailable():
            await self._client.publish(topic, payload, qos=0, retain=retain)

    async def deliveries(self) -> AsyncIterator[Sequence[Delivery]]:
        """What arrives, as many at once as are there.

        Raises:
            Unavailable: the broker is gone.
        """
        with _as_unavailable():
            async for first in self._client.messages:
                yield [Delivery(str(one.topic), _bytes(one), one.retain) for one in (first, *self._arrivals.take())]


@contextlib.asynccontextmanager
async def connected(bus: Bus, identifier: str, topics: Sequence[str], queue: int = 1024) -> AsyncIterator[Session]:
    """A session with the broker, subscribed to `topics`, holding at most `queue` messages.

    Raises:
        Unavailable: on entering, no broker there or it refuses us.
        ConfigError: the password file cannot be read.
    """
    arrivals = Arrivals(queue)
    client = aiomqtt.Client(
        bus.host,
        bus.port,
        identifier=identifier,
        username=bus.user,
        password=bus.password(),
        keepalive=bus.keepalive_s,
        timeout=bus.timeout_s,
        queue_type=lambda maxsize: arrivals,  # type: ignore[arg-type]  # noqa: ARG005  # so that we can empty it
        max_queued_incoming_messages=queue,
    )
    async with contextlib.AsyncExitStack() as stack:
        with _as_unavailable(f"bus {bus.host}:{bus.port}: "):
            await stack.enter_async_context(_quietly_left(client))
            for topic in topics:
                await client.subscribe(topic, qos=0)
        yield Session(client, arrivals)


@contextlib.asynccontextmanager
async def _quietly_left(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Leaving a broker that is gone is no error of its own."""
    await client.__aenter__()
    try:
        yield
    finally:
        with contextlib.suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)


@contextlib.contextmanager
def _as_unavailable(where: str = "bus: ") -> Iterator[None]:
    try:
        yield
    except (aiomqtt.MqttError, OSError) as error:
        raise Unavailable(f"{where}{error}") from error


def _bytes(message: aiomqtt.Message) -> bytes:
    return message.payload if isinstance(message.payload, bytes) else b""
