"""A detector over history: how often it would have rung, on what, and against labels where there are any.

* It is the same scoring and the same alarm machine as live; nobody acknowledges or shelves.
* An episode is true when it was raised within a labelled range, widened by the tolerance on both sides. A range is
  found when at least one episode is true for it; further ones in the same range are neither hits nor false alarms.
* Nothing is point-adjusted: one row that rings does not make the rest of a range found rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.alarm import AlarmSettings
from analytics.detector import Arrays, Detector, Scores
from analytics.findings import Episode, episodes
from analytics.result import Evidence, Formula, Result, columns, judged
from analytics.table import Table

DAY_NS: Final = 86_400_000_000_000
PRECISION: Final = Formula("6.6-PRECISION", "1")
RECALL: Final = Formula("6.6-RECALL", "1")
PER_DAY: Final = Formula("6.6-PER-DAY", "/d")
DELAY: Final = Formula("6.6-DELAY", "1")


@dataclass(frozen=True, slots=True)
class Label:
    """A range in which something was wrong, [start_ns, end_ns]; its name, empty when nobody gave one."""

    start_ns: int
    end_ns: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a detector did against labels.

    Attributes:
        labels: how many ranges.
        found: of these, with a true episode.
        true: episodes raised within a range.
        false: episodes raised outside of all.
        precision: true / all episodes.
        recall: found / labels.
        delay: median rows from the beginning of a range to its first true episode; early ones are 0.
        false_per_day: false episodes a day.
        missed: the ranges that were not found.
    """

    labels: int
    found: int
    true: int
    false: int
    precision: Result
    recall: Result
    delay: Result
    false_per_day: Result
    missed: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a detector did over a table.

    Attributes:
        scores: of every row.
        first: the first row that counts; those before it are memory.
        episodes: every time it would have rung.
        days: length of the table.
        per_day: episodes a day.
        by_day: episodes by number of the day since 1970, days without any included.
        by_group: episodes and rows by context.
        by_subject: episodes by variable.
        judgement: against labels, None without any.
    """

    scores: Scores
    first: int
    episodes: tuple[Episode, ...]
    days: float
    per_day: Result
    by_day: Mapping[int, int]
    by_group: Mapping[str, tuple[int, int]]
    by_subject: Mapping[str, int]
    judgement: Judgement | None


def backtest(  # the detector, what it rests on, how it rings, and the truth
    table: Table,
    detector: Detector,
    alarm: AlarmSettings,
    *,
    learned: Mapping[str, Arrays] | None = None,
    labels: Sequence[Label] | None = None,
    tolerance_ns: int = 0,
    from_ns: int | None = None,
) -> Outcome:
    """Runs a detector over a table.

    Args:
        table: rows in order of time.
        detector: with its settings.
        alarm: how its scores ring.
        learned: its baseline, where it needs one.
        labels: what was wrong; None: nobody knows, an empty list: nothing was.
        tolerance_ns: how far outside of a range a raise still counts for it.
        from_ns: rows before it are memory, and count for nothing.
    """
    scores = detector.examine(table, learned)
    counted = table.ts_ns >= (-(2**62) if from_ns is None else from_ns)
    moments = table.ts_ns[counted]
    first_ns, last_ns = (int(moments[0]), int(moments[-1])) if len(moments) else (0, 0)
    rung = episodes(table, scores, alarm, len(table) - len(moments))
    days = (last_ns - first_ns) / DAY_NS
    rows = np.bincount(table.group[counted], minlength=len(table.groups)).tolist()
    hits = Counter(table.groups[int(table.group[one.row])] for one in rung)
    return Outcome(
        scores=scores,
        first=len(table) - len(moments),
        episodes=rung,
        days=days,
        per_day=_ratio(len(rung), days, PER_DAY),
        by_day=_by_day(rung, first_ns, last_ns) if len(moments) else {},
        by_group={name: (hits[name], count) for name, count in zip(table.groups, rows, strict=True) if count},
        by_subject=dict(Counter(one.subject for one in rung).most_common()),
        judgement=None if labels is None else judge(table, rung, labels, tolerance_ns, days),
    )


def judge(table: Table, rung: Sequence[Episode], labels: Sequence[Label], tolerance_ns: int, days: float) -> Judgement:
    """Episodes against labelled ranges.

    >>> table = Table.of([0.0] * 10)
    >>> rung = [Episode("x1", row * 10**9, row * 10**9, None, 2.0, row) for row in (4, 9)]
    >>> found = judge(table, rung, [Label(2_000_000_000, 5_000_000_000)], 0, 1.0)
    >>> found.true, found.false, found.delay.value, found.recall.value
    (1, 1, 2.0, 1.0)
    """
    true: set[int] = set()
    delays: list[int] = []
    missed: list[Label] = []
    for label in labels:
        low, high = label.start_ns - tolerance_ns, label.end_ns + tolerance_ns
        inside = [place for place, one in enumerate(rung) if low <= one.raised_ns <= high]
        true.update(inside)
        if not inside:
            missed.append(label)
            continue
        begin = int(np.searchsorted(table.ts_ns, label.start_ns))
        delays.append(max(0, min(rung[place].row for place in inside) - begin))
    found, false = len(labels) - len(missed), len(rung) - len(true)
    return Judgement(
        labels=len(labels),
        found=found,
        true=len(true),
        false=false,
        precision=_ratio(len(true), len(rung), PRECISION),
        recall=_ratio(found, len(labels), RECALL),
        delay=_ratio(float(np.median(delays)) if delays else np.nan, 1.0, DELAY),
        false_per_day=_ratio(false, days, PER_DAY),
        missed=tuple(missed),
    )


def _by_day(rung: Sequence[Episode], first_ns: int, last_ns: int) -> dict[int, int]:
    count = Counter(one.raised_ns // DAY_NS for one in rung)
    return {day: count[day] for day in range(first_ns // DAY_NS, last_ns // DAY_NS + 1)}


def _ratio(part: float, whole: float, formula: Formula) -> Result:
    given = columns(part, whole if whole > 0 else np.nan)
    value = part / whole if whole > 0 else np.nan
    return judged(value, formula, given, evidence=Evidence(1)).one()
