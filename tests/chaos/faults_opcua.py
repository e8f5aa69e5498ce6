"""What goes wrong with OPC UA servers; the server is node-opcua from npm, for its certificate asyncua."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.model import Phase
from tests.chaos.watched import NEAR_S, NINE_HOURS_MS, RECOVER_S, Clock, Outcome, recovered, repeated, watched
from tests.collectors.devices import MemorySpool, machine
from tests.collectors.test_opcua_security import guarded, secured
from tests.support.proxy import Proxy
from tests.support.services import OpcUaServer

URI = "urn:test:line"
TAGS = 4
LINE = {"counters": TAGS, "everyMs": 200, "history": TAGS}
EXPECTED_S = 2.0
"""Interval of a tag whose subscription is watched."""
_WEEKEND_S = 60 * 3600.0


class Line:
    """The server behind a link, in a folder of its own."""

    def __init__(self, folder: Path, link: Proxy) -> None:
        self._folder, self._link = folder, link
        self.server: OpcUaServer | None = None

    async def start(self, **options: Any) -> None:
        server = OpcUaServer(self._folder, line=LINE, **options)
        await asyncio.to_thread(server.__enter__)
        self.server, self._link.target = server, ("127.0.0.1", server.port)
        await self.tell("count", "counting")
        self._link.heal()

    async def stop(self) -> None:
        self._link.refuse()
        if self.server is not None:
            await asyncio.to_thread(self.server.__exit__)
            self.server = None

    async def tell(self, command: str, answer: str) -> str:
        assert self.server is not None
        return await asyncio.to_thread(self.server.tell, command, answer)


@contextlib.asynccontextmanager
async def a_line(folder: Path) -> AsyncIterator[tuple[Line, Proxy]]:
    async with Proxy("127.0.0.1", 1) as link:
        line = Line(folder, link)
        await line.start()
        try:
            yield line, link
        finally:
            await line.stop()


def reader(port: int, **tag: Any) -> Any:
    source = {"protocol": "opcua", "url": f"opc.tcp://127.0.0.1:{port}/press", "every_s": 0.1, "timeout_s": 2.0}
    return machine(source, [{"name": f"c{i}", "address": f"nsu={URI};s=c{i}"} | tag for i in range(TAGS)])


async def restarted(times: int, folder: Path) -> Outcome:
    async with a_line(folder) as (line, link):

        async def restart() -> None:
            await line.stop()
            await line.start()

        return await repeated(Outcome("OPC UA", f"server restarted {times} times"), reader(link.port), restart, times)


async def renumbered(times: int, folder: Path) -> Outcome:
    """A restart after which the namespace has another index."""
    async with a_line(folder) as (line, link):
        more = 0

        async def restart() -> None:
            nonlocal more
            more = (more + 1) % 4
            await line.stop()
            await line.start(before=[f"urn:test:other{i}" for i in range(more)])

        outcome = Outcome("OPC UA", "namespace index changed by a restart")
        return await repeated(outcome, reader(link.port), restart, times)


async def half_open(times: int, folder: Path) -> Outcome:
    """Nothing moves until the session has been given up; then the link is whole again."""
    async with a_line(folder) as (_, link):

        async def swallow() -> None:
            link.stall()
            await asyncio.sleep(8.0)
            link.cut()
            link.heal()

        return await repeated(Outcome("OPC UA", "half-open connection"), reader(link.port), swallow, min(times, 3))


async def dropped(times: int, folder: Path) -> Outcome:
    """The server goes on with keepalives but monitors nothing any more."""
    outcome = Outcome("OPC UA", "subscription silently dropped", noticed_most_s=2 * EXPECTED_S)
    outcome.remark = "from the last value to the session being given up"
    async with a_line(folder) as (line, link), watched(outcome, reader(link.port, every_s=EXPECTED_S)) as spool:
        for _ in range(min(times, 3)):
            told = len(spool.events("device.unreachable"))
            await line.tell("forget", "forgotten")
            last = time.monotonic()
            await spool.until(lambda held, told=told: len(held.events("device.unreachable")) > told, 30.0)  # type: ignore[misc]
            outcome.noticed_s.append(time.monotonic() - last)
            await recovered(spool, outcome)
    return outcome


async def clock_lost(times: int, folder: Path) -> Outcome:
    back = datetime(2000, 1, 1, tzinfo=UTC) - datetime.now(UTC)
    return await _clock("device clock 2000-01-01", round(back / timedelta(milliseconds=1)), times, folder)


async def clock_local(times: int, folder: Path) -> Outcome:
    return await _clock("device clock nine hours ahead", NINE_HOURS_MS, times, folder)


async def _clock(name: str, off_ms: int, times: int, folder: Path) -> Outcome:
    outcome = Outcome("OPC UA", name, near_s=NEAR_S)
    async with a_line(folder) as (line, link):

        async def lose() -> None:
            await line.tell(f"shift {off_ms}", "shifted")
            await asyncio.sleep(1.0)
            await line.tell("shift 0", "shifted")

        return await repeated(outcome, reader(link.port), lose, min(times, 5))


async def weekend(times: int, folder: Path) -> Outcome:
    """Where the server's history reaches from before to after, nothing of it is missing."""
    outcome, clock = Outcome("OPC UA", "away for a weekend (simulated)"), Clock()
    async with a_line(folder) as (_, link):

        async def leave() -> None:
            link.refuse()
            await asyncio.sleep(1.0)
            clock.offset_s += _WEEKEND_S
            link.heal()

        return await repeated(outcome, reader(link.port), leave, min(times, 3), clock, settle_s=2.0)


async def expired(times: int, made: Path) -> Outcome:
    """The server's certificate has run out; then somebody renews it."""
    outcome = Outcome("OPC UA", "certificate expired", noticed_most_s=RECOVER_S)
    outcome.remark = "from the renewal to the session being open"
    long_ago = datetime.now(UTC) - timedelta(days=4_000)
    for turn in range(min(times, 3)):
        folder = made / str(turn)
        async with guarded(folder / "good") as device, Proxy("127.0.0.1", device.port) as link:
            real, device.port = device.port, link.port
            one = secured(device, folder / "pki", policy="Basic256Sha256")
            async with watched(outcome, one) as spool:
                trusted = folder / "pki" / "trusted" / f"127.0.0.1-{link.port}.der"
                valid = trusted.read_bytes()
                link.refuse()
                async with guarded(folder / "old", long_ago) as stale:
                    trusted.write_bytes(stale.certificate.public_bytes(Encoding.DER))
                    link.target = ("127.0.0.1", stale.port)
                    link.heal()
                    await spool.until(lambda held: held.events("machine.misconfigured"), 30.0)
                    link.refuse()
                trusted.write_bytes(valid)
                link.target = ("127.0.0.1", real)
                link.heal()
                began, cleared = time.monotonic(), _cleared(spool)
                await spool.until(lambda held, before=cleared: _cleared(held) > before, 90.0)  # type: ignore[misc]
                outcome.noticed_s.append(time.monotonic() - began)
    return outcome


def _cleared(spool: MemorySpool) -> int:
    return sum(event.phase is Phase.CLEARED for event in spool.events("device.unreachable"))


ALL = (restarted, renumbered, half_open, dropped, clock_lost, clock_local, weekend, expired)
