"""The analytics process: looks at what the writer committed, finds the cycles that it touches, measures, writes.

* Killed anywhere it goes on where it was: requests are removed in the transaction that writes their results, and an
  open cycle is found again from its rows.
* Late, doubled and reordered rows end in the same cycles as the clean run, because a cycle is a function of its rows
  (see process.py) and everything that a row can change is found again.
* A round looks at all machines with new rows; the next begins `every_s` later at the earliest. Detectors are shown what
  is new after the cycles of the round have been written.
"""

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import psycopg

from analytics.accounting import Accounted, Accounts
from analytics.cycle_store import CycleStore, Request, Writing
from analytics.cycles import Change, Cycle, Span, context_at, measure, memory, running
from analytics.detection import Detection
from analytics.machines import METER, Watched, load_machines, process_of
from analytics.reader import Reader
from analytics.track import Dated, Difference, Dirty, Found, Plan, Track, after_cut, difference
from analytics.window import SECOND_NS, Series, Window
from pipeline import metrics, service
from pipeline.database import connect, translated
from pipeline.errors import ConfigError, RootdxError, Unavailable
from pipeline.migrate import check_schema
from pipeline.plant import Plant
from pipeline.settings import AnalyticsSettings, Settings, StoreSettings, store_dsn

log = logging.getLogger(__name__)

LOOK_FOR_MACHINES_S: Final = 5.0
"""Machines that have sent nothing yet are looked for this often."""
FOREVER_NS: Final = 4_000_000_000_000_000_000
LIVE_NS: Final = 3600 * SECOND_NS
"""Cycles of rows not older than this are kept in mind between rounds."""


