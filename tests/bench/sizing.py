"""What each process costs at 200, 1,000 and 5,000 values a second, and the line through it: fixed + a value.

* Devices of 100 tags at 1 Hz; gateway, broker, writer, database, analytics and board run together, each a process of
  its own. No machine has a `[[cycle]]`: analytics watches tags and a meter; cycles of fifty cells are in `live_cycles`.
* CPU is a process's own user and system time, so others on the same cores move it little; nobody looks at the board.
* Bytes on the bus are the MQTT payloads; bytes in the table are PostgreSQL's rows with their indexes, uncompressed.
"""

import asyncio
import contextlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import tomli_w
from rich.table import Table

from pipeline.bus import connected
from pipeline.migrate import administrator, migrate
from pipeline.settings import read_settings
from pipeline.topics import ALL_RECORDS
from rootdx.embedded import free_port
from tests.bench import machines
from tests.bench.figures import Figure, show, shown
from tests.bench.stage import Child, Db, Invalid, Stage, Wish, database_at, looking, one, server_cpu_s, server_process

SIZES = (200, 1_000, 5_000)
PROCESSES = ("gateway", "broker", "writer", "database", "analytics", "board")
WRITING = ("gateway", "broker")
"""Whose bytes on disk are told; the database's come at its checkpoints and stand in its log and tables."""
LISTEN_S = 6.0
SUMMARY_ROWS = 200_000
TABLES = ("measurement", "record", "tally", "tally_1h", "bucket_1m", "bucket_1h")
KINDS = ("cpu", "rss", "written")
WORDS = {
    "cpu": ("CPU", "% of a core", "us/value"),
    "rss": ("memory", "MB", "MB a 1,000 values/s"),
    "written": ("written to its disk", "kB/s", "B/value"),
}


@dataclass(frozen=True, slots=True)
class Load:
    """Counters of one process at one moment: seconds of CPU, bytes written."""

    cpu_s: float
    written: float


@dataclass(frozen=True, slots=True)
class Cost:
    """One process at one rate: core, MB, kB/s."""

    cpu: float
    rss: float
    written: float


