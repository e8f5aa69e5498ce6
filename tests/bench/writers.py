"""Rows a second from the full spools of several gateways through one, two and three writers, against one COPY.

* The same rows each time, from an empty table; how many writers come first alternates from repeat to repeat.
* The clock runs from the word `go` to six forwarders until the ledger has the last record of all six. The writers have
  made room for each other before, and the gateways' names are such that each writer has as many as the others.
* Equal contents are proven after every run, as in spool_to_store.
* Which process was the bottleneck is said by CPU: the busiest writer as a share of one core, everything together as a
  share of all of them.
"""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import psutil
import psycopg
import tomli_w

from pipeline import copying
from pipeline.roster import Member, owner
from pipeline.spool_file import FILE
from tests.bench import rows
from tests.bench.figures import Figure, show
from tests.bench.stage import Child, Content, Db, Invalid, Stage, Wish, content, looking, server_cpu_s, server_process

ROWS = 2_000_000
MOST = 3
GATEWAYS = 6
NAMES = tuple(f"writer-{number}" for number in range(1, MOST + 1))
STUCK_S = 60.0
LOOK_S = 0.01
DIRECT = "timescaledb.enable_direct_compress_copy"


@dataclass(frozen=True, slots=True)
class Spool:
    """A full spool of a gateway that has a plant of its own."""

    gateway: str
    file: Path
    seconds: int


@dataclass(frozen=True, slots=True)
class Run:
    """One repeat with so many writers; CPU in seconds."""

    took_s: float
    forwarders: float
    broker: float
    writers: tuple[float, ...]
    database: float

    @property
    def busiest(self) -> float:
        """CPU of the writer that used most, as a share of one core."""
        return max(self.writers) / self.took_s

    @property
    def machine(self) -> float:
        """CPU of all, as a share of all cores."""
        total = self.forwarders + self.broker + sum(self.writers) + self.database
        return total / self.took_s / (psutil.cpu_count() or 1)