class Watch:
    """All machines of a plant folder, over one connection; made by `watching`."""

    def __init__(
        self,
        store: CycleStore,
        plant: Plant,
        machines: Sequence[Watched],
        settings: AnalyticsSettings,
        *,
        shared: bool = False,
    ) -> None:
        self._store, self._machines, self._settings, self._shared = store, machines, settings, shared
        self._reader = Reader(store)
        self._accounts = Accounts(plant, store)
        self._detection = Detection(store.db, settings)
        self._accounted: dict[int, Accounted] = {}
        self._tracks: dict[int, list[Track]] = {}
        self._changes: dict[int, Sequence[Change]] = {}
        self._broken: set[int] = set()
        self._others: set[int] = set()
        """Machines that are another process's."""
        self._waiting: dict[int, float] = {}
        self._looked = float("-inf")

    @property
    def tracks(self) -> list[Track]:
        """Every process of every machine that has sent rows."""
        return [track for tracks in self._tracks.values() for track in tracks]

    async def round(self) -> int:
        """Works on everything that is new; returns how many machines had something.

        Raises:
            Unavailable, ConfigError: what the server says; nothing of the round is half written.
        """
        await self._look_for_machines()
        requests = await self._store.take([asset_id for asset_id in self._tracks if asset_id not in self._broken])
        by_asset: dict[int, list[Request]] = {}
        for one in requests:
            by_asset.setdefault(one.asset_id, []).append(one)
        await self._work(by_asset)
        await self._close_the_silent()
        await self._accounts.catch_up(self._accounted)
        await self._detect(by_asset)
        return len(by_asset)

    async def _detect(self, by_asset: Mapping[int, Sequence[Request]]) -> None:
        """Shows the detectors what is new."""
        now_ns = service.wall_ns()
        for asset_id, requests in by_asset.items():
            first = min(one.from_ns for one in requests)
            await self._detection.look(asset_id, first, self._accounted[asset_id].newest_ns, now_ns)
        await self._detection.expire(now_ns)

    async def drain(self, on_progress: Callable[[int], None] | None = None) -> None:
        """Rounds until nothing is asked for any more."""
        while await self.round():
            if on_progress is not None:
                on_progress(await self._store.waiting(list(self._tracks)))
        await self._accounts.catch_up(self._accounted, at_once=True)

    async def own(self, asset: str, from_ns: int, to_ns: int) -> None:
        """Finds and measures again the cycles of a machine that start in [from_ns, to_ns): one task of many.

        Raises:
            ConfigError: the machine is not in the plant folder, or has sent nothing.
            Unavailable: another process finds its cycles.
        """
        await self._look_for_machines()
        tracks = [track for track in self.tracks if track.machine.asset == asset]
        if not tracks:
            raise ConfigError(f"{asset}: no such machine in the plant folder, or it has sent no rows yet")
        for track in tracks:
            found, asks = await self._examine([(track, Dirty(from_ns, to_ns, from_ns, to_ns))])
            await self._store.write(found, [], asks)

    async def order(self, asset: str, from_ns: int) -> None:
        """Asks for what depends on the cycles before a moment: after tasks on both sides of it have been done.

        Raises:
            Unavailable: as `round`.
        """
        for track in self.tracks:
            if track.machine.asset == asset:
                starts = await self._store.after(track.asset_id, track.kind, from_ns - 1000, memory(track.process))
                await self._store.write([], [], [Request(0, track.asset_id, start, start) for start in starts])

    async def _look_for_machines(self) -> None:
        now = time.monotonic()
        if len(self._tracks) == len(self._machines) or now - self._looked < LOOK_FOR_MACHINES_S:
            return
        self._looked = now
        ids = await self._store.asset_ids([machine.asset for machine in self._machines])
        for machine in self._machines:
            asset_id = ids.get(machine.asset)
            if asset_id is not None and asset_id not in self._tracks:
                await self._enter(machine, asset_id)

    async def _enter(self, machine: Watched, asset_id: int) -> None:
        """Begins to watch a machine once its tags are declared; all its rows are asked for when a process is new."""
        found = [replace(tag, counter=machine.counter(tag.role)) for tag in await self._store.tags(asset_id)]
        tags = {tag.role: tag for tag in found}
        span = await self._store.covered(asset_id)
        if span is None or any(set(p.roles().markers) - set(tags) - machine.burst_roles for p in machine.processes):
            return
        if not await self._store.lock(asset_id, shared=self._shared):
            if self._shared:
                raise Unavailable(f"{machine.asset}: an analytics process has it; stop that, or let it recompute")
            if asset_id not in self._others:
                self._others.add(asset_id)
                log.warning(
                    "another process finds the cycles of asset=%s; this one takes over when it ends", machine.asset
                )
            return
        self._others.discard(asset_id)
        tracks = []
        for process in machine.processes:
            configs = await self._store.configs(asset_id, process.kind)
            if not configs:
                await self._store.add_config(asset_id, process, None)
                await self._store.ask(asset_id, *span, "first")
            elif configs[-1].settings != process.model_dump(mode="json"):
                await self._store.add_config(asset_id, process, service.wall_ns())
            dated = await self._dated(machine, asset_id, process.kind)
            tracks.append(Track(machine, asset_id, process.kind, dated, tags, span[1]))
            log.info(
                "watching asset=%s kind=%s without=%s", machine.asset, process.kind, ",".join(machine.left_out(process))
            )
        self._tracks[asset_id] = tracks
        if not self._shared:
            await self._detection.enter(machine, asset_id, span)
        kind = machine.processes[0].kind if machine.processes else None
        self._accounted[asset_id] = Accounted(asset_id, kind, tags, *span)

    async def _dated(self, machine: Watched, asset_id: int, kind: str) -> list[Dated]:
        configs = await self._store.configs(asset_id, kind)
        until = [*(one.valid_from_ns for one in configs[1:]), FOREVER_NS]
        where = f"settings of {kind} on {machine.asset} in the store"
        return [
            Dated(one.config_id, process_of(dict(one.settings), where), one.valid_from_ns, end)
            for one, end in zip(configs, until, strict=True)
        ]

    async def _work(self, by_asset: Mapping[int, Sequence[Request]]) -> None:
        """All machines together, a span of each at a time; requests go with the last of their results."""
        longest_ns = round(self._settings.span_h * 3600 * SECOND_NS)
        asks: list[Request] = []
        spans: dict[int, list[tuple[int, int]]] = {}
        for asset_id, some in by_asset.items():
            self._heard(asset_id, some)
            newest_ns = self._accounted[asset_id].newest_ns
            asked = [(one.from_ns, min(one.to_ns, newest_ns)) for one in some if one.from_ns <= newest_ns]
            spans[asset_id], rest = after_cut(asked, longest_ns)
            asks += [Request(0, asset_id, first, last) for first, last in rest]
        for turn in range(max(map(len, spans.values()), default=0)):
            dirty = {asset_id: Dirty(*some[turn]) for asset_id, some in spans.items() if turn < len(some)}
            writings, following = await self._examine(
                [(track, one) for asset_id, one in dirty.items() for track in self._tracks[asset_id]]
            )
            asks += following
            last = all(turn + 1 >= len(some) for some in spans.values())
            whole = [some for asset_id, some in by_asset.items() if asset_id not in self._broken]
            done = [one for some in whole for one in some] if last else []
            await self._store.write(writings, done, asks if last else [])
            for asset_id, one in dirty.items():
                self._accounts.changed(asset_id, min([one.from_ns, *_starts(writings, asset_id)]), one.to_ns)

    def _heard(self, asset_id: int, requests: Sequence[Request]) -> None:
        """A machine has something new: how far its rows go, and whether its context may have changed."""
        newest_ns = max((one.to_ns for one in requests if one.reason in ("rows", "first")), default=0)
        for track in self._tracks[asset_id]:
            track.newest_ns = max(track.newest_ns, newest_ns)
        accounted = self._accounted[asset_id]
        accounted.newest_ns = max(accounted.newest_ns, newest_ns)
        accounted.first_ns = min([accounted.first_ns, *(one.from_ns for one in requests if one.reason == "rows")])
        if any(one.reason != "rows" for one in requests):
            self._changes.pop(asset_id, None)
        self._waiting[asset_id] = time.monotonic()

    async def _close_the_silent(self) -> None:
        """Cycles that are over but whose last rows never came."""
        now = time.monotonic()
        for asset_id, since in list(self._waiting.items()):
            if now - since < self._settings.patience_s:
                continue
            del self._waiting[asset_id]
            for track in self._tracks[asset_id]:
                newest, track.newest_ns = track.newest_ns, track.newest_ns + 2 * track.reach_ns + 1
                written, asks = await self._examine([(track, Dirty(newest, newest))])
                track.newest_ns = newest
                await self._store.write(written, [], asks)
                self._accounts.changed(asset_id, newest, newest)

    async def _examine(self, tasks: Sequence[tuple[Track, Dirty]]) -> tuple[list[Writing], list[Request]]:
        """What new rows change, and which spans depend on that; the rows of all in one question."""
        plans = [await self._planned(track, dirty) for track, dirty in tasks]
        wanted = [one for plan in plans for one in plan.wanted()]
        rows = iter(await self._reader.read(wanted))
        writings, asks = [], []
        for plan in plans:
            series = {role: next(rows) for role in plan.roles}
            try:
                writing, following = await self._result(plan, await self._found(plan, series))
            except (RootdxError, psycopg.Error):
                raise
            except Exception:  # noqa: BLE001  # a bug in one process must not stop the cycles of every other machine
                self._give_up(plan.track, traceback.format_exc())
                continue
            asks += following
            if writing.removed or writing.changed or writing.added:
                plan.track.known_from_ns = None
                writings.append(writing)
        return writings, asks

    def _give_up(self, track: Track, why: str) -> None:
        """Leaves a machine alone until the next start; what was asked for stays asked for."""
        log.error("process failed asset=%s kind=%s\n%s", track.machine.asset, track.kind, why)
        metrics.processes_failed.labels(track.machine.asset, track.kind).inc()
        self._broken.add(track.asset_id)

    async def _planned(self, track: Track, dirty: Dirty) -> Plan:
        first = dirty.from_ns - track.settle_ns
        known = track.known_since(first)
        if known is None and first >= track.newest_ns - LIVE_NS:
            track.remember(first, await self._store.known(track.asset_id, track.kind, first, FOREVER_NS))
            known = track.known_since(first)
        if known is None:
            known = await self._store.known(track.asset_id, track.kind, first, dirty.to_ns + track.reach_ns)
        start = track.window_start(dirty, known)
        end = track.first_end(dirty, known)
        return Plan(track, dirty, known, start, track.missing_from(start, dirty), end, track.marker_roles())

    async def _found(self, plan: Plan, rows: Mapping[str, Series]) -> list[Found]:
        track = plan.track
        while True:
            waves = await self._reader.bursts(track, plan.read_from_ns, plan.end_ns + 1000)
            window = track.window(plan.start_ns, plan.read_from_ns, plan.end_ns + 1000, rows, waves)
            found = track.find(window, plan.start_ns, plan.dirty)
            further = track.further(found, plan.end_ns)
            if further is None:
                return found
            plan.read_from_ns, plan.end_ns = plan.end_ns + 1000, further
            rows = dict(zip(plan.roles, await self._reader.read(plan.wanted()), strict=True))

    async def _result(self, plan: Plan, found: Sequence[Found]) -> tuple[Writing, list[Request]]:
        track = plan.track
        changes = await self._context(track.asset_id) if found else []
        closed = [one for one in found if track.is_settled(one.segment, plan.end_ns)]
        cycles = [
            running(one.dated.process, one.segment, context_at(changes, one.segment.start_ns), one.dated.config_id)
            for one in found
            if not track.is_settled(one.segment, plan.end_ns)
        ]
        cycles += await self._measured(track, closed, changes)
        change = difference(track.owned(plan.known, plan.dirty), cycles)
        metrics.cycles_written.labels(track.machine.asset, track.kind).inc(len(change.added) + len(change.changed))
        writing = Writing(track.asset_id, change.removed, change.changed, change.added)
        return writing, await self._depending(track, change, cycles)

    async def _context(self, asset_id: int) -> Sequence[Change]:
        """All changes of a machine's context; asked again when the database says that there is a new one."""
        if asset_id not in self._changes:
            self._changes[asset_id] = await self._store.changes(asset_id, FOREVER_NS)
        return self._changes[asset_id]

    async def _measured(self, track: Track, closed: Sequence[Found], changes: Sequence[Change]) -> list[Cycle]:
        if not closed:
            return []
        first = min(one.segment.start_ns for one in closed) - track.lead_ns
        last = max(one.segment.end_ns or 0 for one in closed) + track.settle_ns + 1000
        rows = await self._reader.series(track, track.all_roles(), first, last)
        window = Window(track.machine.asset, first, last, rows, await self._reader.bursts(track, first, last))
        changes = await self._reader.with_tags(track, rows, closed[0].segment.start_ns, changes)
        before = await self._before(track, closed[0].segment.start_ns)
        cycles = []
        for one in closed:
            segment, process = one.segment, one.dated.process
            end_ns = segment.end_ns or segment.start_ns
            part = window.cut(segment.start_ns - track.lead_ns, end_ns + track.settle_ns + 1000)
            cycles.append(measure(process, segment, part, before, changes, one.dated.config_id))
            if not segment.lane:
                before = [*before, Span(segment.start_ns, end_ns)][-memory(process) :]
            await asyncio.sleep(0)
        return cycles

    async def _before(self, track: Track, start_ns: int) -> list[Span]:
        return await self._store.before(track.asset_id, track.kind, start_ns, memory(track.process))

    async def _depending(self, track: Track, change: Difference, cycles: Sequence[Cycle]) -> list[Request]:
        """The cycles whose cycle time and warm-up rest on those that moved, when there are any."""
        if not change.moved or not cycles:
            return []
        last = max(cycle.segment.start_ns for cycle in cycles)
        after = await self._store.after(track.asset_id, track.kind, last, memory(track.process))
        return [Request(0, track.asset_id, start, start) for start in after]


