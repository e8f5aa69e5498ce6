"""Three broker nodes and three writers, one of each killed every few seconds, and then every number is looked up.

    make torture ARGS="--cluster [--for 2min] [--gateways 60] [--every 5] [--seed 1]"

The brokers and their relays are those of deploy/nats/{cluster,relay}.conf with TLS and rights, a node is one of each;
the writers real ones that share the gateways, the gateways real spools and forwarders (many_gateways.py), the database
an embedded PostgreSQL without TimescaleDB, which is left alone. What was killed is started again within two seconds; at
the end everything is mended and drained.
"""

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import tomli_w
from rich.console import Console
from rich.table import Table

from pipeline import migrate
from pipeline.settings import DSN_ENV
from rootdx.cli import seconds
from rootdx.embedded import Postgres
from rootdx.program import PARENT
from tests.support.nats_cluster import NODES, Cluster, Node, cluster
from tests.support.report import ROOT, Row, write_report

WRITERS: Final = ("writer-1", "writer-2", "writer-3")
A_PROCESS: Final = 20
"""Gateways in one process."""
LOOK_S: Final = 0.05
LET_IN_S: Final = 60.0
DRAIN_S: Final = 180.0
"""Not drained within this time: the count says nothing."""
STILL_S: Final = 2.0
"""No commit of a gateway for longer is time without progress."""
Db = psycopg.AsyncConnection[tuple[Any, ...]]


class Invalid(Exception):
    """The count says nothing: a gateway ended, or it was never drained."""


@dataclass(slots=True)
class Bench:
    """What is under test."""

    folder: Path
    postgres: Postgres
    brokers: Cluster
    names: Sequence[str]
    writers: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    feeders: list[asyncio.subprocess.Process] = field(default_factory=list)
    kills: list[tuple[str, str]] = field(default_factory=list)
    """Node and writer."""


@dataclass(slots=True)
class Progress:
    """When something was committed, as the ledger says.

    Attributes:
        at: by gateway, monotonic seconds.
        last: by gateway, last record.
    """

    at: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    last: dict[str, int] = field(default_factory=dict)

    def gaps(self, gateway: str, since: float, until: float) -> list[float]:
        """Seconds from one commit of a gateway to its next, cut to a span."""
        return _gaps(self.at[gateway], since, until)

    def gaps_of_any(self, since: float, until: float) -> list[float]:
        """Likewise, of whatever gateway."""
        return _gaps(sorted(at for each in self.at.values() for at in each), since, until)


