"""One MQTT session with the broker between gateway and writer.

* Nothing here is a guarantee. Messages may be lost, doubled or late; the ledger sorts that out (QoS 0 throughout,
  because a PUBACK would only say that the broker has it, and the broker is a wire).
* What has arrived and was not yet taken is bounded in messages and bytes; more is dropped, and sent again.
* Of a cluster's nodes any will do: they are tried in an order drawn anew each time, so that clients spread over them,
  and one that is dead costs a try.
* Any trouble with the broker is `Unavailable`, a certificate that is refused too: what a gateway reads meanwhile stays
  in its spool, and nobody has to start it again once the certificate is renewed.
* Certificates are read when a session is opened, so that one renewed on disk counts from the next.
"""

import asyncio
import collections
import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiomqtt
from cryptography import x509

from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable
from pipeline.settings import Bus, Node

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

    def __init__(self, client: aiomqtt.Client, arrivals: Arrivals, node: Node) -> None:
        self._client, self._arrivals = client, arrivals
        self.node = node

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
    """A session with the broker, or with any node of its cluster, subscribed to `topics`, holding `queue` messages.

    Raises:
        Unavailable: on entering, no broker there or it refuses us; every node was tried.
        ConfigError: the password file or a certificate cannot be read.
    """
    shown = _shown(bus)
    refused: list[Unavailable] = []
    async with contextlib.AsyncExitStack() as stack:
        for node in random.sample(bus.nodes, len(bus.nodes)):
            try:
                session = await stack.enter_async_context(_session(bus, node, shown, identifier, topics, queue))
                break
            except Unavailable as error:
                refused.append(error)
        else:
            try:
                raise Unavailable("; ".join(str(error) for error in refused)) from refused[-1]
            finally:
                refused.clear()  # they hold this frame, and with it in a circle their sockets would stay open
        yield session


@contextlib.asynccontextmanager
async def _session(
    bus: Bus, node: Node, shown: str, identifier: str, topics: Sequence[str], queue: int
) -> AsyncIterator[Session]:
    arrivals = Arrivals(queue)
    client = aiomqtt.Client(
        node.host,
        node.port,
        identifier=identifier,
        username=bus.user,
        password=bus.password(),
        keepalive=bus.keepalive_s,
        timeout=bus.timeout_s,
        tls_context=_tls(bus),
        queue_type=lambda maxsize: arrivals,  # type: ignore[arg-type]  # noqa: ARG005  # so that we can empty it
        max_queued_incoming_messages=queue,
    )
    async with contextlib.AsyncExitStack() as stack:
        with _as_unavailable(f"bus {node}: ", shown):
            await stack.enter_async_context(_quietly_left(client))
            for topic in topics:
                await client.subscribe(topic, qos=0)
        yield Session(client, arrivals, node)


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
def _as_unavailable(where: str = "bus: ", shown: str = "") -> Iterator[None]:
    before = _stops()
    try:
        yield
    except (aiomqtt.MqttError, OSError) as error:
        raise Unavailable(f"{where}{_reason(error, shown)}") from error
    if _stops() > before:
        # The library waits by wait_for, which before Python 3.12 loses a cancellation that comes with the answer:
        # whoever was told to stop would go on for ever.
        raise asyncio.CancelledError


def _stops() -> int:
    """How often the current task was told to stop; a task group that ended may have left some."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def _reason(error: BaseException, shown: str) -> str:
    """What the library wraps: which check of the broker's certificate failed; where it says nothing, what we showed."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the broker's certificate is not believed: {cause.verify_message}; check bus.ca_file, that its names "
            "have bus.host, and with `rootdx certs list` that it is not at its end"
        )
    nobody_is_there = isinstance(cause, ConnectionRefusedError | socket.gaierror)
    return str(error) if nobody_is_there else f"{error}{shown}"


class _Greeting(ssl.SSLSocket):
    """Notes when the broker's certificate ends."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002  # as it is inherited
        super().do_handshake(block)
        end = (self.getpeercert() or {}).get("notAfter")
        if isinstance(end, str):
            metrics.certificate_expiry.labels("bus", "server").set(ssl.cert_time_to_seconds(end))


def _tls(bus: Bus) -> ssl.SSLContext | None:
    """How to greet the broker; None: not encrypted.

    Raises:
        ConfigError: a file cannot be used; says which.
    """
    if bus.ca_file is None:
        return None
    try:
        made = ssl.create_default_context(cafile=str(bus.ca_file))
    except OSError as error:  # an SSLError is one
        raise _unusable("ca_file", bus.ca_file, error) from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.sslsocket_class = _Greeting
    if bus.certificate is not None:
        try:
            made.load_cert_chain(bus.certificate, bus.key, password="")
        except OSError as error:
            raise _unusable("certificate or bus.key", bus.certificate, error) from error
    return made


def _shown(bus: Bus) -> str:
    """What we show, for a broker that only cuts the line when it does not like it.

    Raises:
        ConfigError: the certificate cannot be used.
    """
    if bus.ca_file is None:
        return ""
    if bus.certificate is None:
        return "; the broker may ask for a certificate: bus.certificate and bus.key name none"
    try:
        ours = x509.load_pem_x509_certificate(bus.certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable("certificate", bus.certificate, error) from error
    end = ours.not_valid_after_utc
    metrics.certificate_expiry.labels("bus", "own").set(end.timestamp())
    return f"; we show {ours.subject.rfc4514_string()}, valid to {end:%Y-%m-%d}: see `rootdx certs list`"


def _unusable(key: str, file: Path, error: OSError | ValueError) -> ConfigError:
    why = (error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)) or "no PEM in it"
    return ConfigError(
        f"bus.{key} = {str(file)!r}: cannot be used: {why}; expected PEM files that this user may read, the key "
        "without pass phrase"
    )


def _bytes(message: aiomqtt.Message) -> bytes:
    return message.payload if isinstance(message.payload, bytes) else b""