@dataclass(frozen=True, slots=True)
class Run:
    """One rate."""

    rate_hz: float
    costs: dict[str, Cost]
    bus_bytes: float
    wal_bytes: float
    row_bytes: float


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints what was measured and the lines through it."""
    runs = []
    async with looking(stage) as db:
        for size in SIZES:
            await stage.empty(db)
            runs.append(await _run(stage, db, wish, size))
        company = await _company(stage, db)
    _show_runs(stage, runs)
    figures = [*_lines(runs), *_bytes(runs), *company]
    show(stage.console, f"sizing, {stage.server}, windows of {wish.seconds:g} s", figures)
    return figures


async def _run(stage: Stage, db: Db, wish: Wish, size: int) -> Run:
    plant = await machines.plant(stage, size // machines.TAGS, 1.0)
    _complete(plant.settings)
    children = {"writer": await stage.writer(plant.settings), "gateway": await stage.gateway(plant.settings)}
    for name in ("analytics", "board"):
        children[name] = await stage.start(name, "rootdx", name, "--config", str(plant.settings))
    await children["board"].hears("listens")
    await asyncio.sleep(2 * wish.warm_s)
    server = await server_process(db)
    if server is None or stage.broker.pid is None:
        raise Invalid("sizing needs its own database and broker on this machine")
    broker = psutil.Process(stage.broker.pid)
    before, rows, wal = _loads(children, broker, server), await _rows(db), await _wal(db)
    await asyncio.sleep(wish.seconds)
    after, found, logged = _loads(children, broker, server), await _rows(db) - rows, await _wal(db) - wal
    stage.check()
    if abs(found - size * wish.seconds) > 0.05 * size * wish.seconds + 2 * size:
        raise Invalid(f"{found} rows committed in {wish.seconds:g} s, {size * wish.seconds:.0f} were due")
    memory = _memory(children, broker, server)
    costs = {
        name: Cost(
            (after[name].cpu_s - before[name].cpu_s) / wish.seconds,
            memory[name],
            (after[name].written - before[name].written) / wish.seconds / 1e3,
        )
        for name in PROCESSES
    }
    on_bus = await _listened(plant.settings)
    size_bytes = await _table_bytes(db) / await _rows(db)
    await stage.stop()
    return Run(found / wish.seconds, costs, on_bus / size, logged / found, size_bytes)


def _complete(file: Path) -> None:
    """The same settings for analytics and board; the first machine has an energy meter, else analytics has no work."""
    first = file.parent / "plant" / "m00.toml"
    machine = tomllib.loads(first.read_text())
    machine["tag"][-1] |= {"role": "energy.total", "unit": "kW.h"}
    first.write_text(tomli_w.dumps(machine))
    data = tomllib.loads(file.read_text())
    data |= {"analytics": {"plant": "plant"}, "board": {"plant": "plant", "port": free_port(), "sign_in": False}}
    file.write_text(tomli_w.dumps(data))


def _loads(children: dict[str, Child], broker: psutil.Process, server: psutil.Process) -> dict[str, Load]:
    found = {name: Load(child.cpu_s(), _written(child.usage)) for name, child in children.items()}
    times = broker.cpu_times()
    found["broker"] = Load(times.user + times.system, _written(broker))
    found["database"] = Load(server_cpu_s(server), sum(_written(each) for each in _all(server)))
    return found


def _written(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(process.io_counters().write_bytes)
    return 0.0


def _all(server: psutil.Process) -> list[psutil.Process]:
    return [server, *server.children()]


def _memory(children: dict[str, Child], broker: psutil.Process, server: psutil.Process) -> dict[str, float]:
    """MB resident; of the database each shared page once."""
    found = {name: child.rss_mb() for name, child in children.items()}
    found["broker"] = broker.memory_info().rss / 1e6
    found["database"] = sum(each.memory_full_info().pss for each in _all(server)) / 1e6
    return found


async def _rows(db: Db) -> int:
    return int((await one(db, "SELECT coalesce(sum(rows), 0) FROM rootdx.record"))[0])


async def _wal(db: Db) -> float:
    return float((await one(db, "SELECT pg_current_wal_insert_lsn() - '0/0'"))[0])


async def _table_bytes(db: Db) -> float:
    named = " + ".join(f"pg_total_relation_size('rootdx.{name}')" for name in TABLES)
    return float((await one(db, f"SELECT ({named})::float8"))[0])


async def _listened(settings: Path) -> float:
    """Bytes a second of payload on the bus."""
    total = 0
    async with connected(read_settings(settings).bus, "sizing", [ALL_RECORDS]) as session:

        async def listen() -> None:
            nonlocal total
            async for some in session.deliveries():
                total += sum(len(each.payload) + len(each.topic) for each in some)

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(listen(), LISTEN_S)
    return total / LISTEN_S


async def _company(stage: Stage, db: Db) -> list[Figure]:
    """What each company costs before its first value: a database of its own, a writer that is its own."""
    async with database_at(stage.dsn) as dsn:
        await migrate(dsn)
        async with administrator(dsn) as own:
            (empty,) = await one(own, "SELECT pg_database_size(current_database())::float8")
            await own.execute(_MINUTES, [SUMMARY_ROWS])
            (summary,) = await one(own, "SELECT pg_total_relation_size('rootdx.bucket_1m')::float8")
            await own.execute(_TALLIES, [SUMMARY_ROWS])
            (tally,) = await one(own, "SELECT pg_total_relation_size('rootdx.tally')::float8")
    plant = await machines.plant(stage, 1, 1.0)
    writer = await stage.writer(plant.settings)
    (pid,) = await one(db, _BACKEND)
    alone, backend = writer.usage.memory_full_info().uss / 1e6, psutil.Process(pid).memory_full_info().uss / 1e6
    await stage.stop()
    return [
        Figure("company: empty database", [empty / 1e6], "MB"),
        Figure("company: summary of a tag and minute, indexed, uncompressed", [summary / SUMMARY_ROWS], "B/row"),
        Figure("company: tally of a tag and minute, indexed, uncompressed", [tally / SUMMARY_ROWS], "B/row"),
        Figure("company: memory that a further idle writer takes (USS)", [alone], "MB"),
        Figure("company: memory that its connection takes in the server (USS)", [backend], "MB"),
    ]


_BACKEND = "SELECT pid FROM pg_stat_activity WHERE application_name = 'rootdx' ORDER BY backend_start DESC"
_MINUTES = """
    INSERT INTO rootdx.bucket_1m (bucket, tag_id, min, max, sum, first, last, count, value_count, good_count, bad_count)
    SELECT TIMESTAMPTZ '2026-01-01' + n / 100 * INTERVAL '1 minute', n %% 100, random(), random(), random(), random(),
           random(), 60, 60, 60, 0 FROM generate_series(0, %s - 1) n"""
_TALLIES = """
    INSERT INTO rootdx.tally (minute, record, tag_id, expected, unreachable, late, gateway_down, spool_full,
                              quarantined, machine_off)
    SELECT TIMESTAMPTZ '2026-01-01' + n / 100 * INTERVAL '1 minute', n, n %% 100, 60, 0, 0, 0, 0, 0, 0
    FROM generate_series(0, %s - 1) n"""


def _show_runs(stage: Stage, runs: list[Run]) -> None:
    table = Table(title="measured: % of a core, MB, kB/s written", title_justify="left", title_style="bold")
    table.add_column("values/s", justify="right")
    for name in PROCESSES:
        table.add_column(name, justify="right")
    for run in runs:
        cells = [f"{100 * c.cpu:.1f}  {c.rss:.0f}  {c.written:.0f}" for c in (run.costs[name] for name in PROCESSES)]
        table.add_row(shown(run.rate_hz), *cells)
    stage.console.print(table)


def _lines(runs: list[Run]) -> list[Figure]:
    """fixed + a value, by least squares over the rates."""
    rates = np.array([run.rate_hz for run in runs])
    figures = []
    for name in PROCESSES:
        for kind in KINDS if name in WRITING else KINDS[:2]:
            values = np.array([getattr(run.costs[name], kind) for run in runs])
            slope, fixed = (float(each) for each in np.polyfit(rates, values, 1))
            scale = {"cpu": (100.0, 1e6), "rss": (1.0, 1e3), "written": (1.0, 1e3)}[kind]
            words, unit, each_unit = WORDS[kind]
            figures.append(Figure(f"{name}: {words}, fixed", [fixed * scale[0]], unit))
            figures.append(Figure(f"{name}: {words}, a value", [slope * scale[1]], each_unit))
    return figures


def _bytes(runs: list[Run]) -> list[Figure]:
    kinds = {"bus: payload a value": "bus_bytes", "database: log (WAL) a value": "wal_bytes"}
    found = [
        Figure(f"{name} at {run.rate_hz:,.0f} values/s", [getattr(run, field)], "B/value")
        for name, field in kinds.items()
        for run in runs
    ]
    return [*found, Figure("database: tables and indexes a row, uncompressed", [runs[-1].row_bytes], "B/row")]
