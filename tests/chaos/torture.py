"""Everything is pulled out of the wall, again and again, and then every row is counted.

    python -m tests.chaos.torture [--faults 1000] [--for 2min] [--seed 1]
    python -m tests.chaos.torture --protocols       between machine and gateway instead: see protocols
    python -m tests.chaos.torture --cluster         three broker nodes and three writers instead: see cluster
    python -m tests.chaos.torture --hostile         clients that mean harm instead: see hostile

The plant under test is real: gateways (tests/chaos/counted_gateway.py), an MQTT broker, a writer and a PostgreSQL
server (without TimescaleDB), each a process of its own, with links that can be cut between them. Three gateways: one
ordinary, one whose spool lies on a small disk of its own, one whose spool has a small cap.

The verdict does not come from our own counts alone. Each gateway's witness file says which numbers became durable:
each of them must be in the table exactly once, or in an announced loss. And Σ expected = Σ stored + Σ missing by cause.
"""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import tomli_w
from rich.console import Console
from rich.table import Table

from pipeline import migrate, reserve
from pipeline.spool_database import PENDING
from rootdx.cli import seconds
from rootdx.embedded import Broker, Postgres
from tests.chaos import cluster, hostile, protocols
from tests.chaos.counted_gateway import CLOCK_OFFSET, INCARNATION, WITNESS
from tests.support.proxy import Proxy
from tests.support.report import Row, write_report

EVERY_S: Final = 0.1
TAGS: Final = 10
NOISE_TAGS: Final = 300
"""Enough to feel within seconds that the disk is full."""
RECOVER_S: Final = 90.0
"""No recovery within this time makes the measurement invalid."""
SMALL_DISK: Final = "16m"
SMALL_CAP_MB: Final = 0.04
ROOT: Final = Path(__file__).resolve().parents[2]
GATEWAYS: Final = ("gw-plain", "gw-disk", "gw-cap")


@dataclass(slots=True)
class Fault:
    """One thing that was done to the plant."""

    kind: str
    began: float
    ended: float = 0.0
    recovered_s: float = 0.0


@dataclass(slots=True)
class Gateway:
    """One gateway under test and its belongings."""

    name: str
    folder: Path
    link: Proxy
    disk_holder: int | None = None
    incarnation: int = 0
    process: asyncio.subprocess.Process | None = None

    @property
    def spool(self) -> Path:
        """The spool's folder as we see it."""
        return self.folder / "spool" if self.disk_holder is None else Path(f"/proc/{self.disk_holder}/root/mnt/spool")

    @property
    def inside(self) -> list[str]:
        """Command that enters the namespace in which the gateway lives."""
        if self.disk_holder is None:
            return []
        return ["nsenter", "-t", str(self.disk_holder), "-U", "-m", "--preserve-credentials", "--wd=" + str(ROOT)]

    @property
    def witness(self) -> Path:
        return self.folder / "witness"

    @property
    def offset(self) -> Path:
        return self.folder / "clock_offset"


@dataclass(slots=True)
class Bench:
    """The plant under test."""

    folder: Path
    postgres: Postgres
    broker: Broker
    to_database: Proxy
    to_broker: Proxy
    gateways: dict[str, Gateway] = field(default_factory=dict)
    writer: asyncio.subprocess.Process | None = None
    faults: list[Fault] = field(default_factory=list)
    disk_holder: int | None = None


Act = Callable[[Bench, random.Random], Awaitable[None]]


async def main(arguments: argparse.Namespace) -> int:
    console = Console()
    rng = random.Random(arguments.seed)
    folder = Path(
        tempfile.mkdtemp(prefix="rootdx-torture-", dir="/var/tmp" if os.access("/var/tmp", os.W_OK) else None)
    )
    folder.chmod(0o711)
    began = time.monotonic()
    try:
        async with contextlib.AsyncExitStack() as stack:
            bench = await _set_up(folder, stack)
            await _abuse(bench, rng, arguments, console)
            verdict = await _settle(bench, console)
        rows = _report(bench, verdict, time.monotonic() - began, console)
        console.print(f"figures in {write_report('torture', rows, arguments.report)}")
    finally:
        if arguments.keep:
            console.print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if verdict.valid else 1


