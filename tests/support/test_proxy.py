"""The proxy does to a link what it says, and nothing else."""

import asyncio
import contextlib
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

import pytest

from tests.support.proxy import Proxy


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    async def echo(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    yield port
    server.close()
    await server.wait_closed()


@pytest.fixture
async def proxy(echo_port: int) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", echo_port) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def connection(proxy: Proxy) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def echoed(reader: StreamReader, writer: StreamWriter, data: bytes = b"hello", patience_s: float = 5.0) -> bytes:
    async with asyncio.timeout(patience_s):
        writer.write(data)
        return await reader.readexactly(len(data))


async def test_bytes_pass_unchanged_and_in_order(proxy: Proxy) -> None:
    data = bytes(range(256)) * 20_000
    async with connection(proxy) as (reader, writer):
        received = asyncio.create_task(reader.readexactly(len(data)))
        writer.write(data)
        await writer.drain()
        assert await received == data


async def test_end_of_one_direction_leaves_the_other_open(proxy: Proxy) -> None:
    async with connection(proxy) as (reader, writer):
        writer.write(b"last")
        writer.write_eof()
        assert await reader.read() == b"last"


async def test_cut_resets_both_ends_and_accepts_again(proxy: Proxy) -> None:
    async with connection(proxy) as (reader, writer):
        assert await echoed(reader, writer) == b"hello"
        assert proxy.links == 1
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
    async with connection(proxy) as (reader, writer):
        assert await echoed(reader, writer) == b"hello"


async def test_refused_until_healed_on_the_same_port(proxy: Proxy) -> None:
    port = proxy.port
    async with connection(proxy) as (reader, writer):
        assert await echoed(reader, writer) == b"hello"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(proxy.host, proxy.port)
    proxy.heal()
    assert proxy.port == port
    async with connection(proxy) as (reader, writer):
        assert await echoed(reader, writer) == b"hello"


async def test_stalled_link_stays_up_silent_and_delivers_after_healing(proxy: Proxy) -> None:
    async with connection(proxy) as (reader, writer):
        assert await echoed(reader, writer) == b"hello"
        proxy.stall()
        with pytest.raises(TimeoutError):  # really waits: silence cannot be seen in less than some time
            await echoed(reader, writer, b"held", patience_s=0.2)
        proxy.heal()
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"held"


async def test_new_connection_to_a_stalled_link_is_accepted_and_silent(proxy: Proxy) -> None:
    proxy.stall()
    async with connection(proxy) as (reader, writer):
        with pytest.raises(TimeoutError):
            await echoed(reader, writer, patience_s=0.2)


async def test_stalled_link_can_be_cut(proxy: Proxy) -> None:
    proxy.stall()
    async with connection(proxy) as (reader, writer):
        writer.write(b"x")
        await asyncio.sleep(0.05)  # the connection reaches the proxy
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), 5)


async def test_delay_is_paid_once_each_way_and_pieces_overlap(proxy: Proxy) -> None:
    proxy.delay(0.1)
    async with connection(proxy) as (reader, writer):
        begun = time.monotonic()
        for _ in range(5):
            writer.write(b"piece")
            await asyncio.sleep(0.01)
        await reader.readexactly(25)
        assert 0.2 <= time.monotonic() - begun < 0.6


async def test_throttle_spreads_bytes_over_time(proxy: Proxy) -> None:
    proxy.throttle(100_000)
    async with connection(proxy) as (reader, writer):
        begun = time.monotonic()
        assert len(await echoed(reader, writer, b"x" * 30_000)) == 30_000
        assert 0.3 <= time.monotonic() - begun < 2.0


async def test_server_that_is_down_resets_the_client(proxy: Proxy) -> None:
    async with Proxy("127.0.0.1", 1) as dead, connection(dead) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(1), 5)


async def test_leaving_resets_what_is_open(echo_port: int) -> None:
    async with Proxy("127.0.0.1", echo_port) as proxy:
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        assert await echoed(reader, writer) == b"hello"
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(proxy.host, proxy.port)
