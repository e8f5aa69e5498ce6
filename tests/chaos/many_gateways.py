"""Many gateways in one process: real spools and the real forwarder, and numbers instead of machines.

    python -m tests.chaos.many_gateways FOLDER --every S gw-01 gw-02 …

* FOLDER/NAME/rootdx.toml are the settings of each. Every S seconds each makes one record of TAGS rows that hold the
  next whole numbers, and its tally; once it is durable, its numbers are a line in FOLDER/NAME/witness.
* Says `ready`; produces from the line `go` on and no longer from the line `stop` on; says `drained` when nothing is
  left in any spool, and goes on forwarding until it is ended.
"""

import argparse
import asyncio
import contextlib
import random
import sys
from pathlib import Path
from typing import Final

import numpy as np

from pipeline import service
from pipeline.forwarder import forward
from pipeline.model import CAUSES, MINUTE_NS, Batch, Tally
from pipeline.settings import Settings, read_settings
from pipeline.spool import Spool
from rootdx.program import follow_parent

TAGS: Final = 5
LOOK_S: Final = 0.2


async def produce(spool: Spool, folder: Path, every_s: float, stopped: asyncio.Event) -> None:
    """Records of TAGS numbers each, until stopped."""
    asset, names = f"cluster/{spool.source}/m1", tuple(f"n{i}" for i in range(TAGS))
    each, first = np.arange(TAGS, dtype=np.uint16), 0
    with (folder / "witness").open("a", encoding="ascii", buffering=1) as witness:
        await asyncio.sleep(random.uniform(0, every_s))  # not all at once
        while not stopped.is_set():
            now_ns = service.wall_ns()
            minute = np.full(TAGS, now_ns // MINUTE_NS * MINUTE_NS)
            due = Tally(asset, names, minute, each, np.ones(TAGS, np.int64), np.zeros((TAGS, len(CAUSES)), np.int64))
            rows = Batch.of(asset, names, np.full(TAGS, now_ns), each, (first + each).astype(np.float64))
            seq = await spool.append([rows, due])
            witness.write(f"{seq} {first} {TAGS}\n")
            first += TAGS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await stopped.wait()


async def run(folder: Path, names: list[str], every_s: float) -> None:
    stopped = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        spools: list[tuple[Spool, Settings]] = []
        for name in names:
            settings = read_settings(folder / name / "rootdx.toml")
            spool = Spool(settings.gateway.spool, name, service.wall_ns)
            spools.append((await stack.enter_async_context(spool), settings))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.TaskGroup() as group:
            for spool, settings in spools:
                group.create_task(forward(spool, settings.bus, settings.gateway.forward))
            work = [group.create_task(produce(one, folder / one.source, every_s, stopped)) for one, _ in spools]
            await asyncio.to_thread(sys.stdin.readline)
            stopped.set()
            await asyncio.gather(*work)
            while any(spool.pending() for spool, _ in spools):
                await asyncio.sleep(LOOK_S)
            print("drained", flush=True)


def main() -> int:
    follow_parent()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--every", type=float, default=1.0)
    asked = parser.parse_args()
    service.configure_logging()
    return service.run(lambda: run(asked.folder, asked.names, asked.every))


if __name__ == "__main__":
    raise SystemExit(main())