# ---- the plant ----


async def _set_up(folder: Path, stack: contextlib.AsyncExitStack) -> Bench:
    postgres = await stack.enter_async_context(Postgres(folder / "database"))
    broker = await stack.enter_async_context(Broker(folder / "broker"))
    await migrate.migrate(postgres.dsn())
    to_database = await stack.enter_async_context(Proxy("127.0.0.1", postgres.port))
    to_broker = await stack.enter_async_context(Proxy("127.0.0.1", broker.port))
    bench = Bench(folder, postgres, broker, to_database, to_broker)
    bench.disk_holder = await stack.enter_async_context(_small_disk())
    for name in GATEWAYS:
        link = await stack.enter_async_context(Proxy("127.0.0.1", broker.port))
        place = folder / name
        place.mkdir()
        holder = bench.disk_holder if name == "gw-disk" else None
        gateway = bench.gateways[name] = Gateway(name, place, link, holder)
        _write_plant(gateway)
        await _start_gateway(gateway)
    stack.push_async_callback(_end_processes, bench)
    await _start_writer(bench)
    return bench


@contextlib.asynccontextmanager
async def _small_disk() -> AsyncIterator[int | None]:
    """A disk of SMALL_DISK at /mnt, without being root: a tmpfs in a mount namespace of its own.

    Yields the process that holds the namespace; None where the kernel does not allow that.
    """
    script = f"mount -t tmpfs -o size={SMALL_DISK} tmpfs /mnt && echo ready && exec sleep 100000"
    holder = await asyncio.create_subprocess_exec(
        "unshare", "-Urm", "sh", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert holder.stdout is not None
    try:
        said = await asyncio.wait_for(holder.stdout.readline(), 5)
        place = Path(f"/proc/{holder.pid}/root/mnt")
        yield holder.pid if said == b"ready\n" and os.access(place, os.W_OK) else None
    finally:
        with contextlib.suppress(ProcessLookupError):
            holder.kill()
        await holder.wait()


def _write_plant(gateway: Gateway) -> None:
    plant = gateway.folder / "plant"
    plant.mkdir()
    (plant / "plant.toml").write_text(tomli_w.dumps({"enterprise": "torture", "site": gateway.name}))
    noise = NOISE_TAGS if gateway.name == "gw-disk" else 0
    names = [*(f"n{i}" for i in range(TAGS)), *(f"x{i}" for i in range(noise))]
    tags = [{"name": name, "address": name, "unit": "1"} for name in names]
    for machine in ("m1", "m2"):
        source = {"protocol": "counted", "every_s": EVERY_S}
        data = {"path": f"a/l/{machine}", "name": machine, "process": "casting", "source": source, "tag": tags}
        (plant / f"{machine}.toml").write_text(tomli_w.dumps(data))
    cap = SMALL_CAP_MB if gateway.name == "gw-cap" else 500.0
    settings = {
        "bus": {"port": gateway.link.port, "keepalive_s": 2, "timeout_s": 3.0},
        "gateway": {
            "name": gateway.name,
            "plant": "plant",
            "spool": {"folder": "spool" if gateway.disk_holder is None else "/mnt/spool", "cap_mb": cap},
            "forward": {"patience_s": 1.0},
        },
    }
    (gateway.folder / "rootdx.toml").write_text(tomli_w.dumps(settings))


async def _start_gateway(gateway: Gateway) -> None:
    gateway.incarnation += 1
    with (gateway.folder / "log").open("ab") as log:
        gateway.process = await asyncio.create_subprocess_exec(
            *gateway.inside, sys.executable, "-m", "tests.chaos.counted_gateway",
            str(gateway.folder / "rootdx.toml"), stdout=log, stderr=log, cwd=ROOT, env={
                **os.environ, WITNESS: str(gateway.witness), CLOCK_OFFSET: str(gateway.offset),
                INCARNATION: str(gateway.incarnation),
            },
        )  # fmt: skip


async def _start_writer(bench: Bench) -> None:
    file = bench.folder / "writer.toml"
    file.write_text(tomli_w.dumps({"bus": {"port": bench.to_broker.port, "keepalive_s": 2, "timeout_s": 3.0}}))
    dsn = bench.postgres.dsn().replace(f":{bench.postgres.port}/", f":{bench.to_database.port}/")
    dsn += ("&" if "?" in dsn else "?") + "tcp_user_timeout=3000"
    with (bench.folder / "writer.log").open("ab") as log:
        bench.writer = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rootdx", "writer", "--config", str(file),
            stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "ROOTDX_STORE_DSN": dsn},
        )  # fmt: skip


