"""What hostile clients try on the bus to keep others out: every place taken, without a certificate or with one."""

import asyncio
import contextlib
import resource
import ssl
import time
import uuid
from collections.abc import AsyncIterator
from typing import Final

from pipeline.bus import connected
from pipeline.errors import Unavailable
from tests.chaos.hostile_plant import EVIL, GOOD, Outcome, Yard

TRIES: Final = 10
"""Of somebody who behaves, to get in meanwhile."""
_AT_ONCE: Final = 64
_CONNECT: Final = b"\x00\x04MQTT\x04\x02\x00\x00"
"""Clean session, and no time after which silence would end it."""


async def crowding(yard: Yard, many: int) -> list[Outcome]:
    """So many at once, more than a plant has clients; each comes back as soon as it is put out."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return [await _idle(yard, many), await _sessions(yard, many)]


async def _idle(yard: Yard, many: int) -> Outcome:
    """They connect and say nothing."""
    put_out = 0

    async def one() -> None:
        nonlocal put_out
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("localhost", yard.broker_port)
                try:
                    await reader.read(1)
                    put_out += 1
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.05)

    hogs = [asyncio.create_task(one()) for _ in range(many)]
    try:
        inside, slowest_s, goes_on = await _meanwhile(yard)
    finally:
        for hog in hogs:
            hog.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)
    said = f"put out {put_out} times; slowest entry {slowest_s:.1f} s"
    held = inside == TRIES and goes_on and put_out >= many
    return Outcome("bus", "idle connections without a certificate", many, _outcome(inside), said, held)


async def _sessions(yard: Yard, many: int) -> Outcome:
    """Each has the certificate of gw-evil, a session of its own, and stays."""
    async with contextlib.AsyncExitStack() as stack:
        gate = asyncio.Semaphore(_AT_ONCE)
        context = ssl.create_default_context(cafile=str(yard.papers / "ca.pem"))
        context.load_cert_chain(yard.papers / f"{EVIL}.pem", yard.papers / f"{EVIL}.key")

        async def one() -> bool:
            async with gate:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    return await stack.enter_async_context(_session(yard, context))
            return False

        taken = sum(await asyncio.gather(*(one() for _ in range(many))))
        inside, slowest_s, goes_on = await _meanwhile(yard)
    said = f"sessions of gw-evil: {taken}; slowest entry {slowest_s:.1f} s"
    return Outcome("bus", "one certificate, many sessions", many, _outcome(inside), said, inside == TRIES and goes_on)


@contextlib.asynccontextmanager
async def _session(yard: Yard, context: ssl.SSLContext) -> AsyncIterator[bool]:
    """Whether it was let in."""
    reader, writer = await asyncio.open_connection("localhost", yard.broker_port, ssl=context)
    try:
        name = uuid.uuid4().hex.encode()
        packet = _CONNECT + len(name).to_bytes(2, "big") + name
        writer.write(bytes([0x10, len(packet)]) + packet)
        yield await asyncio.wait_for(reader.readexactly(4), 20) == b"\x20\x02\x00\x00"
    finally:
        writer.transport.abort()


async def _meanwhile(yard: Yard) -> tuple[int, float, bool]:
    """How often somebody who behaves gets in, how long that takes at most, whether the one that is in goes on."""
    await asyncio.sleep(1.0)  # until the crowd is there
    inside, slowest_s = 0, 0.0
    for _ in range(TRIES):
        began = time.monotonic()
        with contextlib.suppress(Unavailable):
            async with connected(yard.bus(GOOD), f"x-{uuid.uuid4().hex[:8]}", []):
                inside += 1
        slowest_s = max(slowest_s, time.monotonic() - began)
        await asyncio.sleep(0.4)  # for longer, all in all, than the broker waits for a certificate
    return inside, slowest_s, await yard.goes_on()


def _outcome(inside: int) -> str:
    return f"others let in: {inside} of {TRIES}; gw-good goes on"