def _gaps(times: Sequence[float], since: float, until: float) -> list[float]:
    inside = [since, *(at for at in times if since < at < until), until]
    return [after - before for before, after in itertools.pairwise(inside)]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the looking up found."""

    produced: int
    stored: int
    missing: int
    duplicate: int
    difference: int
    drained_s: float


async def main(arguments: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else 150)
    rng = random.Random(arguments.seed)
    base = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="rootdx-torture-", dir=base))
    folder.chmod(0o711)
    try:
        async with contextlib.AsyncExitStack() as stack:
            bench = await _set_up(folder, arguments, stack, console)
            watched, span = await _abuse(bench, rng, arguments, console)
            verdict = await _settle(bench, watched)
            rows = _report(bench, watched, span, verdict, console)
        console.print(f"figures in {write_report('torture-cluster', rows, arguments.report)}")
    except Invalid as error:
        console.print(f"INVALID {error}", markup=False)
        return 1
    finally:
        if arguments.keep:
            console.print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


# ---- the plant ----


async def _set_up(
    folder: Path, arguments: argparse.Namespace, stack: contextlib.AsyncExitStack, console: Console
) -> Bench:
    postgres = await stack.enter_async_context(Postgres(folder / "database"))
    await migrate.migrate(postgres.dsn())
    names = [f"gw-{number:02d}" for number in range(1, arguments.gateways + 1)]
    brokers = stack.enter_context(cluster(folder / "brokers", [*names, "writer"]))
    bench = Bench(folder, postgres, brokers, names)
    stack.push_async_callback(_end, bench)
    for name in WRITERS:
        await _start_writer(bench, name)
    for at in range(0, len(names), A_PROCESS):
        await _start_feeder(bench, names[at : at + A_PROCESS], arguments.produce_every)
    for number, feeder in enumerate(bench.feeders):
        await _hears(bench, number, "ready")
        _tell(feeder, "go")
    began = time.monotonic()
    async with _watching(bench) as watched:
        while len(watched.last) < len(names) or not all(watched.last.values()):
            _check(bench)
            if time.monotonic() - began > LET_IN_S:
                raise Invalid(f"of {len(names)} gateways {len(watched.last)} were let in within {LET_IN_S:.0f} s")
            await asyncio.sleep(LOOK_S)
    console.print(f"{len(names)} gateways, three nodes, three writers: all committing {time.monotonic() - began:.1f} s "
                  f"after the word go")  # fmt: skip
    return bench


def _settings(bench: Bench, client: str) -> dict[str, Any]:
    return {"bus": bench.brokers.settings(client)}


async def _start_writer(bench: Bench, name: str) -> None:
    file = bench.folder / f"{name}.toml"
    file.write_text(tomli_w.dumps(_settings(bench, "writer") | {"writer": {"name": name}}))
    bench.writers[name] = await _start(bench, name, "rootdx", "writer", "--config", str(file))


async def _start_feeder(bench: Bench, names: Sequence[str], every_s: float) -> None:
    for name in names:
        (bench.folder / name).mkdir()
        settings = _settings(bench, name) | {"gateway": {"name": name, "spool": {"folder": "spool"}}}
        (bench.folder / name / "rootdx.toml").write_text(tomli_w.dumps(settings))
    what = ["tests.chaos.many_gateways", str(bench.folder), "--every", str(every_s), *names]
    bench.feeders.append(await _start(bench, f"feeder-{len(bench.feeders)}", *what))


async def _start(bench: Bench, name: str, *arguments: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), DSN_ENV: bench.postgres.dsn(), PARENT: str(os.getpid())}
    with (bench.folder / f"{name}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", *arguments, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log,
            env=environment,
        )  # fmt: skip


async def _end(bench: Bench) -> None:
    for process in (*bench.feeders, *bench.writers.values()):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _tell(process: asyncio.subprocess.Process, line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())


async def _hears(bench: Bench, number: int, word: str, patience_s: float = LET_IN_S) -> None:
    log = bench.folder / f"feeder-{number}.log"
    deadline = time.monotonic() + patience_s
    while word not in log.read_text(errors="replace").splitlines():
        if time.monotonic() > deadline:
            raise Invalid(f"feeder {number} never said {word}; its last words:\n{log.read_text()[-1500:]}")
        if word != "drained":
            _check(bench)
        await asyncio.sleep(0.1)


def _check(bench: Bench) -> None:
    for number, feeder in enumerate(bench.feeders):
        if feeder.returncode is not None:
            words = (bench.folder / f"feeder-{number}.log").read_text(errors="replace")[-1500:]
            raise Invalid(f"feeder {number} ended with {feeder.returncode}; its last words:\n{words}")


@contextlib.asynccontextmanager
async def _watching(bench: Bench) -> AsyncIterator[Progress]:
    """Looks at the ledger while entered, on a connection of its own."""
    progress = Progress()
    async with await psycopg.AsyncConnection.connect(bench.postgres.dsn(), autocommit=True) as db:
        looking = asyncio.create_task(_look(db, progress))
        try:
            yield progress
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _look(db: Db, progress: Progress) -> None:
    while True:
        found = await (await db.execute("SELECT gateway, last_seq FROM rootdx.ledger")).fetchall()
        now = time.monotonic()
        for gateway, last in found:
            if last > progress.last.get(gateway, 0):
                progress.last[gateway] = last
                progress.at[gateway].append(now)
        await asyncio.sleep(LOOK_S)


# ---- what is done to it ----


async def _abuse(
    bench: Bench, rng: random.Random, arguments: argparse.Namespace, console: Console
) -> tuple[Progress, tuple[float, float]]:
    async with _watching(bench) as watched:
        began = said = time.monotonic()
        while time.monotonic() - began < arguments.seconds:
            round_began = time.monotonic()
            await _kill_one_of_each(bench, rng)
            if time.monotonic() - said > 15:
                said = time.monotonic()
                console.print(f"{len(bench.kills)} nodes and as many writers killed in {said - began:.0f} s")
            await asyncio.sleep(max(0.0, round_began + arguments.every - time.monotonic()))
            _check(bench)
        return watched, (began, time.monotonic())


async def _kill_one_of_each(bench: Bench, rng: random.Random) -> None:
    node, name = bench.brokers.nodes[rng.choice(NODES)], rng.choice(WRITERS)
    pauses = rng.uniform(0, 1), rng.uniform(0, 2), rng.uniform(0, 2)
    bench.kills.append((node.name, name))
    await asyncio.gather(_node_killed(bench, node, pauses[1]), _writer_killed(bench, name, pauses[0], pauses[2]))


async def _node_killed(bench: Bench, node: Node, gone_s: float) -> None:
    if node.pid is None:
        raise Invalid(f"{node.name} was not running; its last words:\n{node.log()[-1500:]}")
    await asyncio.to_thread(node.kill)
    await asyncio.sleep(gone_s)
    bench.brokers.start(node)


async def _writer_killed(bench: Bench, name: str, before_s: float, gone_s: float) -> None:
    await asyncio.sleep(before_s)
    process = bench.writers[name]
    if process.returncode is not None:
        words = (bench.folder / f"{name}.log").read_text(errors="replace")[-1500:]
        raise Invalid(f"{name} ended by itself with {process.returncode}; its last words:\n{words}")
    process.kill()
    await process.wait()
    await asyncio.sleep(gone_s)
    await _start_writer(bench, name)


# ---- the count ----


async def _settle(bench: Bench, watched: Progress) -> Verdict:
    for feeder in bench.feeders:
        _tell(feeder, "stop")
    began = time.monotonic()
    for number in range(len(bench.feeders)):
        await _hears(bench, number, "drained", DRAIN_S)
    drained_s = time.monotonic() - began
    async with await psycopg.AsyncConnection.connect(bench.postgres.dsn(), autocommit=True) as db:
        produced = missing = duplicate = 0
        for name in bench.names:
            lines = [line.split() for line in (bench.folder / name / "witness").read_text().splitlines()]
            made = {number for _, first, n in lines for number in range(int(first), int(first) + int(n))}
            found: dict[int, int] = dict(await (await db.execute(_STORED, [f"cluster/{name}/m1"])).fetchall())
            produced += len(made)
            missing += len(made - found.keys())
            duplicate += sum(times - 1 for times in found.values())
        sums = await (await db.execute(_BOOKS)).fetchone()
    expected, stored, told = sums or (0, 0, 0)
    return Verdict(produced, stored, missing, duplicate, expected - stored - told, drained_s)


_STORED: Final = """
    SELECT m.value::bigint, count(*) FROM rootdx.measurement m JOIN rootdx.tag t USING (tag_id)
    JOIN rootdx.asset a USING (asset_id) WHERE a.path = %s GROUP BY 1"""
_BOOKS: Final = """
    SELECT (SELECT coalesce(sum(expected), 0)::bigint FROM rootdx.tally), (SELECT count(*) FROM rootdx.measurement),
           (SELECT coalesce(sum(unreachable + late + gateway_down + spool_full + quarantined + machine_off), 0)::bigint
            FROM rootdx.tally)"""


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """p50, p99 and the largest."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1]


