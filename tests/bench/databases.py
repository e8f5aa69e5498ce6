"""Many companies on one PostgreSQL: a database each, in each a writer's transaction of 50 rows every second.

* COMPANIES copies of one migrated database; transactions are those of the store's own code, spread over the second.
* Told are the server's CPU and memory, how long a transaction takes, and how long a restart and a recovery take.
* One client process stands in for all writers, on the same cores: times are an upper bound, the server's CPU is not.
* Plain PostgreSQL: TimescaleDB's workers, at least one a database, come on top and are not measured here.
"""

import asyncio
import contextlib
import shutil
import time
import uuid
from dataclasses import replace

import psutil
import psycopg

from pipeline import migrate
from pipeline.service import wall_ns
from pipeline.settings import StoreSettings
from pipeline.store import Accepted, Commit, Store, opened
from rootdx.embedded import Postgres
from tests.bench.figures import Figure, quantile, show
from tests.bench.stage import Invalid, Stage, Wish, server_cpu_s
from tests.support.spine import batch

COMPANIES, ROWS, EVERY_S = 100, 50, 1.0
TEMPLATE = "company_0"
TAGS = tuple(f"t{number:02d}" for number in range(ROWS))


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures; prints them."""
    place = stage.place("companies")
    place.chmod(0o711)
    # Else a recovery syncs every file of every database one by one: a minute for a hundred.
    settings = {"max_connections": str(COMPANIES + 30), "recovery_init_sync_method": "syncfs"}
    server = Postgres(place, settings=settings)
    await server.start()
    try:
        copy_s = await _make(server)
        figures = await _loaded(server, wish)
        figures = [Figure("to make a company's database as a copy", [copy_s / (COMPANIES - 1)], "s"), *figures]
        figures.append(Figure("restart, until one can ask", [await _again(server)], "s"))
        await _loaded(server, replace(wish, seconds=3.0))
        server.kill()
        figures.append(Figure("recovery after kill -9 under load, until one can ask", [await _started(server)], "s"))
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        figures.append(Figure("disk a company, its log included", [size / COMPANIES / 1e6], "MB"))
    finally:
        await server.stop()
        shutil.rmtree(place, ignore_errors=True)
    show(stage.console, f"{COMPANIES} databases on one plain PostgreSQL, {ROWS} rows a second in each", figures)
    return figures


async def _make(server: Postgres) -> float:
    """Seconds for all copies."""
    async with await psycopg.AsyncConnection.connect(server.dsn(), autocommit=True) as db:
        await db.execute(f"CREATE DATABASE {TEMPLATE}".encode())
        await migrate.migrate(server.dsn(dbname=TEMPLATE))
        began = time.monotonic()
        for number in range(1, COMPANIES):
            await db.execute(f"CREATE DATABASE company_{number} TEMPLATE {TEMPLATE}".encode())
        return time.monotonic() - began


async def _loaded(server: Postgres, wish: Wish) -> list[Figure]:
    """Every company commits once a second."""
    assert server.pid is not None
    process = psutil.Process(server.pid)
    async with contextlib.AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(opened(StoreSettings(dsn=server.dsn(dbname=f"company_{number}"))))
            for number in range(COMPANIES)
        ]
        took: list[float] = []
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number, store in enumerate(stores):
                group.create_task(_company(store, number, took, stop))
            await asyncio.sleep(2 * wish.warm_s)
            began, cpu, done = time.monotonic(), server_cpu_s(process), len(took)
            await asyncio.sleep(wish.seconds)
            spent_s, cpu_s, commits = time.monotonic() - began, server_cpu_s(process) - cpu, took[done:]
            memory = sum(each.memory_full_info().pss for each in (process, *process.children())) / 1e6
            stop.set()
    if len(commits) < 0.9 * COMPANIES * spent_s / EVERY_S:
        raise Invalid(f"{len(commits)} commits in {spent_s:.0f} s, {COMPANIES * spent_s / EVERY_S:.0f} were due")
    return [
        Figure("commits a second", [len(commits) / spent_s], "1/s"),
        Figure("server: CPU", [100 * cpu_s / spent_s], "% of a core"),
        Figure("server: CPU a commit", [cpu_s * 1e3 / len(commits)], "ms"),
        Figure("a transaction, median", [quantile(commits, 0.5) * 1e3], "ms"),
        Figure("a transaction, p99", [quantile(commits, 0.99) * 1e3], "ms"),
        Figure("server: memory, shared pages once", [memory], "MB"),
        Figure("server: memory a company", [memory / COMPANIES], "MB"),
    ]


async def _company(store: Store, number: int, took: list[float], stop: asyncio.Event) -> None:
    entry = await store.enter("gw", uuid.uuid4())
    await asyncio.sleep(EVERY_S * number / COMPANIES)
    due = time.monotonic()
    while not stop.is_set():
        key, last, now = entry.source_id, entry.last, wall_ns()
        record = Accepted(key, last + 1, now, ROWS, [batch(last, ROWS, tags=TAGS, ts_ns=now)])
        began = time.monotonic()
        await store.commit(Commit([record], [], {key: last}, {key: last + 1}))
        took.append(time.monotonic() - began)
        entry = replace(entry, last=last + 1)
        due += EVERY_S
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _again(server: Postgres) -> float:
    async with await psycopg.AsyncConnection.connect(server.dsn(), autocommit=True) as db:
        await db.execute("CHECKPOINT")  # as an operator does before a restart, so that the server does not do it then
    await server.stop()
    return await _started(server)


async def _started(server: Postgres) -> float:
    began = time.monotonic()
    await server.start()
    async with await psycopg.AsyncConnection.connect(server.dsn(dbname=f"company_{COMPANIES - 1}")) as db:
        await db.execute("SELECT count(*) FROM rootdx.measurement")
    return time.monotonic() - began