async def _kill(process: asyncio.subprocess.Process | None, number: signal.Signals = signal.SIGKILL) -> None:
    if process is not None and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        await process.wait()


async def _end_processes(bench: Bench) -> None:
    for process in (*(gateway.process for gateway in bench.gateways.values()), bench.writer):
        await _kill(process)


# ---- what is done to it ----


def _some(bench: Bench, rng: random.Random) -> Gateway:
    return bench.gateways[rng.choice(GATEWAYS)]


async def gateway_killed(bench: Bench, rng: random.Random) -> None:
    gateway = _some(bench, rng)
    await _kill(gateway.process)
    await asyncio.sleep(rng.uniform(0, 0.5))
    await _start_gateway(gateway)


async def spool_torn(bench: Bench, rng: random.Random) -> None:
    """Power fails while a group is being written: half a frame of rubbish behind the last whole one."""
    gateway = _some(bench, rng)
    await _kill(gateway.process)
    log = gateway.spool / "spool.sqlite-wal"
    with contextlib.suppress(OSError), log.open("ab") as file:
        file.write(rng.randbytes(rng.randint(1, 8000)))
    await _start_gateway(gateway)


async def writer_killed(bench: Bench, rng: random.Random) -> None:
    await _kill(bench.writer)
    await asyncio.sleep(rng.uniform(0, 0.5))
    await _start_writer(bench)


async def writer_frozen(bench: Bench, rng: random.Random) -> None:
    assert bench.writer is not None
    bench.writer.send_signal(signal.SIGSTOP)
    await asyncio.sleep(rng.uniform(0.5, 2.0))
    bench.writer.send_signal(signal.SIGCONT)


async def broker_killed(bench: Bench, rng: random.Random) -> None:
    bench.broker.kill()
    await asyncio.sleep(rng.uniform(0, 0.5))
    await bench.broker.start()


async def database_killed(bench: Bench, rng: random.Random) -> None:
    bench.postgres.kill()
    await asyncio.sleep(rng.uniform(0, 0.3))
    await bench.postgres.start()


def _links(bench: Bench, rng: random.Random) -> Proxy:
    links = [bench.to_database, bench.to_broker, *(gateway.link for gateway in bench.gateways.values())]
    return rng.choice(links)


async def link_cut(bench: Bench, rng: random.Random) -> None:
    link = _links(bench, rng)
    link.refuse()
    await asyncio.sleep(rng.uniform(0, 1.5))
    link.heal()


async def link_delayed(bench: Bench, rng: random.Random) -> None:
    link = _links(bench, rng)
    link.delay(rng.uniform(0.05, 0.5))
    await asyncio.sleep(rng.uniform(0.5, 2.0))
    link.heal()


async def link_stalled(bench: Bench, rng: random.Random) -> None:
    """Half-open: nobody is told that nothing moves any more; then both ends are."""
    link = _links(bench, rng)
    link.stall()
    await asyncio.sleep(rng.uniform(0.5, 2.5))
    link.cut()
    link.heal()


async def clock_stepped(bench: Bench, rng: random.Random) -> None:
    gateway = _some(bench, rng)
    step = rng.choice((-86400.0, -3600.0, -5.0, -1.5, 1.5, 5.0, 3600.0, 86400.0))
    now = float(gateway.offset.read_text()) if gateway.offset.exists() else 0.0
    gateway.offset.write_text(str(now + step))


