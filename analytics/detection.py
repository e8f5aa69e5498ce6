"""Detectors over the store: which rows are new, what they score, what rings; beside the cycles, in their process.

* A detector goes forward only. How far it was shown rows is marked in the transaction that writes what they led to:
  killed anywhere it neither loses nor repeats anything.
* Rows that come late are scored too and what they show is noted in the journal; they never ring and change no alarm.
* Rows older than `live_s` on the wall clock are marked as replayed and do not ring. What still stands when the rows are
  live again rings then.
"""

import logging
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import psycopg

from analytics import explanation
from analytics.alarm import Alarm, Entry, Kind
from analytics.alarm_store import AlarmStore, Raised, Scored
from analytics.baseline import Baseline
from analytics.detector import Scores
from analytics.feature_table import (
    Grid,
    Memory,
    Tagged,
    Wish,
    grid_s,
    newest_cycles,
    of_cycles,
    of_tags,
    phases,
    tagged,
)
from analytics.findings import Episode, episodes, rung
from analytics.machines import Watched
from analytics.profile_table import of_profiles
from analytics.result import Ints
from analytics.signature import resembling
from analytics.table import Table
from analytics.watching import Watching, unattended
from pipeline import metrics
from pipeline.database import translated
from pipeline.errors import RootdxError
from pipeline.migrate import Connection
from pipeline.settings import AnalyticsSettings

log = logging.getLogger(__name__)

_NS: Final = 1_000_000_000
MOST_NS: Final = 6 * 3600 * _NS
"""Longest span of tags that is judged at once."""
HISTORY: Final = 200
"""Rows before an alarm that it is compared with, for explaining it."""