async def measure(stage: Stage, wish: Wish) -> list[Figure]:
    """The figures, all of one run in the same database."""
    seconds = max(1, (wish.rows or ROWS) // rows.RATE_HZ // GATEWAYS)
    start_ns = (int(time.time()) - seconds) * rows.SECOND_NS
    spools = [await _fill(stage, name, seconds, start_ns) for name in _even()]
    total = seconds * rows.RATE_HZ * GATEWAYS
    stage.console.print(f"spools: {GATEWAYS} of {seconds:,} records, {total:,} rows")
    runs: dict[int, list[Run]] = {number: [] for number in range(1, MOST + 1)}
    copies: list[float] = []
    async with looking(stage) as db:
        expected = (await _pipeline(stage, db, spools, 1))[1]  # warms up
        if (expected.rows, expected.distinct) != (total, total):
            raise Invalid(f"{expected.rows} rows, {expected.distinct} distinct, expected {total} of both")
        prepared = await _prepared(db, spools, start_ns)
        for turn in range(wish.repeats):
            for number in range(1, MOST + 1) if turn % 2 == 0 else range(MOST, 0, -1):
                run, found = await _pipeline(stage, db, spools, number)
                if found != expected:
                    raise Invalid(f"{number} writers: the table holds {found}, expected {expected}")
                runs[number].append(run)
            await stage.empty(db)
            copies.append(await asyncio.to_thread(_copy, stage, prepared))
            if await content(db) != expected:
                raise Invalid("COPY: the table holds something else")
    figures = list(_figures(total, runs, copies))
    show(stage.console, f"one to {MOST} writers, {stage.server}, {total:,} rows of {GATEWAYS} gateways", figures)
    return figures


def _even() -> list[str]:
    """Names of gateways of which every writer has as many as the others, with two writers and with three."""
    found: dict[tuple[str | None, ...], list[str]] = {}
    for number in count(1):
        name = f"gw-{number}"
        key = tuple(owner(name, [Member(one) for one in NAMES[:writers]]) for writers in (2, 3))
        found.setdefault(key, []).append(name)
        kept = [(NAMES[0], NAMES[0]), (NAMES[1], NAMES[1]), (NAMES[0], NAMES[2]), (NAMES[1], NAMES[2])]
        each = [found.get(one, []) for one in kept]
        if all(len(one) >= want for one, want in zip(each, (2, 2, 1, 1), strict=True)):
            return [*each[0][:2], *each[1][:2], each[2][0], each[3][0]]
    raise AssertionError


def _settings(stage: Stage, place: Path, gateway: str, writer: str = "") -> Path:
    file = place / "rootdx.toml"
    data = {
        "bus": {"port": stage.broker.port},
        "writer": {"name": writer},
        "gateway": {"name": gateway, "spool": {"folder": "spool"}},
    }
    file.write_text(tomli_w.dumps(data))
    return file


async def _fill(stage: Stage, name: str, seconds: int, start_ns: int) -> Spool:
    place = stage.place(f"fill-{name}")
    what = ("fill", str(_settings(stage, place, name)), "--seconds", str(seconds), "--start", str(start_ns))
    child = await stage.start("fill", "tests.bench.feeder", *what, "--plant", name)
    if await child.process.wait() != 0:
        raise Invalid(f"the spool could not be filled:\n{child.log.read_text()[-1500:]}")
    stage.children.remove(child)
    return Spool(name, place / "spool" / FILE, seconds)


def _copied(stage: Stage, spool: Spool) -> tuple[Path, str]:
    """Settings and epoch of the same records in a spool of their own, which neither ledger nor broker knows."""
    place = stage.place(f"spool-{spool.gateway}")
    (place / "spool").mkdir()
    file = place / "spool" / FILE
    shutil.copy(spool.file, file)
    epoch = rows.new_epoch()
    db = sqlite3.connect(file)
    with db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'epoch'", (epoch,))
    db.close()
    return _settings(stage, place, spool.gateway), epoch


async def _pipeline(stage: Stage, db: Db, spools: Sequence[Spool], number: int) -> tuple[Run, Content]:
    await stage.empty(db)
    copies = [_copied(stage, spool) for spool in spools]
    writers = [await stage.writer(_settings(stage, stage.place(name), "gw-1", name)) for name in NAMES[:number]]
    await _settled(db, number)
    feeders = [await stage.start("forwarder", "tests.bench.feeder", "forward", str(file)) for file, _ in copies]
    for feeder in feeders:
        await feeder.hears("ready")
    server = await server_process(db)
    before = _used(stage, feeders, writers), server_cpu_s(server)
    began = time.monotonic()
    for feeder in feeders:
        feeder.tell("go")
    await _until_all(stage, db, {epoch: spool.seconds for (_, epoch), spool in zip(copies, spools, strict=True)})
    took_s = time.monotonic() - began
    after = _used(stage, feeders, writers), server_cpu_s(server)
    used = [end - start for start, end in zip(before[0], after[0], strict=True)]
    await stage.stop()
    each = tuple(used[len(feeders) + 1 :])
    run = Run(took_s, sum(used[: len(feeders)]), used[len(feeders)], each, after[1] - before[1])
    return run, await content(db)


async def _settled(db: Db, number: int) -> None:
    """Until each writer knows all the others, and one beat longer, in which they take up what is theirs."""
    deadline = time.monotonic() + STUCK_S
    while True:
        found = await (await db.execute("SELECT cardinality(knows) FROM rootdx.writer")).fetchall()
        if len(found) == number and all(known == number for (known,) in found):
            await asyncio.sleep(1.5)
            return
        if time.monotonic() > deadline:
            raise Invalid(f"{number} writers were started, the list says {found}")
        await asyncio.sleep(0.1)


def _used(stage: Stage, feeders: Sequence[Child], writers: Sequence[Child]) -> list[float]:
    return [*(one.cpu_s() for one in feeders), stage.broker_cpu_s(), *(one.cpu_s() for one in writers)]


async def _until_all(stage: Stage, db: Db, goals: dict[str, int]) -> None:
    moved, last = time.monotonic(), 0
    query = "SELECT epoch::text, last_seq FROM rootdx.ledger WHERE epoch = ANY(%s::uuid[])"
    while True:
        found: dict[str, int] = dict(await (await db.execute(query, [list(goals)])).fetchall())
        if all(found.get(epoch, 0) >= goal for epoch, goal in goals.items()):
            return
        if sum(found.values()) > last:
            moved, last = time.monotonic(), sum(found.values())
        elif time.monotonic() - moved > STUCK_S:
            raise Invalid(f"stuck at {last} of {sum(goals.values())} records for {STUCK_S:.0f} s")
        stage.check()
        await asyncio.sleep(LOOK_S)


async def _prepared(db: Db, spools: Sequence[Spool], start_ns: int) -> bytes:
    """All rows of all gateways as one binary COPY."""
    query = "SELECT path, tag.name, tag_id FROM rootdx.tag JOIN rootdx.asset USING (asset_id)"
    ids = {(path, name): tag_id for path, name, tag_id in await (await db.execute(query)).fetchall()}
    table = rows.values(spools[0].seconds)
    parts = []
    for spool in spools:
        mine = [ids[asset, name] for asset in rows.assets(spool.gateway) for name in rows.NAMES]
        one = rows.prepared(table, start_ns, np.array(mine, np.int32))
        parts.append(one.removeprefix(copying.BEGIN).removesuffix(copying.END))
    return copying.BEGIN + b"".join(parts) + copying.END


def _copy(stage: Stage, prepared: bytes) -> float:
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


def _figures(total: int, runs: dict[int, list[Run]], copies: Sequence[float]) -> Iterator[Figure]:
    yield Figure("one COPY of the same rows", [total / took_s for took_s in copies], "rows/s")
    for number, each in runs.items():
        name = "1 writer" if number == 1 else f"{number} writers"
        yield Figure(f"{name}: several spools to store", [total / run.took_s for run in each], "rows/s")
        ratios = [copy_s / run.took_s for run, copy_s in zip(each, copies, strict=True)]
        yield Figure(f"{name}: share of one COPY", ratios, "1", limit=1.0)
        if number > 1:
            gains = [alone.took_s / run.took_s for run, alone in zip(each, runs[1], strict=True)]
            yield Figure(f"{name}: as fast as one", gains, "1", limit=f"{number}, with cores enough")
        yield Figure(f"{name}: busiest writer, share of a core", [run.busiest for run in each], "1", limit=1.0)
        yield Figure(f"{name}: everything, share of all cores", [run.machine for run in each], "1", limit=1.0)
        for what, used in (
            ("forwarders", [run.forwarders for run in each]),
            ("broker", [run.broker for run in each]),
            ("writers", [sum(run.writers) for run in each]),
            ("database", [run.database for run in each]),
        ):
            if not np.isnan(used).any():  # where the server runs elsewhere
                yield Figure(f"{name}: CPU of {what}", [one * 1e6 / total for one in used], "us/row")
