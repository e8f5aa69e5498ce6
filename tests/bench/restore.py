"""Restore drill: back up under load, write on, destroy, restore, send the rest: how long, and is all there once.

* The database holds `--rows` measurements before; then one gateway brings some 500 rows a second without a stop, also
  while the database is backed up, destroyed and restored. The log is kept by pg_receivewal all the while.
* Then once more, with the backup alone: what it lacks comes again from what the gateway's spool kept.
* Compared are all rows: those filled in before by their number, the live ones each by its value.
* Point in time: the same backup and log once more, up to a moment; what was committed before is there, nothing else.
* Backup, log, old and new database lie on one disk here and share its bandwidth; a plant has the backup elsewhere.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from pipeline import migrate
from pipeline.service import wall_ns
from pipeline.spool import Spool
from rootdx.embedded import Postgres
from tests.bench.figures import Figure, show
from tests.bench.stage import Invalid, Stage, Wish
from tests.bench.upgrade import ROWS, fill
from tests.support.restoring import Plant, moving
from tests.support.spine import ASSET, T0_NS, ask, batch, one, spool_settings

EACH, EVERY_S = 10, 0.02
BEFORE_S, AFTER_S, GONE_S = 5.0, 10.0, 5.0
PATIENCE_S = 600.0


class Feed:
    """A gateway's spool that gets EACH rows every EVERY_S; their values count up."""

    def __init__(self, spool: Spool) -> None:
        self._spool, self.batches, self._on = spool, 0, True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Feeds as long as the block runs."""
        task = asyncio.create_task(self._feed())
        try:
            yield
        finally:
            self._on = False  # not cancelled: a batch that is being made durable is counted
            await task

    async def _feed(self) -> None:
        while self._on:
            number = self.batches
            await self._spool.append([batch(number * EACH, EACH, ts_ns=T0_NS + number * 1_000_000_000)])
            self.batches += 1
            await asyncio.sleep(EVERY_S)

    async def committed(self) -> float:
        """Seconds until all that is durable now is committed."""
        goal, began = self._spool.head, time.monotonic()
        while self._spool.released < goal:
            if time.monotonic() - began > PATIENCE_S:
                raise Invalid(f"stuck at record {self._spool.released} of {goal}")
            await asyncio.sleep(0.02)
        return time.monotonic() - began


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    count, root = wish.rows or ROWS, stage.place("restore")
    root.chmod(0o711)
    (root / "first").mkdir(mode=0o755)
    server = Postgres(root / "first", settings={"max_wal_size": "2GB"})
    await server.start()
    try:
        await migrate.migrate(server.dsn())
        async with migrate.administrator(server.dsn()) as db:
            await fill(db, count)
        figures = await _drill(stage, Plant(root, server), root, count)
    finally:
        await server.stop()
    show(stage.console, f"restore of {count:,} rows and more, with and without the log", figures)
    return figures


async def _drill(stage: Stage, plant: Plant, root: Path, count: int) -> list[Figure]:
    dsn = plant.server.dsn()
    async with contextlib.AsyncExitStack() as stack:
        spool = await stack.enter_async_context(Spool(spool_settings(root / "spool"), "gw-drill", wall_ns))
        await stack.enter_async_context(moving(spool, dsn, stage.broker.port))
        feed = Feed(spool)
        running = await stack.enter_async_context(contextlib.AsyncExitStack())
        await running.enter_async_context(feed.running())
        with plant.log_kept() as wal:
            await asyncio.sleep(BEFORE_S)
            backup_s = await _timed(plant.back_up)
            await asyncio.sleep(AFTER_S / 2)
            await feed.committed()
            known = await asyncio.to_thread(_live, dsn)
            moment = datetime.now(UTC)
            await asyncio.sleep(AFTER_S / 2)
            while not await asyncio.to_thread(plant.received):
                await asyncio.sleep(0.02)
            plant.server.kill()
        destroyed = time.monotonic()
        await asyncio.sleep(GONE_S)
        began = time.monotonic()
        restored = await plant.restore(wal)
        restore_s = time.monotonic() - began
        try:
            caught_up_s = await feed.committed()
            whole_s = time.monotonic() - destroyed
            await running.aclose()
            await feed.committed()
            missing, doubled = await asyncio.to_thread(_compared, dsn, count, feed.batches * EACH)
        finally:
            restored.kill()
        again_s, *without_log = await _from_spools(plant, dsn, count, feed.batches * EACH)
    then_s = await _point_in_time(plant, wal, moment, known, count)
    size_mb = sum(file.stat().st_size for file in (root / "backup").rglob("*") if file.is_file()) / 1e6
    return [
        Figure("backup under load (pg_basebackup): time", [backup_s], "s"),
        Figure("backup: size, unpacked", [size_mb], "MB"),
        Figure("restore: copy back and read the log until it takes writes", [restore_s], "s"),
        Figure("then: until all that gateways kept is committed", [caught_up_s], "s"),
        Figure(f"from the loss to complete, {GONE_S:g} s of it nobody did anything", [whole_s], "s"),
        Figure("restore: rows missing", [missing], "rows", 0, "low", 0.0),
        Figure("restore: rows doubled", [doubled], "rows", 0, "low", 0.0),
        Figure("backup alone: restore, and until gateways have sent again what it lacks", [again_s], "s"),
        Figure("backup alone: rows missing", [without_log[0]], "rows", 0, "low", 0.0),
        Figure("backup alone: rows doubled", [without_log[1]], "rows", 0, "low", 0.0),
        Figure("point in time: copy back and read the log up to then", [then_s], "s"),
    ]


async def _from_spools(plant: Plant, dsn: str, count: int, made: int) -> tuple[float, int, int]:
    """Seconds, missing and doubled rows where nothing is restored but the backup."""
    began = time.monotonic()
    restored = await plant.restore(None)
    try:
        while await asyncio.to_thread(_live, dsn) < made:
            if time.monotonic() - began > PATIENCE_S:
                break  # what is missing is counted
            await asyncio.sleep(0.1)
        took_s = time.monotonic() - began
        return took_s, *await asyncio.to_thread(_compared, dsn, count, made)
    finally:
        await restored.stop()


async def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    await asyncio.to_thread(work)
    return time.monotonic() - began


async def _point_in_time(plant: Plant, wal: Path, moment: datetime, known: int, count: int) -> float:
    """Seconds to bring the database back as it was at `moment`.

    Raises:
        Invalid: other rows are in it than were then, or its ledger says something else.
    """
    began = time.monotonic()
    restored = await plant.restore(wal, moment)
    took_s = time.monotonic() - began
    try:
        live = await asyncio.to_thread(_live, restored.dsn())
        missing, doubled = await asyncio.to_thread(_compared, restored.dsn(), count, live)
        if live < known or missing or doubled or live > known + 2 * EACH / EVERY_S:
            raise Invalid(f"{live} live rows at the moment, {known} were due; missing {missing}, doubled {doubled}")
    finally:
        await restored.stop()
    return took_s


def _live(dsn: str) -> int:
    """Rows of the live gateway, by what the ledger's records say."""
    query = (
        "SELECT coalesce(sum(rows), 0)::bigint FROM rootdx.record r JOIN rootdx.ledger l ON l.source_id = r.id >> 40"
    )
    return int(one(dsn, query))


def _compared(dsn: str, count: int, made: int) -> tuple[int, int]:
    """Missing and doubled: of what was filled in by number, of the live values 0 to made - 1 each."""
    query = """
        SELECT count(*) FILTER (WHERE n = 0), count(*) FILTER (WHERE n > 1) FROM (
            SELECT count(m.value) AS n FROM generate_series(0, %s) v LEFT JOIN (
                SELECT value FROM rootdx.measurement JOIN rootdx.tag USING (tag_id) JOIN rootdx.asset USING (asset_id)
                WHERE path = %s) m ON m.value = v GROUP BY v) each_value"""
    ((missing, doubled),) = ask(dsn, query, made - 1, ASSET)
    total = int(one(dsn, "SELECT count(*) FROM rootdx.measurement"))
    filled = total - made + int(missing) - int(doubled)
    return int(missing) + max(0, count - filled), int(doubled) + max(0, filled - count)