async def disk_full(bench: Bench, rng: random.Random) -> None:
    """Somebody else fills the disk of the spool while the link is down; the room comes back before the link does."""
    gateway = bench.gateways["gw-disk"]
    gateway.link.refuse()
    filler = gateway.spool.parent / "filler"
    disk = os.statvfs(gateway.spool.parent)
    with contextlib.suppress(OSError), filler.open("wb") as file:
        for _ in range(disk.f_bavail):
            file.write(rng.randbytes(disk.f_frsize))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (gateway.spool / reserve.FILE).exists():
        await asyncio.sleep(0.2)
    await asyncio.sleep(rng.uniform(0.0, 3.0))
    filler.unlink(missing_ok=True)
    gateway.link.heal()


async def spool_full(bench: Bench, rng: random.Random) -> None:
    """An outage longer than the cap."""
    gateway = bench.gateways["gw-cap"]
    gateway.link.refuse()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _dropped(gateway):
        await asyncio.sleep(0.3)
    await asyncio.sleep(rng.uniform(0, 1))
    gateway.link.heal()


def _dropped(gateway: Gateway) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{gateway.spool / 'spool.sqlite'}?mode=ro", uri=True)) as db:
            return bool(db.execute("SELECT 1 FROM record WHERE stub = 1").fetchone())
    except sqlite3.Error:
        return False


ACTS: Final[dict[str, tuple[Act, float]]] = {
    "gateway SIGKILL": (gateway_killed, 4),
    "spool torn": (spool_torn, 2),
    "writer SIGKILL": (writer_killed, 3),
    "writer frozen": (writer_frozen, 1),
    "broker SIGKILL": (broker_killed, 3),
    "database SIGKILL": (database_killed, 3),
    "link cut": (link_cut, 4),
    "link delayed": (link_delayed, 2),
    "link half-open": (link_stalled, 2),
    "clock stepped": (clock_stepped, 2),
    "disk full": (disk_full, 0.4),
    "spool cap reached": (spool_full, 0.15),
}


async def _abuse(bench: Bench, rng: random.Random, arguments: argparse.Namespace, console: Console) -> None:
    await _recovered(bench, time.time())
    began = said = time.monotonic()
    kinds = [kind for kind in ACTS if bench.disk_holder or kind != "disk full"]
    weights = [ACTS[kind][1] for kind in kinds]
    todo = list(kinds)  # each at least once, then by weight
    while len(bench.faults) < arguments.faults and time.monotonic() - began < arguments.seconds:
        chosen = [todo.pop(0)] if todo else _together(rng.choices(kinds, weights, k=rng.choice((1, 1, 2, 3))))
        faults = [Fault(kind, time.time()) for kind in chosen]
        bench.faults.extend(faults)
        await asyncio.gather(*(ACTS[fault.kind][0](bench, rng) for fault in faults))
        over = time.time()
        took = await _recovered(bench, over)
        for fault in faults:
            fault.ended, fault.recovered_s = over + took, took
        await asyncio.sleep(rng.uniform(0, 0.4))
        if time.monotonic() - said > 15:
            said = time.monotonic()
            console.print(f"{len(bench.faults)} faults in {said - began:.0f} s")


def _together(drawn: list[str]) -> list[str]:
    """Of what was drawn, the acts that can be done at once."""
    chosen: list[str] = []
    for kind in drawn:
        if not any(_clash(kind, other) for other in chosen):
            chosen.append(kind)
    return chosen


def _clash(one: str, other: str) -> bool:
    """Whether two acts would pull at the same thing and undo each other."""
    groups = (
        {"gateway SIGKILL", "spool torn"}, {"writer SIGKILL", "writer frozen"},
        {"link cut", "link delayed", "link half-open", "disk full", "spool cap reached"},
    )  # fmt: skip
    return one == other or any(one in group and other in group for group in groups)


async def _recovered(bench: Bench, since: float) -> float:
    """Seconds until each gateway has something committed that it made durable after `since`."""
    began = time.monotonic()
    while time.monotonic() - began < RECOVER_S:
        with contextlib.suppress(psycopg.OperationalError):
            async with await psycopg.AsyncConnection.connect(bench.postgres.dsn(), connect_timeout=3) as db:
                marks = {name: await _durable(db, name) for name in GATEWAYS}
                while time.monotonic() - began < RECOVER_S:
                    waiting = [name for name in GATEWAYS if not await _later(db, name, marks[name])]
                    if not waiting:
                        return time.monotonic() - began
                    await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
    raise TimeoutError(f"no recovery within {RECOVER_S:.0f} s after {[fault.kind for fault in bench.faults[-2:]]}")


