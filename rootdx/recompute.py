"""Cycles of a span found and measured again: by the running analytics process, here, or on a cluster.

* Asked of the analytics process, a span is a row in `recompute`, taken and worked on between what is new.
* Here and on a cluster a span is cut by machine and time into pieces that can be worked on in any order; then what
  rests on the cycles before a cut (cycle time, warm-up) is found again, and the elements of the shifts. The result is
  that of one pass.
* Only one may write the cycles of a machine: while an analytics process is at work, it is the one to ask.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from analytics.accounting import Accounted, Accounts
from analytics.cycle_store import LOCK, CycleStore, Request
from analytics.machines import Watched, load_machines
from analytics.watch import Watch, watching
from analytics.window import SECOND_NS
from pipeline.errors import ConfigError, Unavailable
from pipeline.migrate import Connection
from pipeline.plant import Plant
from pipeline.settings import StoreSettings
from rootdx.invocation import Site, ask, database, one_of
from rootdx.moments import Span
from rootdx.terminal import Advance
from rootdx.texts import say

ASKED: Final = "asked"
PAPERS: Final = ("ca.pem", "compute.pem", "compute.key")
"""Files of whoever takes part in a cluster."""
_ADDRESS: Final = re.compile(r"(?P<kind>tcp|tls)://(?P<host>\[[0-9a-fA-F:]+\]|[^:/\s]+):\d+")
_HERE: Final = ("127.0.0.1", "localhost", "[::1]")
LOOK_S: Final = 0.5
DAY_NS: Final = 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Piece:
    """One task: the cycles of a machine that begin in [from_ns, to_ns)."""

    asset: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        plant: the plant.
        machines: those that are asked for, with their processes.
        asset_ids: in the store, of those that have sent rows.
        covered: first and last row, by asset.
        spans: of the rows that are asked for, by asset.
        whole: assets whose whole history is asked for.
    """

    plant: Plant
    machines: Sequence[Watched]
    asset_ids: dict[str, int]
    covered: dict[str, tuple[int, int]]
    spans: dict[str, tuple[int, int]]
    whole: frozenset[str]

    def pieces(self, longest_h: float) -> list[Piece]:
        """Tasks of at most so many hours each, machine after machine."""
        step = round(longest_h * 3600 * SECOND_NS)
        return [
            Piece(asset, first, min(first + step, last))
            for asset, (start, last) in self.spans.items()
            for first in range(start, last, step)
        ]


async def planned(site: Site, db: Connection, span: Span, names: Sequence[str]) -> Plan:
    """What there is to compute of a span: machines of the plant folder that have rows in it.

    Raises:
        BadData: no machine has that name.
        ConfigError: a machine file is wrong, or nothing is there to be computed.
    """
    plant, machines = load_machines(site.settings.analytics.plant)
    machines = [machine for machine in machines if machine.processes]
    if names:
        wanted = {one_of([machine.asset for machine in machines], name) for name in names}
        machines = [machine for machine in machines if machine.asset in wanted]
    store = CycleStore(db)
    ids = await store.asset_ids([machine.asset for machine in machines])
    first_ns, last_ns = (round(one.timestamp() * 1_000_000) * 1000 for one in (span.first, span.last))
    known, spans, whole = {}, {}, set()
    for machine in machines:
        covered = await store.covered(ids[machine.asset]) if machine.asset in ids else None
        if covered is None:
            continue
        start, end = max(first_ns, covered[0]), min(last_ns, covered[1] + 1000)
        if start < end:
            spans[machine.asset], known[machine.asset] = (start, end), covered
        if first_ns <= covered[0] and last_ns > covered[1]:
            whole.add(machine.asset)
    if not spans:
        raise ConfigError(say("recompute.nothing", span=span.said(site.zone)))
    machines = [machine for machine in machines if machine.asset in spans]
    return Plan(plant, machines, {asset: ids[asset] for asset in spans}, known, spans, frozenset(whole))


