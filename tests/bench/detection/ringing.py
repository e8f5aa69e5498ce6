"""Alarms of a simulated run as people would be told them, by our detectors and by others.

* Scores to alarms is `findings.rung`: the alarm machine that runs live. Nobody acknowledges or shelves.
* What comes together (`analytics.together_s`) with a told alarm that still stands and matters no less is not told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from analytics import explanation
from analytics.alarm import AlarmSettings, Kind
from analytics.alarm_store import RANK
from analytics.detector import Scores
from analytics.detectors.shewhart import Shewhart
from analytics.explanation import Move
from analytics.findings import Finding, rung
from analytics.result import Ints
from analytics.table import Table, Variable
from analytics.watching import Watching
from analytics.window import SECOND_NS
from pipeline.settings import AnalyticsSettings
from tests.bench.detection.plants import Run
from tests.support.simulated import ORIGIN_NS

TOGETHER_NS: Final = round(AnalyticsSettings.model_fields["together_s"].default * SECOND_NS)
HISTORY: Final = 200
_DAY_NS: Final = 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class Told:
    """An alarm that people were told.

    Attributes:
        ts_ns: when.
        by: which detector.
        rank: how much it matters.
        ends_ns: when it cleared.
        table: rows that explain it.
        row: at which it was raised.
        facts: what is told of it.
    """

    ts_ns: int
    by: str
    rank: int
    ends_ns: int
    table: Table = field(repr=False)
    row: int
    facts: Mapping[str, Any] = field(repr=False)

    @property
    def since_ns(self) -> int:
        """Since when it probably is so."""
        return int(self.facts["since"]) * 1000

    def moves(self) -> list[Move]:
        """How far everything had moved, as live."""
        first = max(0, self.row - HISTORY - int(np.sum(self.table.ts_ns[: self.row] >= self.since_ns)) - 1)
        rows = self.table.take(slice(first, self.row + 1))
        return explanation.moves(rows, len(rows) - 1, self.since_ns, history=HISTORY)


def told(made: Run, watched: Sequence[Watching]) -> list[Told]:
    """What our detectors tell, in order of time."""
    cycles = cycles_of(made)
    found: list[Told] = []
    for one in watched:
        view = one.view
        if one.is_of_cycles:
            table, explains = cycles.select(view.of) if view.of else cycles, cycles
        else:
            table = explains = tags_of(made, view.of, view.every_s)
        found += raised(table, one.detector.examine(table), view.alarm, explains, one.name)
    return grouped(found)


def raised(table: Table, scores: Scores, settings: AlarmSettings, explains: Table, name: str) -> list[Told]:
    """Alarms of one detector that are told, were it alone."""
    alarms: list[Told] = []
    cleared: dict[str, int] = {}
    for one in reversed(rung(table, scores, settings, {}).findings):
        if one.entry.kind is Kind.CLEARED:
            cleared[one.subject] = one.entry.ts_ns
        elif one.entry.kind is Kind.RAISED:
            ends_ns = cleared.pop(one.subject, 2**62)
            if one.entry.told:
                rank, facts = RANK[settings.priority], _facts(table, scores, one)
                alarms.append(Told(one.entry.ts_ns, name, rank, ends_ns, explains, one.row, facts))
    return alarms


def _facts(table: Table, scores: Scores, one: Finding) -> dict[str, Any]:
    return explanation.facts(table, scores, one.subject, one.row, one.entry.episode_ns)


def grouped(alarms: Sequence[Told]) -> list[Told]:
    """Without those that came together with one that is told, still stands and matters no less."""
    kept: list[Told] = []
    for one in sorted(alarms, key=lambda alarm: (alarm.ts_ns, -alarm.rank)):
        near = (two for two in reversed(kept) if one.ts_ns - two.ts_ns <= TOGETHER_NS)
        if not any(two.ends_ns > one.ts_ns and two.rank >= one.rank for two in near):
            kept.append(one)
    return kept


def cycles_of(made: Run) -> Table:
    """Features of the cycles, a row at the end of each: that is when they are known."""
    return Table(
        ts_ns=made.end_ns,
        variables=tuple(Variable(name) for name in made.names),
        value=made.value,
        group=np.zeros(len(made.end_ns), dtype=np.int64),
        normal=made.normal,
    )


def tags_of(made: Run, roles: Sequence[str], every_s: float | None) -> Table:
    """Roles on a grid, no finer than the run was kept on."""
    step_s = float(made.tick_ns[1] - made.tick_ns[0]) / SECOND_NS
    every_s = every_s or step_s
    rows: Ints = np.flatnonzero(made.tick_ns % round(every_s * SECOND_NS) == 0)
    columns = np.array([made.roles.index(role) for role in roles])
    return Table(
        ts_ns=made.tick_ns[rows],
        variables=tuple(Variable(role) for role in roles),
        value=made.tag[np.ix_(rows, columns)],
        group=np.zeros(len(rows), dtype=np.int64),
        normal=np.ones(len(rows), dtype=np.bool_),
        every_s=every_s,
    )


def three_sigma(made: Run, days: float) -> list[Told]:
    """Mean and standard deviation of every feature over the first half of the normal days, three of them as limits."""
    table = cycles_of(made)
    chart = Shewhart(kind="shewhart", rules=(), width=3.0)
    learned = chart.learn(table.take(table.ts_ns < ORIGIN_NS + round(days / 2 * _DAY_NS)))
    return grouped(raised(table, chart.examine(table, learned), AlarmSettings(), table, "3 sigma"))


def by_chance(made: Run, count: int, seed: int) -> list[Told]:
    """As many alarms as ours, at any time."""
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.choice(len(made.end_ns), min(count, len(made.end_ns)), replace=False))
    return _at(made, rows)


def always(made: Run) -> list[Told]:
    """An alarm at every cycle."""
    return _at(made, np.arange(len(made.end_ns)))


def _at(made: Run, rows: Ints) -> list[Told]:
    table, ends_ns = cycles_of(made), made.end_ns.tolist()
    return [
        Told(ends_ns[row], "", 0, ends_ns[row], table, row, {"since": ends_ns[row] // 1000}) for row in rows.tolist()
    ]