def _report(
    bench: Bench, watched: Progress, span: tuple[float, float], verdict: Verdict, console: Console
) -> list[Row]:
    took_s = span[1] - span[0]
    table = Table(title=f"{len(bench.kills)} nodes and {len(bench.kills)} writers killed in {took_s:.0f} s")
    for column in ("from one commit to the next", "n", "p50 s", "p99 s", "max s"):
        table.add_column(column, justify="left" if column.startswith("from") else "right")
    each = {name: watched.gaps(name, *span) for name in bench.names}
    kinds = {
        "of any gateway": watched.gaps_of_any(*span),
        "of a gateway": [gap for gaps in each.values() for gap in gaps],
        f"of a gateway, if longer than {STILL_S:g} s": [gap for gaps in each.values() for gap in gaps if gap > STILL_S],
        "of a gateway, its longest": [max(gaps) for gaps in each.values()],
    }  # fmt: skip
    logs = "".join((bench.folder / f"{name}.log").read_text(errors="replace") for name in WRITERS)
    lost, left = logs.count("another writer is at work"), logs.count("gateway left to another writer")
    rows = [
        Row("broker nodes killed", len(bench.kills), "1", None, None, None),
        Row("writers killed", len(bench.kills), "1", None, None, None),
        Row("gateways", len(bench.names), "1", None, None, None),
        Row("rows produced", verdict.produced, "rows", None, None, None),
        Row("rows stored", verdict.stored, "rows", None, verdict.produced, None),
        Row("rows missing", verdict.missing, "rows", 0, 0, None),
        Row("rows stored twice", verdict.duplicate, "rows", 0, 0, None),
        Row("expected - stored - missing by cause", verdict.difference, "rows", 0, 0, None),
        Row("drained after the last kill", round(verdict.drained_s, 1), "s", None, None, None),
        Row("gateways left to another writer, alive", left, "1", None, None, None),
        Row("transactions lost to another writer", lost, "1", None, None, None),
    ]
    for kind, gaps in kinds.items():
        if not gaps:
            continue
        values = _quantiles(gaps)
        table.add_row(kind, f"{len(gaps):,}", *(f"{value:.2f}" for value in values))
        for word, value in zip(("p50", "p99", "max"), values, strict=True):
            rows.append(Row(f"no commit {kind}, {word}", round(value, 3), "s", None, None, None))
    still = sum(gap for gaps in each.values() for gap in gaps if gap > STILL_S) / (took_s * len(each))
    rows.append(
        Row(f"share of time without a commit for {STILL_S:g} s, a gateway", round(still, 4), "1", None, None, None)
    )
    console.print(table)
    console.print(
        f"rows produced {verdict.produced:,}; stored {verdict.stored:,}; missing {verdict.missing}; duplicate "
        f"{verdict.duplicate}; Σ expected - stored - missing by cause {verdict.difference}; drained "
        f"{verdict.drained_s:.1f} s after the end; gateways handed over alive {left}, transactions lost to another "
        f"writer {lost}; a gateway stood still for {still:.1%} of the time"
    )
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make torture ARGS=--cluster", description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="this menu")
    parser.add_argument("--for", dest="seconds", type=seconds, default=120.0, help="default 2min")
    parser.add_argument("--gateways", type=int, default=60)
    parser.add_argument("--every", type=float, default=5.0, help="seconds from one pair of kills to the next")
    parser.add_argument(
        "--produce-every", type=float, default=0.5, help="seconds from one record of a gateway to the next"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="file for the figures (default build/torture-cluster.json)")
    parser.add_argument("--keep", action="store_true", help="leave logs, spools and database behind")
    return parser.parse_args()


def entry() -> int:
    """What a person asked for; the exit code is 0 when the count is valid, whatever it says."""
    return asyncio.run(main(_arguments()))


if __name__ == "__main__":
    raise SystemExit(entry())
