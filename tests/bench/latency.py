"""From a value changed in the device to the row visible in the database, through the whole chain.

* The device answers with its own wall clock, so the value is the moment at which it was read; an onlooker asks the
  table every 5 ms for the newest value of each device and takes the time at which it sees a new one. One clock.
* What is measured is what the chain adds to the scan: a change in the device waits for the next scan besides.
* Where the time goes comes from the record's own stamps: durable at the gateway, transaction begun, seen.
"""

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.settings import Grouping, SpoolSettings
from rootdx.embedded import free_port
from tests.bench import machines
from tests.bench.figures import Figure, quantile, show
from tests.bench.stage import Db, Invalid, Stage, Wish, looking

DEVICES = 5
EVERY_S = 1.0
LOOK_S = 0.005
TARGET_MS = 400.0


@dataclass(slots=True)
class Seen:
    """One row, first seen."""

    read_ms: float
    seen_ms: float
    record: int

    @property
    def took_ms(self) -> float:
        return self.seen_ms - self.read_ms


@dataclass(slots=True)
class Window:
    """What was seen in one window."""

    seen: list[Seen] = field(default_factory=list)


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them and where the time goes."""
    async with looking(stage) as db:
        await stage.empty(db)
        plant = await machines.plant(stage, DEVICES, EVERY_S, writer_metrics_port=free_port())
        await stage.writer(plant.settings)
        await stage.gateway(plant.settings)
        await asyncio.sleep(wish.warm_s)
        tag_ids = await _clock_tags(db)
        windows = [await _watch(stage, db, tag_ids, wish.seconds) for _ in range(wish.repeats)]
        _check(windows, wish)
        parts = [await _parts(db, window.seen) for window in windows]
        await stage.stop()
    figures = _figures(windows, parts)
    show(stage.console, f"latency, {stage.server}, {DEVICES} devices × {machines.TAGS} tags at 1 Hz", figures)
    stage.console.print(
        f"of this the spool gathers for group_s = {SpoolSettings().group_s * 1000:.0f} ms and the writer waits "
        f"wait_ms = {Grouping().wait_ms:.0f} ms for company, both on purpose"
    )
    return figures


async def _clock_tags(db: Db) -> list[int]:
    query = "SELECT DISTINCT tag_id FROM rootdx.measurement JOIN rootdx.tag USING (tag_id) WHERE name = %s"
    found = await (await db.execute(query, [machines.CLOCK])).fetchall()
    if len(found) != DEVICES:
        raise Invalid(f"{len(found)} of {DEVICES} devices have rows after the warm-up")
    return [tag_id for (tag_id,) in found]


_NEWEST = """
SELECT t.tag_id, m.value, m.record FROM unnest(%s::int[]) AS t(tag_id) CROSS JOIN LATERAL (
    SELECT value, record FROM rootdx.measurement
    WHERE tag_id = t.tag_id AND ts > now() - INTERVAL '1 minute' ORDER BY ts DESC LIMIT 1) AS m"""


async def _watch(stage: Stage, db: Db, tag_ids: list[int], seconds: float) -> Window:
    window, newest = Window(), dict[int, float]()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        found = await (await db.execute(_NEWEST, [tag_ids])).fetchall()
        now_ms = time.time_ns() / 1e6
        for tag_id, value, record in found:
            if value is not None and tag_id in newest and value != newest[tag_id]:
                window.seen.append(Seen(value, now_ms, record))
            newest[tag_id] = value
        stage.check()
        await asyncio.sleep(max(0.0, LOOK_S - (time.monotonic() - began)))
    return window


def _check(windows: Sequence[Window], wish: Wish) -> None:
    due = wish.repeats * (wish.seconds - EVERY_S) * DEVICES / EVERY_S
    found = sum(len(window.seen) for window in windows)
    if found < 0.9 * due:
        raise Invalid(f"{found} values seen, {due:.0f} were due")


async def _parts(db: Db, seen: Sequence[Seen]) -> dict[str, list[float]]:
    """Milliseconds of each step, by name."""
    query = """SELECT id, extract(epoch FROM gateway_ts)::float8 * 1000, extract(epoch FROM ingest_ts)::float8 * 1000
               FROM rootdx.record WHERE id = ANY(%s)"""
    found = await (await db.execute(query.encode(), [[each.record for each in seen]])).fetchall()
    stamps = {key: (gateway, ingest) for key, gateway, ingest in found}
    parts: dict[str, list[float]] = defaultdict(list)
    for each in seen:
        gateway, ingest = stamps[each.record]
        parts["read to the spool's transaction (group_s)"].append(gateway - each.read_ms)
        parts["spool's fsync, bus, writer's wait_ms"].append(ingest - gateway)
        parts["database transaction, and until it was seen"].append(each.seen_ms - ingest)
    return parts


def _figures(windows: Sequence[Window], parts: Sequence[dict[str, list[float]]]) -> list[Figure]:
    each = [[seen.took_ms for seen in window.seen] for window in windows]
    every = [took for window in each for took in window]
    figures = [
        Figure("latency p50, device to visible row", [statistics.median(window) for window in each], "ms"),
        Figure(
            "latency p99, device to visible row", [quantile(window, 0.99) for window in each], "ms", TARGET_MS, "low",
        ),
        Figure(f"latency p99 over all {len(every)} values", [quantile(every, 0.99)], "ms", TARGET_MS, "low"),
    ]  # fmt: skip
    steps = [
        Figure(f"of it, p50: {name}", [statistics.median(part[name]) for part in parts], "ms") for name in parts[0]
    ]
    return figures + steps
