"""Memory of gateway and writer over time, under 2,000 rows a second."""

import asyncio
import sqlite3
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.spool_database import PENDING
from pipeline.spool_file import FILE
from tests.bench import machines
from tests.bench.figures import Figure, show, slope
from tests.bench.stage import Invalid, Stage, Wish, looking, one

DEVICES, EVERY_S = 20, 1.0
RATE_HZ = DEVICES * machines.TAGS / EVERY_S
SAMPLE_S = 5.0
MINUTES = 3.0
LEAST = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One look."""

    at_s: float
    gateway_mb: float
    writer_mb: float
    spool_mb: float
    pending: int


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    async with looking(stage) as db:
        await stage.empty(db)
        plant = await machines.plant(stage, DEVICES, EVERY_S)
        writer = await stage.writer(plant.settings)
        gateway = await stage.gateway(plant.settings)
        await asyncio.sleep(wish.warm_s)
        spool = plant.settings.parent / "spool" / FILE
        began, samples = time.monotonic(), list[Sample]()
        before = await one(db, "SELECT coalesce(sum(rows), 0) FROM rootdx.record")
        while time.monotonic() - began < (wish.minutes or MINUTES) * 60:
            size, pending = await asyncio.to_thread(_spool, spool)
            samples.append(Sample(time.monotonic() - began, gateway.rss_mb(), writer.rss_mb(), size, pending))
            await asyncio.sleep(SAMPLE_S)
        took_s = time.monotonic() - began
        after = await one(db, "SELECT coalesce(sum(rows), 0) FROM rootdx.record")
        stage.check()
        await stage.stop()
    found = int(after[0] - before[0])
    if len(samples) < LEAST:
        raise Invalid(f"{len(samples)} samples are too few for a slope; ask for more minutes")
    if abs(found - RATE_HZ * took_s) > 0.05 * RATE_HZ * took_s + RATE_HZ:
        raise Invalid(f"{found} rows committed in {took_s:.0f} s, {RATE_HZ * took_s:.0f} were due")
    figures = _figures(samples)
    show(stage.console, f"memory over {took_s / 60:.1f} min at {RATE_HZ:,.0f} rows/s", figures)
    return figures


def _spool(file: Path) -> tuple[float, int]:
    """MB on disk, and records held."""
    size = sum(each.stat().st_size for each in file.parent.glob(f"{FILE}*")) / 1e6
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
        (pending,) = db.execute(f"SELECT count(*) {PENDING}").fetchone()
    db.close()
    return size, int(pending)


def _figures(samples: list[Sample]) -> list[Figure]:
    hours = [each.at_s / 3600 for each in samples]
    fifth = max(3, len(samples) // 5)
    figures = []
    for name in ("gateway", "writer"):
        values = [getattr(each, f"{name}_mb") for each in samples]
        first, last = statistics.median(values[:fifth]), statistics.median(values[-fifth:])
        figures += [
            Figure(f"{name}: RSS slope (Theil-Sen)", [slope(hours, values)], "MB/h"),
            Figure(f"{name}: RSS, median of the first fifth", [first], "MB"),
            Figure(f"{name}: RSS, median of the last fifth", [last], "MB"),
        ]
    return [
        *figures,
        Figure("spool on disk, highest", [max(each.spool_mb for each in samples)], "MB"),
        Figure("records waiting in the spool, highest", [max(each.pending for each in samples)], "records"),
    ]