async def _durable(db: psycopg.AsyncConnection[Any], name: str) -> int:
    row = await (
        await db.execute("SELECT coalesce(max(last_seq), -1) FROM rootdx.ledger WHERE gateway = %s", [name])
    ).fetchone()
    return int(row[0]) if row else -1


async def _later(db: psycopg.AsyncConnection[Any], name: str, mark: int) -> bool:
    return await _durable(db, name) > mark + 1


# ---- the verdict ----


@dataclass(slots=True)
class Verdict:
    """What was counted."""

    produced: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    duplicate: Counter[str] = field(default_factory=Counter)
    announced: int = 0
    lost: int = 0
    unresolved: int = 0
    stored: int = 0
    expected: int = 0
    told_missing: int = 0
    quarantined: int = 0
    valid: bool = False


async def _settle(bench: Bench, console: Console) -> Verdict:
    """Everything back to normal, gateways stopped clean, spools empty; then count."""
    for gateway in bench.gateways.values():
        gateway.link.heal()
    await _recovered(bench, time.time())
    for gateway in bench.gateways.values():
        await _kill(gateway.process, signal.SIGTERM)
    left = {gateway.name: _pending(gateway) for gateway in bench.gateways.values()}
    for gateway in bench.gateways.values():
        if left[gateway.name]:
            console.print(f"{gateway.name}: {left[gateway.name]} records left in the spool after a clean stop")
    verdict = Verdict()
    with psycopg.connect(bench.postgres.dsn()) as db:
        for gateway in bench.gateways.values():
            _count(gateway, db, bench.faults, verdict)
        sums = db.execute(
            "SELECT sum(expected), sum(good + uncertain + bad), sum(unreachable + late + gateway_down + spool_full + "
            "quarantined + machine_off), sum(spool_full) FILTER (WHERE t.name LIKE 'n%') "
            "FROM rootdx.completeness JOIN rootdx.tag t USING (tag_id)"
        ).fetchone() or (0, 0, 0, 0)
        verdict.expected, verdict.stored, verdict.told_missing, verdict.announced = (int(one or 0) for one in sums)
        waiting = db.execute("SELECT count(*) FROM rootdx.quarantine").fetchone()
        verdict.quarantined = int(waiting[0]) if waiting else 0
    verdict.valid = not any(left.values()) and sum(verdict.produced.values()) > 0
    return verdict


def _pending(gateway: Gateway) -> int:
    copy = gateway.folder / "after"
    shutil.copytree(gateway.spool, copy)
    with contextlib.closing(sqlite3.connect(copy / "spool.sqlite")) as db:
        return int(db.execute(f"SELECT count(*) {PENDING}").fetchone()[0])


def _count(gateway: Gateway, db: psycopg.Connection[Any], faults: list[Fault], verdict: Verdict) -> None:
    rows = db.execute(
        "SELECT m.value::bigint, count(*) FROM rootdx.measurement m JOIN rootdx.tag t USING (tag_id) "
        "JOIN rootdx.asset a USING (asset_id) WHERE a.path LIKE %s AND t.name LIKE 'n%%' GROUP BY 1",
        [f"torture/{gateway.name}/%"],
    )
    stored: dict[int, int] = dict(rows.fetchall())
    dropped = db.execute(
        "SELECT coalesce(sum(y.spool_full), 0) FROM rootdx.tally y JOIN rootdx.tag t USING (tag_id) "
        "JOIN rootdx.asset a USING (asset_id) WHERE a.path LIKE %s AND t.name LIKE 'n%%'",
        [f"torture/{gateway.name}/%"],
    ).fetchone()
    announced = int(dropped[0]) if dropped else 0
    witnessed: set[int] = set()
    absent: list[tuple[int, str]] = []
    for text in gateway.witness.read_text().splitlines():
        _, first, count, at = text.split()
        kind = _during(faults, float(at))
        verdict.produced[kind] += int(count)
        for number in range(int(first), int(first) + int(count)):
            witnessed.add(number)
            if number not in stored:
                absent.append((number, kind))
    verdict.lost += len(absent)
    unannounced = len(absent) - announced
    # A number that became durable in the very moment of a SIGKILL has no witness and may have been dropped later.
    verdict.unresolved += max(0, -unannounced)
    for _, kind in absent[: max(0, unannounced)]:
        verdict.missing[kind] += 1
    for number, times in stored.items():
        if times > 1:
            verdict.duplicate[_of_number(gateway, number, faults)] += times - 1


