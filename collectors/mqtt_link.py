"""A subscriber's connection to an MQTT 3.1.1 broker: subscribe, take what comes, acknowledge it later.

* Nothing is acknowledged by itself; `acknowledge` is called when the rows are durable.
* Bounded: with `most` messages or `_MOST_BYTES` waiting the socket is not read, so the broker holds the rest; nothing
  is dropped here.
* Alive: a broker that says nothing, not even to a ping, for one and a half keep-alives is gone.

Why our own: a library that lets acknowledgements wait costs 10 to 100 times as much a message (tests/bench/README.md).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from collectors import mqtt_packets as packet
from collectors.buffer import Buffer
from collectors.mqtt_packets import Answer, Message, Will
from collectors.mqtt_tls import Tls, tell
from collectors.source import Refused
from pipeline.errors import BadData, Unavailable

KEEPALIVE_S: Final = 15
_LEAVE_S: Final = 2.0
_MOST_BYTES: Final = 64 << 20
_FILTERS: Final = 200
"""Topics of one request; a few brokers refuse packets of many kilobytes from a new client."""
_REFUSED: Final = 0x80
_NO_ENTRY: Final = {4: "bad user name or password", 5: "not authorised"}
_NOT_NOW: Final = {1: "MQTT 3.1.1 not spoken", 2: "client id refused", 3: "server unavailable"}
_MOST_AT_ONCE: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Access:
    """Where a broker is and how one gets in."""

    host: str
    port: int
    client_id: str
    user: str | None = None
    password: str | None = None
    clean: bool = False
    timeout_s: float = 10.0
    most: int = 1000
    """Messages that may wait in memory."""
    will: Will | None = None
    tls: Tls | None = None
    """How it is encrypted, None: not."""
    asset: str = ""
    """Whose metric says when certificates expire."""


class Link(asyncio.Protocol):
    """One connection; made by `linked`."""

    def __init__(self, access: Access) -> None:
        self._where = f"{access.host}:{access.port}"
        self._most = access.most
        self._data = bytearray()
        self._buffer: Buffer[Message] = Buffer(_MOST_BYTES)
        self._waiting = 0
        self._transport: asyncio.Transport | None = None
        self._answers: asyncio.Queue[Answer] = asyncio.Queue(_FILTERS)
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._paused = self._subscribed = False
        self._ident = 0
        self.closed = self._loop.create_future()

    # ---- what the loop calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever."""
        self._fail(Unavailable(f"{self._where}: {exc or 'the broker closed the connection'}"))
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Bytes, in any portions."""
        self._heard = self._loop.time()
        self._data += data
        self._parse()

    def _parse(self) -> None:
        try:
            found = packet.packets(self._data, self._room())
        except BadData as error:
            self._fail(Unavailable(f"{self._where}: {error}"))
            self._abort()
            return
        for one in found:
            if isinstance(one, Message):
                self._buffer.put(one, len(one.payload) + 1)
                self._waiting += 1
            elif one.kind != packet.PINGRESP and not self._answers.full():
                self._answers.put_nowait(one)
        if self._transport is not None and not self._paused and not self._room():
            self._paused = True
            self._transport.pause_reading()

    def _room(self) -> int:
        """Packets that may still be read; a kept session talks before it answers, so answers are waited for first."""
        if self._buffer.full:
            return 0
        return max(0, self._most - self._waiting) if self._subscribed else _MOST_AT_ONCE

    def _fail(self, error: Unavailable) -> None:
        self._buffer.end(error)
        if not self._answers.full():
            self._answers.put_nowait(Answer(0, str(error).encode()))

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ---- what a session calls ----

    async def take(self) -> list[Message]:
        """Everything that has come, at least one message. Cancelling is safe.

        Raises:
            Unavailable: the connection is gone and everything was taken.
        """
        taken = await self._buffer.take()
        self._waiting = 0
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._heard = self._loop.time()
            self._parse()
            if not self._paused:
                self._transport.resume_reading()
        return taken

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tells the broker that it may forget them."""
        data = packet.acknowledgements(messages)
        if data:
            self._write(data)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Sends a message of QoS 0; nobody waits for it."""
        self._write(packet.publish(topic, payload, retain=retain))

    def publish_surely(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Sends a message of QoS 1; its acknowledgement is not waited for."""
        self._ident = self._ident % 0xFFFF + 1
        self._write(packet.publish(topic, payload, ident=self._ident, retain=retain))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # ---- coming and going ----

    async def enter(self, access: Access) -> None:
        """Is let in.

        Raises:
            Refused: the broker does not want us.
            Unavailable: it does not answer, or not now.
        """
        self._write(
            packet.connect(
                access.client_id,
                clean=access.clean,
                keepalive_s=round(KEEPALIVE_S),
                user=access.user,
                password=access.password,
                will=access.will,
            )
        )
        answer = await self._answer(packet.CONNACK, access.timeout_s)
        code = answer.rest[1] if len(answer.rest) > 1 else 255
        if code in _NO_ENTRY:
            raise Refused(
                f"{self._where} refuses user {access.user!r}: {_NO_ENTRY[code]}; check user and password_file"
            )
        if code:
            raise Unavailable(f"{self._where}: {_NOT_NOW.get(code, f'refused with code {code}')}")

    async def subscribe(self, access: Access, filters: Sequence[str]) -> None:
        """Asks for topics.

        Raises:
            Refused: the broker refuses one; says which.
            Unavailable: it does not answer.
        """
        for start in range(0, len(filters), _FILTERS):
            part = filters[start : start + _FILTERS]
            self._ident = self._ident % 0xFFFF + 1
            self._write(packet.subscribe(self._ident, part))
            granted = (await self._answer(packet.SUBACK, access.timeout_s)).rest[2:]
            for one, code in zip(part, granted, strict=False):
                if code >= _REFUSED:
                    raise Refused(f"{self._where} does not let {access.client_id} read topic {one!r}")
            if len(granted) != len(part):
                raise Unavailable(f"{self._where}: {len(granted)} answers to {len(part)} topics")
        self._subscribed = True

    async def _answer(self, kind: int, timeout_s: float) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    answer = await self._answers.get()
                    if answer.kind == 0:
                        raise Unavailable(answer.rest.decode())
                    if answer.kind == kind:
                        return answer
        except TimeoutError as error:
            raise Unavailable(f"{self._where}: no answer within {timeout_s:g} s") from error

    async def ping(self) -> None:
        """Keeps the connection alive and notices when it is dead; until cancelled."""
        while not self.closed.done():
            await asyncio.sleep(KEEPALIVE_S / 2)
            self._write(packet.PING)
            if not self._paused and self._loop.time() - self._heard > 1.5 * KEEPALIVE_S:
                self._fail(Unavailable(f"{self._where}: silent for {1.5 * KEEPALIVE_S:g} s"))
                self._abort()

    async def leave(self) -> None:
        """Says goodbye, for a bounded time."""
        self._write(packet.LEAVE)
        if self._transport is not None:
            self._transport.close()
        try:
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.shield(self.closed)
        except TimeoutError:
            self._abort()


