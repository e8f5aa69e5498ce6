"""Ten Modbus slaves on one line, one of them dead: how well do the others keep their period?

    python -m tests.bench.modbus_line --seconds 60 --every 1.0

* On a serial line a pty stands for the cable and lets bytes through at once; each slave takes 5 to 15 ms to answer.
* Behind a bridge on TCP the same slaves share a bus, and the bridge says of the dead one after 0.3 s that it heard
  nothing (exception 11). All others wait so long: what it costs is how often it is asked.
* Jitter is how far the time from one reading of a machine to its next is off the period.
"""

import argparse
import asyncio
import random
import time
from typing import Any

import numpy as np

from collectors.source import Opening
from pipeline.errors import Unavailable
from tests.collectors.devices import Bridge, RawModbus, RtuBus, machine

_SLAVES = 10
DEAD = 4
_BRIDGE_S = 0.3


class _Slave(RawModbus):
    """Takes its time, as devices do."""

    rng = random.Random(7)

    def _answer(self, code: int, start: int, count: int) -> bytes:
        self.delay_s = self.rng.uniform(0.005, 0.015)
        return super()._answer(code, start, count)


async def _read_for_ever(one: Any, client: str, seen: list[float]) -> None:
    wait_s = 0.25
    while True:
        try:
            async with one.source.open(Opening(client, one.tag, time.time_ns, client)) as session:
                async for _ in session.readings():
                    seen.append(time.monotonic())
                    wait_s = 0.25
        except Unavailable:
            await asyncio.sleep(wait_s)
            wait_s = min(5.0, wait_s * 2)


async def jitter(seconds: float, every_s: float, dead: int | None, timeout_s: float = 0.5) -> np.ndarray[Any, Any]:
    """Deviations from the period (n,), as a share of it, of the slaves that live; the first 10 s left out."""
    async with RtuBus(_slaves(dead)).on_a_line() as port:
        source = {"protocol": "modbus", "transport": "serial", "serial_port": port, "baudrate": 115200}
        return await _jitter(seconds, source | {"every_s": every_s, "timeout_s": timeout_s}, dead)


async def jitter_behind_a_bridge(seconds: float, every_s: float, dead: int | None) -> np.ndarray[Any, Any]:
    """Likewise, on a TCP bridge."""
    async with Bridge(_slaves(dead), patience_s=_BRIDGE_S).on_tcp() as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": every_s, "timeout_s": 0.5}
        return await _jitter(seconds, source, dead)


def _slaves(dead: int | None) -> dict[int, RawModbus]:
    return {unit: _Slave({("holding", 0): unit}, mute=unit == dead) for unit in range(1, _SLAVES + 1)}


async def _jitter(seconds: float, source: dict[str, Any], dead: int | None) -> np.ndarray[Any, Any]:
    seen: dict[int, list[float]] = {unit: [] for unit in range(1, _SLAVES + 1)}
    every_s = source["every_s"]
    ones = {unit: machine(source | {"unit_id": unit}, [{"address": f"holding:{i}"} for i in range(8)]) for unit in seen}
    began = time.monotonic()
    tasks = [asyncio.create_task(_read_for_ever(ones[unit], f"m{unit}", seen[unit])) for unit in seen]
    await asyncio.sleep(seconds + 10)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    settled = {unit: [at for at in stamps if at > began + 10] for unit, stamps in seen.items() if unit != dead}
    return np.concatenate([np.abs(np.diff(stamps) - every_s) / every_s for stamps in settled.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=1.0)
    chosen = parser.parse_args()
    for name, dead, measured in (
        ("ten alive", None, jitter),
        ("one of ten dead", DEAD, jitter),
        ("ten alive behind a bridge", None, jitter_behind_a_bridge),
        ("one of ten dead behind a bridge", DEAD, jitter_behind_a_bridge),
    ):
        share = asyncio.run(measured(chosen.seconds, chosen.every, dead))
        p50, p99, worst = np.percentile(share, [50, 99, 100]) * 100
        print(
            f"{name}: n={len(share)} jitter p50={p50:.2f} % p99={p99:.2f} % worst={worst:.2f} % of {chosen.every:g} s"
        )


if __name__ == "__main__":
    main()