def _of_number(gateway: Gateway, number: int, faults: list[Fault]) -> str:
    for text in gateway.witness.read_text().splitlines():
        _, start, count, at = text.split()
        if int(start) <= number < int(start) + int(count):
            return _during(faults, float(at))
    return "between faults"


def _during(faults: list[Fault], at: float) -> str:
    for fault in faults:
        if fault.began - 1 <= at <= fault.ended:
            return fault.kind
    return "between faults"


def _report(bench: Bench, verdict: Verdict, took_s: float, console: Console) -> list[Row]:
    times: dict[str, list[float]] = defaultdict(list)
    for fault in bench.faults:
        times[fault.kind].append(fault.recovered_s)
    table = Table(title=f"{len(bench.faults)} faults in {took_s:.0f} s, on plain PostgreSQL")
    for column in ("fault", "injected", "rows produced", "missing", "duplicate", "recovery p50 s", "p99 s"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for kind in [*ACTS, "between faults"]:
        mine = sorted(times.get(kind, []))
        p50 = f"{statistics.median(mine):.2f}" if mine else ""
        p99 = f"{mine[min(len(mine) - 1, int(len(mine) * 0.99))]:.2f}" if mine else ""
        counts = (len(mine), verdict.produced[kind], verdict.missing[kind], verdict.duplicate[kind])
        table.add_row(kind, *(f"{count:,}" for count in counts), p50, p99)
    console.print(table)
    missing, duplicate = verdict.missing.total(), verdict.duplicate.total()
    difference = verdict.expected - verdict.stored - verdict.told_missing
    console.print(
        f"rows witnessed durable {verdict.produced.total():,}; stored {verdict.stored:,}; missing {missing}; "
        f"duplicate {duplicate}; lost to full spools {verdict.lost:,}, announced {verdict.announced:,} "
        f"({verdict.unresolved} of them durable in the moment of a SIGKILL, without witness)"
    )
    console.print(
        f"Σ expected {verdict.expected:,} = Σ stored {verdict.stored:,} + Σ missing by cause {verdict.told_missing:,}; "
        f"difference {difference}; quarantined {verdict.quarantined}"
    )
    if not bench.disk_holder:
        console.print("disk full: not measured, this kernel allows no mount in a namespace of its own")
    whole = [
        Row("faults injected", len(bench.faults), "1", 1000, None, None),
        Row("rows witnessed durable", verdict.produced.total(), "rows", None, None, None),
        Row("rows missing and not announced", missing, "rows", 0, 0, "telegraf: all beyond 10,000 in memory"),
        Row("rows stored twice", duplicate, "rows", 0, 0, None),
        Row("expected - stored - missing by cause", difference, "rows", 0, 0, None),
        Row("rows lost to full spools", verdict.lost, "rows", None, None, None),
        Row("rows announced as lost", verdict.announced, "rows", None, verdict.lost, None),
    ]
    for kind, mine in times.items():
        whole.append(Row(f"recovery p50 after {kind}", round(statistics.median(mine), 3), "s", None, None, None))
    return whole


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--faults", type=int, default=1000, help="stop after so many (default 1000)")
    parser.add_argument(
        "--for", dest="seconds", type=seconds, default=float("inf"), help="or after this time, e.g. 2min"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="file for the figures (default build/torture.json)")
    parser.add_argument("--keep", action="store_true", help="leave logs, spools and database behind")
    return parser.parse_args()


if __name__ == "__main__":
    if "--protocols" in sys.argv:
        raise SystemExit(protocols.entry())
    if "--cluster" in sys.argv:
        raise SystemExit(cluster.entry())
    if "--hostile" in sys.argv:
        raise SystemExit(hostile.entry())
    raise SystemExit(asyncio.run(main(_arguments())))