@asynccontextmanager
async def linked(access: Access, filters: Sequence[str]) -> AsyncIterator[Link]:
    """A connection that is let in and subscribed.

    Raises:
        Unavailable: nobody answers there, or not now.
        Refused: user or topics are refused.
    """
    link = await _connected(access)
    pinging = None
    try:
        await link.enter(access)
        pinging = asyncio.create_task(link.ping(), name=f"ping {access.client_id}")
        await link.subscribe(access, filters)
        yield link
    finally:
        if pinging is not None:
            pinging.cancel()
            await asyncio.wait({pinging})
        await link.leave()


async def _connected(access: Access) -> Link:
    where, tls = f"{access.host}:{access.port}", access.tls
    greeting = None if tls is None else tls.context(access.asset)
    name = None if tls is None else tls.server_name or access.host
    try:
        async with asyncio.timeout(access.timeout_s):
            transport, link = await asyncio.get_running_loop().create_connection(
                lambda: Link(access), access.host, access.port, ssl=greeting, server_hostname=name
            )
    except ssl.SSLCertVerificationError as error:
        raise Refused(
            f"{where}: the broker's certificate is not believed: {error.verify_message}; check tls.ca_file and "
            "tls.server_name, or renew the certificate"
        ) from error
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"{where}: {error or 'no answer'}") from error
    if tls is not None:
        tell(access.asset, "server", transport.get_extra_info("ssl_object").getpeercert(binary_form=True))
    return link