async def asked(site: Site, span: Span, names: Sequence[str], wait_s: float, advance: Advance) -> int:
    """Asks the running analytics process and waits until it is done; returns how many machines.

    Raises:
        Unavailable: nobody takes the request within `wait_s`; it stays and is done when somebody does.
    """
    async with database(site.store) as db:
        plan = await planned(site, db, span, names)
        ids = []
        for asset, (first, last) in plan.spans.items():
            ((key,),) = await ask(db, _ASK, [plan.asset_ids[asset], first // 1000, last // 1000, ASKED])
            ids.append(key)
        total = sum(last - first for first, last in plan.spans.values())
        waited = 0.0
        while True:
            left = await _left(db, plan)
            advance(total - left, total)
            if not left:
                return len(plan.spans)
            untouched = (await ask(db, "SELECT count(*) FROM rootdx.recompute WHERE id = ANY(%s)", [ids]))[0][0]
            if untouched == len(ids) and waited >= wait_s:
                raise Unavailable(say("recompute.nobody", seconds=wait_s))
            await asyncio.sleep(LOOK_S)
            waited += LOOK_S


async def _left(db: Connection, plan: Plan) -> int:
    """How much of the spans is still asked for, ns: from the first open request of a machine on."""
    left = 0
    for asset, (first, last) in plan.spans.items():
        given = [plan.asset_ids[asset], last // 1000, first // 1000]
        ((oldest,),) = await ask(db, _OPEN, given)
        if oldest is not None:
            left += max(last - max(oldest * 1000, first), 1)
    return left


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a Dask scheduler listens, and the folder of what is shown to it; None: only on this computer."""

    address: str
    papers: Path | None = None

    def check(self) -> None:
        """Refuses what would let anybody in.

        Raises:
            ConfigError: no TLS to another computer, or a file is missing.
        """
        found = _ADDRESS.fullmatch(self.address)
        if found is None:
            raise ConfigError(say("recompute.address", address=self.address))
        if found["kind"] == "tcp" and found["host"] not in _HERE:
            raise ConfigError(say("recompute.unguarded", address=self.address, host=found["host"]))
        if found["kind"] == "tls" and self.papers is None:
            raise ConfigError(say("recompute.no_papers", address=self.address))
        for name in PAPERS if self.papers is not None else ():
            if not os.access(Path(self.papers or "") / name, os.R_OK):
                raise ConfigError(say("recompute.no_paper", file=Path(self.papers or "") / name))


async def here(site: Site, span: Span, names: Sequence[str], cluster: Cluster | None, advance: Advance) -> int:
    """Computes in this process, or on the workers of a Dask cluster; returns how many pieces.

    Raises:
        ConfigError: an analytics process is at work.
        Unavailable: the database or the cluster is away; run it again, nothing is half written.
    """
    if cluster is not None:
        cluster.check()
    ours = site.settings.analytics
    async with database(site.store) as db:
        plan = await planned(site, db, span, names)
        await _alone(db, plan)
        store = CycleStore(db)
        before = await store.take(list(plan.asset_ids.values()))
        pieces = plan.pieces(ours.span_h)
        async with watching(site.store, ours, plan.plant, plan.machines, shared=True) as watch:
            await _each(site, pieces, cluster, watch, advance)
            advance(len(pieces), len(pieces), say("progress.order"))
            for piece in pieces:
                await watch.order(piece.asset, piece.to_ns)
            await _forget(db, plan, before)
            await _account(plan, store, watch, advance)
            await watch.drain(lambda left: advance(0, None, say("progress.drain", left=left)))
        return len(pieces)


async def _each(site: Site, pieces: Sequence[Piece], cluster: Cluster | None, watch: Watch, advance: Advance) -> None:
    """Every piece once; the first of each machine here, so that its settings are entered once."""
    done = 0
    firsts = {piece.asset: piece for piece in reversed(pieces)}.values() if cluster else pieces
    for piece in firsts:
        await watch.own(piece.asset, piece.from_ns, piece.to_ns)
        done += 1
        advance(done, len(pieces))
    if cluster is not None:
        rest = [piece for piece in pieces if piece not in firsts]
        async for _ in spread(site, rest, cluster):
            done += 1
            advance(done, len(pieces))


async def _alone(db: Connection, plan: Plan) -> None:
    """Refuses while an analytics process has one of the machines."""
    if await ask(db, _WATCHED, [LOCK, list(plan.asset_ids.values())]):
        raise ConfigError(say("recompute.at_work"))


async def _forget(db: Connection, plan: Plan, before: Sequence[Request]) -> None:
    """What was asked for before and is done now: where the whole history of a machine was computed."""
    done = {plan.asset_ids[asset] for asset in plan.whole}
    await ask(db, "DELETE FROM rootdx.recompute WHERE id = ANY(%s)", [[r.id for r in before if r.asset_id in done]])
    await ask(db, "DELETE FROM rootdx.recompute WHERE asset_id = ANY(%s) AND reason = 'first'", [list(done)])


async def _account(plan: Plan, store: CycleStore, watch: Watch, advance: Advance) -> None:
    """The elements of the shifts of every machine, day after day."""
    accounts = Accounts(plan.plant, store)
    for asset, (first, last) in plan.spans.items():
        tracks = [track for track in watch.tracks if track.machine.asset == asset]
        if not tracks:
            continue
        one = Accounted(plan.asset_ids[asset], tracks[0].kind, tracks[0].tags, *plan.covered[asset])
        for start in range(first, last, DAY_NS):
            advance(start - first, last - first, say("progress.accounts", machine=asset))
            await accounts.account(one, start, min(start + DAY_NS, last))


async def spread(site: Site, pieces: Sequence[Piece], cluster: Cluster) -> AsyncIterator[Piece]:
    """Each piece once it is done, in a process of its own that talks to the cluster.

    Raises:
        ConfigError: the extra `cluster` is not installed.
        Unavailable: the cluster is away, or a task failed there three times; says which and why.
    """
    if find_spec("distributed") is None:
        raise ConfigError(say("recompute.no_dask"))
    if not pieces:
        return
    order = {
        "address": cluster.address,
        "papers": None if cluster.papers is None else str(cluster.papers.resolve()),
        "plant": str(site.settings.analytics.plant.resolve()),
        "store": _bare(site.store).model_dump(mode="json"),
        "analytics": site.settings.analytics.model_dump(mode="json"),
        "pieces": [[piece.asset, piece.from_ns, piece.to_ns] for piece in pieces],
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CLUSTER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        process.stdin.write(json.dumps(order).encode())
        await process.stdin.drain()
        process.stdin.close()
        async for line in process.stdout:
            said = json.loads(line)
            if "failed" in said:
                raise Unavailable(said["failed"])
            yield pieces[said["done"]]
        if await process.wait():
            raise Unavailable(say("recompute.cluster_died", code=process.returncode))
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _bare(store: StoreSettings) -> StoreSettings:
    """Without a password, should one stand in the DSN: workers have their own."""
    parts = conninfo_to_dict(store.dsn)
    parts.pop("password", None)
    return store.model_copy(update={"dsn": make_conninfo("", **parts)})


_CLUSTER: Final = "from rootdx.cluster import main; main()"
_ASK: Final = """
    INSERT INTO rootdx.recompute (asset_id, from_ts, to_ts, reason)
    VALUES (%s, rootdx.at_us(%s), rootdx.at_us(%s), %s) RETURNING id"""
_OPEN: Final = """
    SELECT rootdx.us(min(from_ts)) FROM rootdx.recompute
    WHERE asset_id = %s AND reason <> 'rows' AND from_ts < rootdx.at_us(%s) AND to_ts >= rootdx.at_us(%s)"""
_WATCHED: Final = """
    SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid::bigint = ANY(%s)
       AND mode = 'ExclusiveLock' AND granted LIMIT 1"""
