"""Hours of outage, then the link is back: how long until the table is complete while the plant goes on.

* The spool is filled beforehand, a record a second of plant time, so it lies on disk as after a real outage.
* The live rows go on at their own speed; drained is when everything made durable so far is committed.
* Missing and doubled rows are counted over the whole table at the end of every repeat.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench import rows, spooled
from tests.bench.figures import Figure, quantile, show
from tests.bench.spooled import Filled, Goal
from tests.bench.stage import Child, Db, Invalid, Stage, Wish, looking, one

TARGET = 200.0
AFTER_S = 25.0
"""Watched after the drain: what the live lag is without a backlog."""


@dataclass(frozen=True, slots=True)
class Drain:
    """One repeat. Lags are from the spool's transaction to the beginning of the database's, in seconds."""

    took_s: float
    missing: int
    doubled: int
    lag_drain_p99_s: float
    lag_after_p99_s: float


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    seconds = round(wish.hours * 3600)
    filled = await spooled.fill(stage, seconds)
    stage.console.print(
        f"outage: {filled.rows:,} rows, {filled.size_mb:.0f} MB on disk, {filled.size_mb * 1e6 / filled.rows:.2f} B/row"
    )
    drains = []
    async with looking(stage) as db:
        for number in range(wish.repeats):
            drains.append(await _drain(stage, db, filled))
            stage.console.print(f"drain {number + 1} of {wish.repeats}: {drains[-1].took_s:.1f} s")
    figures = _figures(stage, filled, drains)
    show(stage.console, f"outage of {wish.hours:g} h, {stage.server}, {filled.rows:,} rows", figures)
    return figures


async def _drain(stage: Stage, db: Db, filled: Filled) -> Drain:
    await stage.empty(db)
    copied = spooled.copy(stage, filled)
    await stage.writer(copied.settings)
    feeder = await stage.start("feeder", "tests.bench.feeder", "forward", str(copied.settings), "--live")
    await feeder.hears("ready")
    feeder.tell("go")
    await feeder.hears("live ")
    took_s = await spooled.until_committed(stage, db, copied.epoch, Goal(filled.seconds, feeder.log))
    drained_at = (await one(db, "SELECT extract(epoch FROM clock_timestamp())::float8"))[0]
    await asyncio.sleep(AFTER_S)
    stage.check()
    await stage.stop()
    missing, doubled = await _counted(db, copied.epoch, filled, feeder)
    during = await _lags(db, copied.epoch, filled, "<", drained_at)
    after = await _lags(db, copied.epoch, filled, ">=", drained_at)
    worst = (
        max(during) if len(during) < 20 else quantile(during, 0.99)
    )  # one live record a second: a short drain has few
    return Drain(took_s, missing, doubled, worst, quantile(after, 0.99))


async def _counted(db: Db, epoch: str, filled: Filled, feeder: Child) -> tuple[int, int]:
    """Rows missing and rows there twice.

    Raises:
        Invalid: any is.
    """
    live = [int(line.split()[1]) for line in feeder.log.read_text().splitlines() if line.startswith("live ")]
    last = await spooled.committed(db, epoch)  # the feeder may have stopped with a live record on its way
    expected = filled.rows + rows.RATE_HZ * sum(1 for seq in live if seq <= last)
    found, distinct = await one(
        db,
        "SELECT coalesce(sum(n), 0), count(*) "
        "FROM (SELECT count(*) AS n FROM rootdx.measurement GROUP BY tag_id, ts) AS each_row",
    )
    announced = (await one(db, "SELECT count(*) FROM rootdx.event"))[0]
    missing, doubled = expected - int(distinct), int(found) - int(distinct)
    if not -rows.RATE_HZ <= missing <= 0 or doubled or announced:  # stopped between a commit and its line
        raise Invalid(f"missing {missing}, doubled {doubled}, events {announced}, expected {expected} rows")
    return max(0, missing), doubled


async def _lags(db: Db, epoch: str, filled: Filled, side: str, drained_at: float) -> list[float]:
    """Lags of the live records on one side of the drain's end."""
    query = f"""
        SELECT extract(epoch FROM ingest_ts - gateway_ts)::float8
        FROM rootdx.record JOIN rootdx.ledger ON source_id = id >> 40
        WHERE epoch = %s AND id & 1099511627775 > %s AND extract(epoch FROM gateway_ts) {side} %s"""
    found = await (await db.execute(query.encode(), [epoch, filled.seconds, drained_at])).fetchall()
    return [lag for (lag,) in found]


def _figures(stage: Stage, filled: Filled, drains: Sequence[Drain]) -> list[Figure]:
    where = "" if stage.engine == "plain" else " (TimescaleDB)"
    hours = f"{filled.seconds / 3600:g} h"
    times = [drain.took_s for drain in drains]
    return [
        Figure(
            f"outage of {hours}: catching up{where}", [filled.seconds / t for t in times], "x real time", TARGET,
            peer="telegraf: beyond 10,000 metrics in memory the oldest are gone",
        ),
        Figure(f"outage of {hours}: time to complete{where}", times, "s"),
        Figure(f"outage of {hours}: rows missing{where}", [d.missing for d in drains], "rows", 0, "low", 0.0),
        Figure(f"outage of {hours}: rows doubled{where}", [d.doubled for d in drains], "rows", 0, "low", 0.0),
        Figure(f"outage of {hours}: spool on disk{where}", [filled.size_mb], "MB"),
        Figure(f"live lag p99 while draining{where}", [d.lag_drain_p99_s for d in drains], "s"),
        Figure(f"live lag p99 after the drain{where}", [d.lag_after_p99_s for d in drains], "s"),
    ]  # fmt: skip