@asynccontextmanager
async def watching(
    store: StoreSettings,
    settings: AnalyticsSettings,
    plant: Plant,
    machines: Sequence[Watched],
    *,
    shared: bool = False,
) -> AsyncIterator[Watch]:
    """A watch on a migrated database. A machine is one process's alone; `shared` ones may share it for `own`.

    Raises:
        Unavailable: no database there.
        ConfigError: wrong password, not migrated.
    """
    db = await connect(store_dsn(store), store.connect_timeout_s)
    try:
        with translated():
            await check_schema(db)
        yield Watch(CycleStore(db), plant, machines, settings, shared=shared)
    finally:
        with contextlib.suppress(psycopg.Error):
            await db.close()


async def run(settings: Settings) -> None:
    """The process: rounds until it is cancelled, again after every outage of the database.

    Raises:
        ConfigError: a machine file is wrong, or no machine has a [[cycle]] table.
    """
    ours = settings.analytics
    plant, machines = load_machines(ours.plant, settings.seal.signers)
    known = {machine.asset.removeprefix(f"{plant.enterprise}/{plant.site}/") for machine in machines}
    odd = [path for path in ours.machines if path not in known]
    if odd:
        raise ConfigError(
            f"analytics.machines = {odd[0]!r}: nothing to find there; there are: {', '.join(sorted(known))}"
        )
    if ours.machines:
        machines = [one for one in machines if one.asset.endswith(tuple(f"/{path}" for path in ours.machines))]
    if not machines:
        raise ConfigError(
            f"{ours.plant}: no machine file has a [[cycle]] table or a tag with role = {METER!r}; see "
            "analytics/processes/*.md for samples"
        )

    async def attempt() -> None:
        async with watching(settings.store, ours, plant, machines) as watch:
            while True:
                began = time.monotonic()
                if await watch.round():
                    metrics.moved("analytics")
                metrics.round_seconds.observe(time.monotonic() - began)
                await asyncio.sleep(max(0.0, ours.every_s - (time.monotonic() - began)))

    with metrics.served("analytics", ours.metrics_port):
        await service.keep("analytics", attempt)


def _starts(writings: Sequence[Writing], asset_id: int) -> list[int]:
    """Where the cycles of a machine begin that are written."""
    ours = [one for one in writings if one.asset_id == asset_id]
    return [cycle.segment.start_ns for one in ours for cycle in (*one.added, *(new for _, new in one.changed))]
