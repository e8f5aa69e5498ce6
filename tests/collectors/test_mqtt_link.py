"""The connection to a broker that misbehaves: a scripted one of a few lines."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from collectors import mqtt_link
from collectors.mqtt_link import Access, linked
from collectors.mqtt_packets import Message
from pipeline.errors import ConfigError, Unavailable

ACCEPTED, GRANTED = b"\x20\x02\x00\x00", b"\x90\x03\x00\x01\x01"


@asynccontextmanager
async def saying(*answers: bytes, then_close: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A broker that answers the first packets with these bytes, and notes all it is told."""
    told: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for answer in answers:
                told.append(await reader.read(4096))
                writer.write(answer)
                await writer.drain()
            while not then_close and (data := await reader.read(4096)):
                told.append(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], told
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


async def taken(port: int, topics: Sequence[str] = ("t",), most: int = 100, count: int = 1) -> list[Message]:
    found: list[Message] = []
    async with asyncio.timeout(5), linked(Access("127.0.0.1", port, "me", timeout_s=0.5, most=most), topics) as link:
        while len(found) < count:
            messages = await link.take()
            link.acknowledge(messages)
            found += messages
    return found


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ([b"\x20\x02\x00\x05"], ConfigError, "not authorised; check user"),
        ([b"\x20\x02\x00\x04"], ConfigError, "bad user name or password"),
        ([b"\x20\x02\x00\x03"], Unavailable, "server unavailable"),
        ([b"\x20\x02\x00\x63"], Unavailable, "code 99"),
        ([ACCEPTED, b"\x90\x03\x00\x01\x80"], ConfigError, "does not let me read topic 't'"),
        ([ACCEPTED, b"\x90\x02\x00\x01"], Unavailable, "0 answers to 1 topics"),
        ([b""], Unavailable, "no answer within 0.5 s"),
        ([ACCEPTED, b""], Unavailable, "no answer within 0.5 s"),
        ([b"\x30\xff\xff\xff\xff\xff"], Unavailable, "not MQTT"),
        ([ACCEPTED, GRANTED + b"\x34\x03\x00\x01a"], Unavailable, "QoS 2"),
    ],
)
async def test_what_a_broker_says_wrong_is_told(answers: list[bytes], error: type[Exception], words: str) -> None:
    async with saying(*answers) as (port, _):
        with pytest.raises(error, match=words):
            await taken(port)


async def test_a_broker_that_hangs_up_is_unavailable_after_what_it_said() -> None:
    message = b"\x30\x04\x00\x01tx"
    async with saying(ACCEPTED, GRANTED + message, then_close=True) as (port, _):
        assert [one.payload for one in await taken(port)] == [b"x"]
    async with saying(ACCEPTED, GRANTED, then_close=True) as (port, _):
        with pytest.raises(Unavailable, match="closed the connection"):
            await taken(port)


async def test_messages_before_the_grant_are_kept_however_many() -> None:
    """A kept session begins to talk before it answers; the buffer of 2 must not make us deaf."""
    many = b"".join(b"\x32\x05\x00\x01t" + struct.pack(">H", i) for i in range(1, 11))
    async with saying(ACCEPTED, many + GRANTED) as (port, told):
        assert [one.ident for one in await taken(port, most=2, count=10)] == list(range(1, 11))
        await asyncio.sleep(0.05)
    acknowledged = b"".join(told[2:]).removesuffix(b"\xe0\x00")
    assert acknowledged == b"".join(b"\x40\x02" + struct.pack(">H", i) for i in range(1, 11))


async def test_a_broker_that_falls_silent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_link, "KEEPALIVE_S", 0.2)
    async with saying(ACCEPTED, GRANTED) as (port, told):
        with pytest.raises(Unavailable, match=r"silent for 0\.3 s"):
            await taken(port)
    assert b"\xc0\x00" in b"".join(told)
