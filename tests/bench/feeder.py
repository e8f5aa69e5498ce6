"""A gateway without devices: fills a spool fast, or forwards one that is full.

    python -m tests.bench.feeder fill    SETTINGS --seconds N --start NS
    python -m tests.bench.feeder forward SETTINGS [--live]

* `fill` makes one record a second of plant time, through the spool itself, and ends.
* `forward` opens the spool, says `ready`, and forwards from the line `go` on; with `--live` the plant goes on in real
  time, and every second made durable is a line `live <seq> <unix s>`.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from collectors.schedule import ticks
from pipeline import service
from pipeline.forwarder import forward
from pipeline.settings import Settings, read_settings
from pipeline.spool import Spool
from rootdx.program import follow_parent
from tests.bench import rows

LIVE_S = 7200
"""Longest live feed."""


async def fill(settings: Settings, seconds: int, start_ns: int, plant: str) -> None:
    now_ns, machines = start_ns, rows.assets(plant)
    fast = settings.gateway.spool.model_copy(update={"group_s": 1e-4})
    table = rows.values(seconds)
    async with Spool(fast, settings.gateway.name, lambda: now_ns) as spool:
        for second in range(seconds):
            now_ns = start_ns + second * rows.SECOND_NS
            await spool.append(rows.batches(now_ns, table[second], machines))
        print(f"filled head={spool.head} bytes={spool.size()}", flush=True)


async def forward_it(settings: Settings, *, live: bool) -> None:
    async with Spool(settings.gateway.spool, settings.gateway.name, service.wall_ns) as spool:
        print(f"ready head={spool.head}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.TaskGroup() as group:
            group.create_task(forward(spool, settings.bus, settings.gateway.forward), name="forward")
            if live:
                group.create_task(feed(spool), name="feed")


async def feed(spool: Spool) -> None:
    table = rows.values(LIVE_S, seed=2)
    second = 0
    async for tick in ticks(1.0, service.wall_ns):
        seq = await spool.append(rows.batches(tick.ns, table[second]))
        print(f"live {seq} {time.time():.3f}", flush=True)
        second += 1


def main() -> int:
    follow_parent()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("fill", "forward"))
    parser.add_argument("settings", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--plant", default="plant", help="whose machines, where several gateways are filled")
    parser.add_argument("--live", action="store_true")
    asked = parser.parse_args()
    settings = read_settings(asked.settings)
    service.configure_logging()
    if asked.what == "fill":
        return service.run(lambda: fill(settings, asked.seconds, asked.start, asked.plant))
    return service.run(lambda: forward_it(settings, live=asked.live))


if __name__ == "__main__":
    raise SystemExit(main())