@dataclass(slots=True)
class Seat:
    """A detector at work on a machine.

    Attributes:
        asset_id: machine.
        watching: the detector, what it looks at, how it rings.
        detector_id: in the store.
        seen_to_ns: rows and cycles up to here have been judged.
        baseline: what it learned.
        kind: process whose signatures explain it.
        standing: subjects whose alarm is not idle, as far as this process knows.
        tags: columns, where it looks at tags.
        every_s: grid, likewise.
        is_broken: it failed, and is left alone until the next start.
        kept: the last rows of tags it was shown, so that its memory is read once.
        memory: the last cycles it was shown, likewise.
        settle_ns: rows this long after a cycle's end may still change it.
    """

    asset_id: int
    asset: str
    watching: Watching
    detector_id: int
    seen_to_ns: int
    baseline: Baseline | None
    kind: str
    standing: set[str]
    tags: tuple[Tagged, ...] = ()
    every_s: float = 1.0
    is_broken: bool = False
    kept: Table | None = None
    memory: Memory = field(default_factory=Memory)
    settle_ns: int = 0

    def forget(self, from_ns: int) -> bool:
        """Gives up what rows from here on may have changed; whether they are rows that have been judged."""
        if from_ns <= self.seen_to_ns + self.settle_ns:
            self.memory = Memory()
        if from_ns <= self.seen_to_ns:
            self.kept = None
        return from_ns <= self.seen_to_ns


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Rows for a detector.

    Attributes:
        table: what it looks at, its memory first.
        first: the first row that is new.
        cycle_id: (n,) of each row; None for tags.
        to_ns: up to where this is all there is.
    """

    table: Table
    first: int
    cycle_id: Ints | None
    to_ns: int


class Detection:
    """The detectors of the machines of one analytics process."""

    def __init__(self, db: Connection, settings: AnalyticsSettings) -> None:
        self._db, self._settings = db, settings
        self._store = AlarmStore(db)
        self._seats: dict[int, list[Seat]] = {}

    async def enter(self, machine: Watched, asset_id: int, span_ns: tuple[int, int]) -> None:
        """Begins to watch a machine whose rows cover a span.

        Raises:
            ConfigError: a baseline cannot be read, or is of something else.
            Unavailable: what the server says.
        """
        watched = machine.detectors
        if not watched and self._settings.unattended == "watch":
            tags = [one for one in await tagged(self._db, asset_id, ()) if np.isfinite(one.every_s)]
            polled = {one.variable.name: one.variable.unit for one in tags}
            watched = unattended([one.kind for one in machine.processes], polled)
        seats = [await self._seat(machine, asset_id, one, span_ns) for one in watched]
        standing = await self._store.standing([seat.detector_id for seat in seats])
        for seat in seats:
            seat.standing = standing.get(seat.detector_id, set())
        self._seats[asset_id] = seats

    async def _seat(self, machine: Watched, asset_id: int, watching: Watching, span_ns: tuple[int, int]) -> Seat:
        entered = await self._store.enter(asset_id, watching)
        view = watching.view
        tags = () if watching.is_of_cycles else tuple(await tagged(self._db, asset_id, view.of))
        history_ns = round(self._settings.history_d * 86_400 * _NS)
        log.info("detector asset=%s name=%s kind=%s", machine.asset, watching.name, watching.detector.kind)
        return Seat(
            asset_id=asset_id,
            asset=machine.asset,
            watching=watching,
            detector_id=entered.detector_id,
            seen_to_ns=max(entered.seen_to_ns, span_ns[0] - 1, span_ns[1] - history_ns),
            baseline=watching.baseline(),
            kind=view.on if watching.is_of_cycles else machine.processes[0].kind if machine.processes else "",
            standing=set(),
            tags=tags,
            every_s=view.every_s or grid_s(tags),
            settle_ns=max((round(one.settle_s * _NS) for one in machine.processes if one.kind == view.on), default=0),
        )

    async def look(self, asset_id: int, from_ns: int, newest_ns: int, now_ns: int) -> None:
        """Judges what is new of a machine whose rows reach from `from_ns` to `newest_ns`.

        Raises:
            Unavailable, ConfigError: what the server says; nothing is half written.
        """
        seats = [seat for seat in self._seats.get(asset_id, ()) if not seat.is_broken]
        kinds = {seat.watching.view.on for seat in seats if seat.watching.is_of_cycles}
        closed_ns = await newest_cycles(self._db, asset_id, sorted(kinds)) if kinds else {}
        for seat in seats:
            try:
                if seat.forget(from_ns):
                    await self._note(seat, from_ns, min(newest_ns, seat.seen_to_ns))
                if not seat.watching.is_of_cycles or closed_ns.get(seat.watching.view.on, -1) > seat.seen_to_ns:
                    await self._advance(seat, newest_ns, now_ns)
            except (RootdxError, psycopg.Error):
                raise
            except Exception:  # a bug in one detector must not silence the others, or stop the cycles
                log.exception("detector failed asset=%s name=%s", seat.asset, seat.watching.name)
                metrics.processes_failed.labels(seat.asset, seat.watching.name).inc()
                seat.is_broken = True

    async def expire(self, now_ns: int) -> None:
        """Ends every shelving that is over."""
        await self._store.expire(now_ns)

    async def _advance(self, seat: Seat, newest_ns: int, now_ns: int) -> None:
        if seat.watching.is_of_cycles:
            shown = await self._cycles(seat, seat.seen_to_ns + 1, 2**62, kept=seat.memory)
        else:
            step_ns = round(seat.every_s * _NS)
            ready_ns = (newest_ns - round(self._settings.settle_s * _NS)) // step_ns * step_ns
            least_s = max(self._settings.judge_every_s, seat.watching.detector.block_rows * seat.every_s)
            if ready_ns - seat.seen_to_ns < least_s * _NS:
                return
            shown = await self._next_tags(seat, seat.seen_to_ns + 1, min(ready_ns, seat.seen_to_ns + MOST_NS) + 1)
        if shown.first >= len(shown.table) and shown.to_ns <= seat.seen_to_ns:
            return
        await self._judge(seat, shown, now_ns)

    async def _cycles(
        self, seat: Seat, from_ns: int, to_ns: int, memory: int | None = None, *, every: bool = False,
        kept: Memory | None = None,
    ) -> Shown:  # fmt: skip
        view = seat.watching.view
        rows = seat.watching.detector.memory if memory is None else memory
        wish = Wish(seat.asset_id, view.on, () if every else view.of, view.by, rows)
        if view.profile is None or every:
            found = await of_cycles(self._db, wish, from_ns, to_ns, kept)
        else:
            found = await of_profiles(self._db, seat.asset, wish, view.profile, from_ns, to_ns)
        last = int(found.table.ts_ns[-1]) if len(found.table) > found.first else from_ns - 1
        return Shown(found.table, found.first, found.cycle_id, last)

    async def _next_tags(self, seat: Seat, from_ns: int, to_ns: int) -> Shown:
        """New rows of tags, with the memory that is kept from the last look where that ends just before them."""
        detector = seat.watching.detector
        step_ns = round(seat.every_s * _NS)
        follows = seat.kept is not None and len(seat.kept) and seat.kept.ts_ns[-1] == (from_ns - 1) // step_ns * step_ns
        if detector.reads_rows or seat.kept is None or not follows:
            shown = await self._tags(seat, from_ns, to_ns)
        else:
            new = await self._tags(seat, from_ns, to_ns, 0)
            table = new.table.after(seat.kept, detector.memory)
            shown = Shown(table, len(table) - len(new.table), None, new.to_ns)
        seat.kept = replace(shown.table.take(slice(max(0, len(shown.table) - detector.memory), None)), rows={})
        return shown

    async def _tags(self, seat: Seat, from_ns: int, to_ns: int, rows: int | None = None) -> Shown:
        view, memory = seat.watching.view, seat.watching.detector.memory if rows is None else rows
        spans = None
        if view.during:
            first_ns = from_ns - round(memory * seat.every_s * _NS)
            spans = await phases(self._db, Wish(seat.asset_id, seat.kind), view.during, first_ns, to_ns)
        table = await of_tags(self._db, seat.tags, Grid(seat.every_s, memory, spans), from_ns, to_ns)
        return Shown(table, memory, None, to_ns - 1)

    async def _judge(self, seat: Seat, shown: Shown, now_ns: int) -> None:
        shown, scores = _examined(seat, shown)
        loud = bool(np.any(np.greater(scores.score[shown.first :], 1)))
        live_from_ns = now_ns - round(self._settings.live_s * _NS)
        with translated():
            async with self._db.transaction():
                if loud or seat.standing:
                    await self._ring(seat, shown, scores, live_from_ns)
                await self._store.write_scores(seat.detector_id, _highest(shown, scores))
                await self._store.mark(seat.detector_id, shown.to_ns)
        seat.seen_to_ns = shown.to_ns

    async def _ring(self, seat: Seat, shown: Shown, scores: Scores, live_from_ns: int) -> None:
        settings = seat.watching.view.alarm
        known = await self._store.alarms(seat.detector_id)
        after = rung(shown.table, scores, settings, known, from_row=shown.first, live_from_ns=live_from_ns)
        raised = []
        for subject, alarm in after.alarms.items():
            found = [one for one in after.findings if one.subject == subject]
            if alarm != known.get(subject, Alarm()):
                told = {
                    place: await self._facts(seat, shown, scores, subject, one.row, one.entry)
                    for place, one in enumerate(found)
                    if one.entry.kind is Kind.RAISED
                }
                raised.append(Raised(subject, alarm, [one.entry for one in found], told))
        raised.sort(key=lambda one: one.entries[0].ts_ns if one.entries else 0)
        await self._store.write(seat.detector_id, settings.priority, raised, self._settings.together_s)
        for subject, alarm in after.alarms.items():
            (seat.standing.discard if alarm.is_idle else seat.standing.add)(subject)

    async def _facts(
        self, seat: Seat, shown: Shown, scores: Scores, subject: str, row: int, entry: Entry
    ) -> dict[str, Any]:
        told = explanation.facts(shown.table, scores, subject, row, entry.episode_ns)
        moved = await self._moves(seat, told["since"] * 1000, told["at"] * 1000)
        last = await self._store.last_done(seat.detector_id, subject)
        return told | {
            "kind": seat.watching.detector.kind,
            "on": seat.watching.view.on,
            "moves": explanation.told_moves(moved),
            "resembles": resembling(seat.kind, moved, told),
            "window": [await self._began(shown, told["since"]), told["at"]],
            **({} if shown.cycle_id is None else {"cycle_id": int(shown.cycle_id[row])}),
            **({} if last is None else {"last": {"at": last[0] // 1000, "who": last[1], "text": last[2]}}),
        }

    async def _began(self, shown: Shown, since_us: int) -> int:
        """Where the raw rows begin that show it, µs: of a cycle that ended then its start."""
        if shown.cycle_id is None:
            return since_us
        row = int(np.searchsorted(shown.table.ts_ns, since_us * 1000))
        start = await self._store.cycle_start(int(shown.cycle_id[min(row, len(shown.table) - 1)]))
        return since_us if start is None else start

    async def _moves(self, seat: Seat, since_ns: int, at_ns: int) -> list[explanation.Move]:
        """How far everything had moved, with the rows before it that this takes."""
        if seat.watching.is_of_cycles:
            shown = await self._cycles(seat, since_ns, at_ns + 1, HISTORY, every=True)
        else:
            shown = await self._tags(seat, since_ns, at_ns + 1, HISTORY)
        return explanation.moves(shown.table, len(shown.table) - 1, since_ns, history=HISTORY)

    async def _note(self, seat: Seat, from_ns: int, to_ns: int) -> None:
        """What rows show that came after their time: into the journal, where it is not told already."""
        if seat.watching.is_of_cycles:
            shown = await self._cycles(seat, from_ns, to_ns + 1)
        else:
            shown = await self._tags(seat, max(from_ns, to_ns - MOST_NS), to_ns + 1)
        if shown.first >= len(shown.table):
            return
        shown, scores = _examined(seat, shown)
        late = episodes(shown.table, scores, seat.watching.view.alarm, shown.first)
        with translated():
            async with self._db.transaction():
                for one in late:
                    if not await self._store.is_told(seat.detector_id, one):
                        entry = _noted(one)
                        told = await self._facts(seat, shown, scores, one.subject, one.row, entry)
                        await self._store.note(seat.detector_id, seat.watching.view.alarm.priority, one, entry, told)
                await self._store.write_scores(seat.detector_id, _highest(shown, scores))


def _examined(seat: Seat, shown: Shown) -> tuple[Shown, Scores]:
    """The rows as the detector learned them, and what it says."""
    shown = replace(shown, table=replace(shown.table, fresh=shown.first))
    if seat.baseline is None:
        return shown, seat.watching.detector.examine(shown.table)
    shown = replace(shown, table=seat.baseline.arranged(shown.table, str(seat.watching.view.baseline)))
    return shown, seat.watching.detector.examine(shown.table, seat.baseline.groups)


def _noted(episode: Episode) -> Entry:
    normal = Alarm().name
    return Entry(episode.raised_ns, Kind.NOTED, normal, normal, episode.peak, episode.onset_ns, replayed=True)


def _highest(shown: Shown, scores: Scores) -> list[Scored]:
    """The highest score of each new cycle, or of each minute of new rows; rows without a score have none."""
    value = np.where(np.isnan(scores.score), -np.inf, scores.score)[shown.first :]
    if not len(value) or not value.shape[1]:
        return []
    best = value.argmax(axis=1)
    top = value[np.arange(len(value)), best]
    ts_ns = shown.table.ts_ns[shown.first :]
    slot = np.arange(len(value)) if shown.cycle_id is not None else ts_ns // (60 * _NS)
    found = []
    for one in np.unique(slot[np.isfinite(top)]).tolist():
        rows = np.flatnonzero(slot == one)
        row = int(rows[top[rows].argmax()])
        cycle_id = None if shown.cycle_id is None else int(shown.cycle_id[shown.first + row])
        at_ns = int(ts_ns[row]) if shown.cycle_id is not None else int(one) * 60 * _NS
        found.append(Scored(at_ns, scores.subjects[int(best[row])], float(top[row]), cycle_id))
    return found
