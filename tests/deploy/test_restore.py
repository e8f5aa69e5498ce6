"""Back up, write on, destroy, restore. What the backup lacks comes from the log or from the spools; else it is said."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import migrate
from pipeline.service import wall_ns
from pipeline.spool import Spool
from rootdx.embedded import Broker, Postgres
from tests.support.restoring import Plant, moving
from tests.support.services import reachable_folder, run
from tests.support.spine import ask, batch, spool_settings

ROWS = 10
PATIENCE_S = 60.0
pytestmark = [pytest.mark.plain, pytest.mark.timeout(180)]


@pytest.fixture
def plant() -> Iterator[Plant]:
    with reachable_folder() as root:
        (root / "first").mkdir(mode=0o755)
        server = Postgres(root / "first")
        run(server.start())
        run(migrate.migrate(server.dsn()))
        yield Plant(root, server)
        run(server.stop())


async def fed(spool: Spool, first: int, count: int) -> int:
    """Appends batches whose values count on; the last seq."""
    last = 0
    for number in range(first, first + count):
        last = await spool.append([batch(number * ROWS, ROWS, ts_ns=T0_NS + number * 1_000_000_000)])
    return last


T0_NS = 1_780_000_020_000_000_000


async def committed(spool: Spool, last: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while spool.released < last:
        assert time.monotonic() < deadline, f"{spool.released} of {last}"
        await asyncio.sleep(0.05)


async def told_again(dsn: str, rows: int) -> None:
    """Until the store has so many rows."""
    deadline = time.monotonic() + PATIENCE_S
    while len(await asyncio.to_thread(values, dsn)) < rows:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def values(dsn: str) -> list[int]:
    return [int(value) for (value,) in ask(dsn, "SELECT value FROM rootdx.measurement ORDER BY value")]


async def test_with_the_log_nothing_is_missing_and_nothing_double(plant: Plant, broker: Broker, tmp_path: Path) -> None:
    dsn = plant.server.dsn()
    async with (
        Spool(spool_settings(tmp_path), source="gw-drill-1", clock=wall_ns) as spool,
        moving(spool, dsn, broker.port),
    ):
        with plant.log_kept() as wal:
            await committed(spool, await fed(spool, 0, 20))
            await asyncio.to_thread(plant.back_up)
            await committed(spool, await fed(spool, 20, 20))
            while not plant.received():
                await asyncio.sleep(0.05)
        plant.server.kill()
        last = await fed(spool, 40, 20)
        restored = await plant.restore(wal)
        try:
            await committed(spool, last)
            assert await asyncio.to_thread(values, dsn) == list(range(60 * ROWS))
        finally:
            await restored.stop()


async def test_without_the_log_the_spools_have_what_is_missing(plant: Plant, broker: Broker, tmp_path: Path) -> None:
    dsn = plant.server.dsn()
    async with (
        Spool(spool_settings(tmp_path), source="gw-drill-4", clock=wall_ns) as spool,
        moving(spool, dsn, broker.port),
    ):
        await committed(spool, await fed(spool, 0, 20))
        await asyncio.to_thread(plant.back_up)
        await committed(spool, await fed(spool, 20, 20))
        plant.server.kill()
        last = await fed(spool, 40, 20)
        restored = await plant.restore(None)
        try:
            await told_again(dsn, 60 * ROWS)
            await committed(spool, last)
            assert await asyncio.to_thread(values, dsn) == list(range(60 * ROWS))
            assert ask(dsn, "SELECT count(*) FROM rootdx.events WHERE kind = 'loss'") == [(0,)]
        finally:
            await restored.stop()


async def test_without_the_log_what_is_missing_is_said(plant: Plant, broker: Broker, tmp_path: Path) -> None:
    dsn = plant.server.dsn()
    async with (
        Spool(spool_settings(tmp_path, keep_mb=0), source="gw-drill-2", clock=wall_ns) as spool,
        moving(spool, dsn, broker.port),
    ):
        first = await fed(spool, 0, 20)
        await committed(spool, first)
        await asyncio.to_thread(plant.back_up)
        second = await fed(spool, 20, 20)
        await committed(spool, second)
        plant.server.kill()
        await fed(spool, 40, 20)
        restored = await plant.restore(None)
        try:
            await committed(spool, spool.head)
            kept = [*range(20 * ROWS), *range(40 * ROWS, 60 * ROWS)]
            assert await asyncio.to_thread(values, dsn) == kept
            said = ask(dsn, "SELECT data FROM rootdx.events WHERE kind = 'loss'")
            assert any(data["from_seq"] == first + 1 and data["to_seq"] == second for (data,) in said), said
        finally:
            await restored.stop()


async def test_at_a_point_in_time_rows_and_ledger_agree(plant: Plant, broker: Broker, tmp_path: Path) -> None:
    dsn = plant.server.dsn()
    async with (
        Spool(spool_settings(tmp_path), source="gw-drill-3", clock=wall_ns) as spool,
        moving(spool, dsn, broker.port),
    ):
        with plant.log_kept() as wal:
            await committed(spool, await fed(spool, 0, 10))
            await asyncio.to_thread(plant.back_up)
            await committed(spool, await fed(spool, 10, 10))
            moment = datetime.now(UTC)
            await asyncio.sleep(0.05)
            await committed(spool, await fed(spool, 20, 10))  # say somebody removes a table after `moment`
            while not plant.received():
                await asyncio.sleep(0.05)
    plant.server.kill()
    restored = await plant.restore(wal, moment)
    try:
        assert await asyncio.to_thread(values, dsn) == list(range(20 * ROWS))
        assert ask(
            dsn, "SELECT last_seq = (SELECT max(record & 1099511627775) FROM rootdx.measurement) FROM rootdx.ledger"
        ) == [(True,)]
    finally:
        await restored.stop()
