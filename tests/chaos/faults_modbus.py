"""What goes wrong with Modbus devices."""

import asyncio
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench import modbus_line
from tests.chaos.watched import NEAR_S, NINE_HOURS_MS, Clock, Outcome, repeated
from tests.collectors.devices import RawModbus, machine, serving
from tests.support.modbus_server import ModbusServer
from tests.support.proxy import Proxy

EVERY_S = 0.2
TAGS = 8
_WEEKEND_S = 60 * 3600.0


class Sick(RawModbus):
    """Mangles its answers while `illness` says how."""

    illness = ""
    answers = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        real, device = writer.write, self

        def write(data: Any) -> None:
            device.answers += 1
            real(device.mangled(bytes(data)))

        writer.write = write  # type: ignore[method-assign]
        await super().serve(reader, writer)

    def mangled(self, frame: bytes) -> bytes:
        if self.illness == "cut and doubled":
            return frame[: len(frame) // 2] if self.answers % 2 else frame + frame
        if self.illness == "wrong transaction":
            (number,) = struct.unpack_from(">H", frame)
            return struct.pack(">H", (number + 1 + self.answers % 3) & 0xFFFF) + frame[2:]
        return frame


def device() -> Sick:
    return Sick({("holding", i): i for i in range(TAGS)})


def reader(port: int, **source: Any) -> Any:
    settings = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": EVERY_S, "timeout_s": 0.5}
    return machine(settings | source, [{"address": f"holding:{i}"} for i in range(TAGS)])


async def restarted(times: int, _: Path) -> Outcome:
    outcome = Outcome("Modbus", f"server restarted {times} times")
    async with Proxy("127.0.0.1", 1) as link:
        servers: list[ModbusServer] = []

        async def start() -> None:
            servers.append(await ModbusServer("modbus-serial").__aenter__())
            link.target = ("127.0.0.1", servers[-1].port)
            link.heal()

        async def restart() -> None:
            link.refuse()
            await servers.pop().__aexit__()
            await start()

        await start()
        try:
            return await repeated(outcome, reader(link.port), restart, times)
        finally:
            await servers.pop().__aexit__()


async def half_open(times: int, _: Path) -> Outcome:
    outcome = Outcome("Modbus", "half-open connection")
    async with serving(device()) as port, Proxy("127.0.0.1", port) as link:

        async def swallow() -> None:
            link.stall()
            await asyncio.sleep(1.5)
            link.heal()

        return await repeated(outcome, reader(link.port), swallow, times)


async def _ill(name: str, illness: str, times: int) -> Outcome:
    sick = device()

    async def fall_ill() -> None:
        sick.illness = illness
        await asyncio.sleep(1.5)
        sick.illness = ""

    async with serving(sick) as port:
        return await repeated(Outcome("Modbus", name), reader(port), fall_ill, times)


async def mangled(times: int, _: Path) -> Outcome:
    return await _ill("frames cut and doubled", "cut and doubled", times)


async def wrong_transaction(times: int, _: Path) -> Outcome:
    return await _ill("answers of the wrong transaction", "wrong transaction", times)


async def dead_slave(times: int, _: Path) -> Outcome:
    """Jitter of the nine others, as seconds of a period of one."""
    every_s = 1.0
    shares = await modbus_line.jitter(20.0 if times > 5 else 4.0, every_s, modbus_line.DEAD)
    outcome = Outcome("Modbus", "one slave of ten dead", noticed_most_s=0.05 * every_s)
    outcome.noticed_s = [float(np.percentile(shares, 99)) * every_s]
    outcome.remark = "p99 jitter of the other nine, period 1 s"
    return outcome


async def dead_behind_bridge(times: int, _: Path) -> Outcome:
    """Likewise, where a bridge says of the dead one that it heard nothing, and nobody is heard meanwhile."""
    every_s = 1.0
    shares = await modbus_line.jitter_behind_a_bridge(20.0 if times > 5 else 4.0, every_s, modbus_line.DEAD)
    outcome = Outcome("Modbus", "one slave of ten dead behind a bridge", noticed_most_s=0.05 * every_s)
    outcome.noticed_s = [float(np.percentile(shares, 99)) * every_s]
    outcome.remark = "p99 jitter of the other nine, period 1 s"
    return outcome


async def clock_lost(times: int, _: Path) -> Outcome:
    """The device's own time says 2000-01-01 for a while."""
    return await _clock("device clock 2000-01-01", lambda: 946_684_800_000, times)


async def clock_local(times: int, _: Path) -> Outcome:
    """It says Korean time for a while and means UTC."""
    return await _clock("device clock nine hours ahead", lambda: time.time_ns() // 1_000_000 + NINE_HOURS_MS, times)


async def _clock(name: str, wrong_ms: Callable[[], int], times: int) -> Outcome:
    outcome, one = Outcome("Modbus", name, near_s=NEAR_S), device()
    addresses = [{"address": "holding:0"}, {"name": "now", "address": "holding:100:uint64", "unit": "ms"}]
    lost = False

    async def tick() -> None:
        while True:
            now_ms = wrong_ms() if lost else time.time_ns() // 1_000_000
            for i, word in enumerate(struct.unpack(">4H", struct.pack(">Q", now_ms))):
                one.words["holding", 100 + i] = word
            await asyncio.sleep(0.02)

    async def lose() -> None:
        nonlocal lost
        lost = True
        await asyncio.sleep(1.0)
        lost = False

    ticking = asyncio.create_task(tick(), name="tests.clock")
    await asyncio.sleep(0.05)
    try:
        async with serving(one) as port:
            settings = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": EVERY_S, "time_tag": "now"}
            return await repeated(outcome, machine(settings, addresses), lose, times)
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


async def weekend(times: int, _: Path) -> Outcome:
    outcome, clock = Outcome("Modbus", "away for a weekend (simulated)"), Clock()
    async with serving(device()) as port, Proxy("127.0.0.1", port) as link:

        async def leave() -> None:
            link.refuse()
            await asyncio.sleep(0.5)
            clock.offset_s += _WEEKEND_S
            link.heal()

        return await repeated(outcome, reader(link.port), leave, min(times, 3), clock)


ALL = (
    restarted,
    half_open,
    mangled,
    wrong_transaction,
    dead_slave,
    dead_behind_bridge,
    clock_lost,
    clock_local,
    weekend,
)
