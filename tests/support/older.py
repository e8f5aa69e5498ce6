"""A writer or a gateway of an older release, run from the zip that holds its package `pipeline`.

    python -m tests.support.older ZIP writer SETTINGS
    python -m tests.support.older ZIP gateway SETTINGS

* `gateway` has no devices: it appends ROWS rows every EVERY_S whose values count up, and forwards them. A line `stop`
  on its standard input ends the appending; `drained <batches>` is said when all of them are committed.
* Nothing of today's package may be imported here: the zip comes first, and it is checked that it did.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

ASSET: Final = "acme/ansan1/casting/line1/older"
T0_NS: Final = 1_780_000_020_000_000_000
STEP_NS: Final = 100_000_000
ROWS: Final = 10
EVERY_S: Final = 0.02


def main() -> int:
    """Runs it until told to stop; the exit code."""
    program, what, file = sys.argv[1:4]
    sys.path.insert(0, program)
    from pipeline import service  # the older one: only now it can be found
    from pipeline.settings import read_settings
    from pipeline.writer import run as write

    if not str(service.__file__).startswith(program):
        raise SystemExit(f"{service.__file__} is not in {program}")
    settings = read_settings(Path(file))
    service.configure_logging()
    return service.run(lambda: write(settings) if what == "writer" else _gateway(settings))


async def _gateway(settings: "object") -> None:
    import numpy as np

    from pipeline.forwarder import forward
    from pipeline.model import Batch
    from pipeline.service import wall_ns
    from pipeline.settings import Settings
    from pipeline.spool import Spool

    assert isinstance(settings, Settings)
    async with Spool(settings.gateway.spool, settings.gateway.name, wall_ns) as spool:
        forwarding = asyncio.create_task(forward(spool, settings.bus, settings.gateway.forward))
        stopping = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        number, last = 0, 0
        while not stopping.done():
            steps = np.arange(ROWS)
            stamps = T0_NS + number * STEP_NS + steps * 1_000_000
            last = await spool.append([Batch.of(ASSET, ("a",), stamps, 0, number * ROWS + steps.astype(float))])
            number += 1
            await asyncio.sleep(EVERY_S)
        while spool.released < last:
            await asyncio.sleep(0.02)
        print(f"drained {number}", flush=True)
        forwarding.cancel()
        await asyncio.wait([forwarding])


if __name__ == "__main__":
    raise SystemExit(main())
