"""Rows a second from a full spool to committed rows, against one COPY of the same rows into the same table.

* Both ways are run in turn in the same database, each from an empty table; which one is first alternates.
* The clock of the pipeline runs from the word `go`, broker connection included, to the ledger's last record; the clock
  of the COPY from BEGIN to the end of COMMIT, its bytes prepared before.
* Equal contents are proven after every run: rows, distinct (tag, time), and a hash of all values.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg

from pipeline import copying
from tests.bench import rows, spooled
from tests.bench.figures import Figure, show, show_profile
from tests.bench.spooled import Cost, Filled, Goal, Meter
from tests.bench.stage import Content, Db, Invalid, Stage, Wish, content, looking

ROWS = 2_000_000
TARGET = 0.8
DIRECT = "timescaledb.enable_direct_compress_copy"


@dataclass(frozen=True, slots=True)
class Run:
    """One repeat of both."""

    pipeline_s: float
    copy_s: float
    cost: Cost


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them and, where the ratio is missed, the writer's profile."""
    filled = await spooled.fill(stage, max(1, (wish.rows or ROWS) // rows.RATE_HZ))
    stage.console.print(
        f"spool: {filled.rows:,} rows in {filled.seconds:,} records, {filled.size_mb:.1f} MB on disk, "
        f"{filled.size_mb * 1e6 / filled.rows:.2f} B/row, filled in {filled.fill_s:.0f} s"
    )
    async with looking(stage) as db:
        _, _, first = await _pipeline(stage, db, filled)
        prepared = rows.prepared(rows.values(filled.seconds), filled.start_ns, await _tag_ids(db))
        runs = []
        for number in range(wish.repeats + 1):
            one = await _pair(stage, db, filled, prepared, first, copy_first=number % 2 == 1)
            runs += [one] if number else []  # the first pair warms up
        figures = _figures(stage, filled, runs)
        show(stage.console, f"spool to store, {stage.server}, {filled.rows:,} rows", figures)
        if wish.explained and not figures[0].met:
            await _profile(stage, db, filled)
    return figures


async def _pair(stage: Stage, db: Db, filled: Filled, prepared: bytes, expected: Content, *, copy_first: bool) -> Run:
    copy_s = await _copy(stage, db, prepared, expected) if copy_first else 0.0
    pipeline_s, cost, found = await _pipeline(stage, db, filled)
    if found != expected:
        raise Invalid(f"pipeline: the table holds {found}, expected {expected}")
    if not copy_first:
        copy_s = await _copy(stage, db, prepared, expected)
    return Run(pipeline_s, copy_s, cost)


async def _pipeline(stage: Stage, db: Db, filled: Filled, profile: str = "") -> tuple[float, Cost, Content]:
    await stage.empty(db)
    copied = spooled.copy(stage, filled)
    file = copied.settings.parent / profile if profile else None
    writer = await stage.writer(copied.settings, file)
    feeder = await stage.start("forwarder", "tests.bench.feeder", "forward", str(copied.settings))
    await feeder.hears("ready")
    meter = await Meter.of(stage, db, feeder, writer)
    before = meter.read()
    feeder.tell("go")
    took_s = await spooled.until_committed(stage, db, copied.epoch, Goal(filled.seconds))
    cost = spooled.between(before, meter.read())
    await stage.stop()
    if file is not None:
        show_profile(stage.console, "profile of the writer, a separate run", file)
    found = await content(db)
    if (found.rows, found.distinct) != (filled.rows, filled.rows):
        raise Invalid(f"pipeline: {found.rows} rows, {found.distinct} distinct, expected {filled.rows} of both")
    return took_s, cost, found


async def _profile(stage: Stage, db: Db, filled: Filled) -> None:
    await _pipeline(stage, db, filled, profile="writer.profile")


async def _copy(stage: Stage, db: Db, prepared: bytes, expected: Content) -> float:
    await stage.empty(db)
    took_s = await asyncio.to_thread(_copy_once, stage, prepared)
    found = await content(db)
    if found != expected:
        raise Invalid(f"COPY: the table holds {found}, expected {expected}")
    return took_s


def _copy_once(stage: Stage, prepared: bytes) -> float:
    with psycopg.connect(stage.dsn) as db:
        (known,) = db.execute("SELECT current_setting(%s, true)", [DIRECT]).fetchone() or (None,)
        db.commit()
        began = time.monotonic()
        if known:  # the writer's own choice for transactions of this size
            db.execute(f"SET LOCAL {DIRECT} = on".encode())
        with db.cursor() as cursor, cursor.copy(copying.MEASUREMENT.encode()) as copy:
            copy.write(prepared)
        db.commit()
        return time.monotonic() - began


async def _tag_ids(db: Db) -> copying.Ids:
    """(500,) ids in the order of `rows.values`."""
    found = await (
        await db.execute("SELECT path, tag.name, tag_id FROM rootdx.tag JOIN rootdx.asset USING (asset_id)")
    ).fetchall()
    ids = {(path, name): tag_id for path, name, tag_id in found}
    return np.array([ids[asset, name] for asset in rows.ASSETS for name in rows.NAMES], np.int32)


def _figures(stage: Stage, filled: Filled, runs: Sequence[Run]) -> list[Figure]:
    n, where = filled.rows, "" if stage.engine == "plain" else " (TimescaleDB)"
    copy = Figure(f"one COPY of the same rows{where}", [n / run.copy_s for run in runs], "rows/s")
    ratio = Figure(
        f"spool to store, share of one COPY{where}", [run.copy_s / run.pipeline_s for run in runs], "1", TARGET,
        limit=1.0, peer="an INSERT a row .005, an INSERT of 1,000 rows .12",
    )  # fmt: skip
    speed = Figure(
        f"spool to store{where}", [n / run.pipeline_s for run in runs], "rows/s", limit=round(copy.median), peer=None
    )
    figures = [ratio, speed, copy]
    for name in ("forwarder", "broker", "writer", "database"):
        each = [getattr(run.cost, name) * 1e6 / n for run in runs]
        if not np.isnan(each).any():
            figures.append(Figure(f"spool to store{where}, CPU of {name}", each, "us/row"))
    busy = [run.pipeline_s * 1e6 / n for run in runs]
    figures.append(Figure(f"spool to store{where}, time", busy, "us/row"))
    return figures
