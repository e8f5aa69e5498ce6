"""Why an alarm rang, as facts: what was seen, against which limit, since when, which variables moved how much.

* Facts are numbers and names, kept with the alarm for good; words in the language of the reader are the front door's.
* How far a variable moved is told robustly: the median of the rows since the onset against the median of the normal
  rows of the same context before it, in 1.4826 MAD of these. So it does not depend on which detector rang.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analytics.detector import Scores
from analytics.result import Floats, silent
from analytics.table import Table

MOST: Final = 6
"""Variables that are told of."""
LATEST: Final = 5
"""Rows since the onset that are looked at, at most: the last of them."""


@dataclass(frozen=True, slots=True)
class Move:
    """How far a variable moved.

    Attributes:
        name: which.
        sigma: in robust standard deviations of the rows before, signed.
        before: median before.
        now: median since.
    """

    name: str
    sigma: float
    before: float
    now: float


def moves(table: Table, row: int, onset_ns: int, *, history: int = 200, constant: float = 0.1) -> list[Move]:
    """How far every variable had moved at a row, the farthest first; those without enough good rows are left out.

    Args:
        table: rows up to the one meant, and before it.
        row: where the alarm was raised.
        onset_ns: first row of the episode.
        history: normal rows before the onset to compare with, at most; at least 5.
        constant: spread of a variable that never moved before, as a share of its median.
    """
    same = np.flatnonzero((table.group == table.group[row]) & (np.arange(len(table)) <= row))
    before = same[(table.ts_ns[same] < onset_ns) & table.normal[same]][-history:]
    since = same[table.ts_ns[same] >= onset_ns][-LATEST:]
    if len(before) < 5 or not len(since):
        return []
    old, new = _median(table.value[before]), _median(table.value[since])
    spread = np.maximum(1.4826 * _median(np.abs(table.value[before] - old)), 0.5 * _deviation(table.value[before]))
    spread = np.maximum(spread, np.maximum(np.abs(old) * np.where(spread > 0, 1e-9, constant), 1e-12))
    with silent():
        sigma = (new - old) / spread
    found = [
        Move(name, float(s), float(o), float(n))
        for name, s, o, n in zip(table.names, sigma, old, new, strict=True)
        if np.isfinite(s)
    ]
    return sorted(found, key=lambda one: -abs(one.sigma))


def _median(value: Floats) -> Floats:
    found = np.full(value.shape[1], np.nan)
    some = np.isfinite(value).any(axis=0)
    found[some] = np.nanmedian(value[:, some], axis=0)
    return found


def _deviation(value: Floats) -> Floats:
    """(k,) standard deviation: a variable that mostly stands still has no MAD."""
    found = np.zeros(value.shape[1])
    some = np.isfinite(value).sum(axis=0) > 1
    found[some] = np.nanstd(value[:, some], axis=0, ddof=1)
    return found


def facts(table: Table, scores: Scores, subject: str, row: int, onset_ns: int) -> dict[str, Any]:
    """What is told of an alarm that was raised at a row, ready for JSON; NaN is left out."""
    column = scores.subjects.index(subject)
    told: dict[str, Any] = {"subject": subject, "score": float(scores.score[row, column])}
    told["group"] = table.groups[int(table.group[row])]
    if subject in table.names:
        place = table.names.index(subject)
        told |= {"unit": table.variables[place].unit, "value": float(table.value[row, place])}
    told |= {
        name: float(side[row, column])
        for name, side in (("centre", scores.centre), ("low", scores.low), ("high", scores.high))
        if side is not None and np.isfinite(side[row, column])
    }
    if scores.since is not None and 0 <= scores.since[row, column] <= row:
        onset_ns = min(onset_ns, int(table.ts_ns[scores.since[row, column]]))
    told["since"] = onset_ns // 1000
    told["at"] = int(table.ts_ns[row]) // 1000
    if scores.share is not None:
        told["shares"] = _largest(table.names, scores.share[row])
    return {key: value for key, value in told.items() if not (isinstance(value, float) and not np.isfinite(value))}


def _largest(names: Sequence[str], share: Floats) -> Mapping[str, float]:
    order = np.argsort(np.nan_to_num(-share))[:MOST]
    return {names[i]: round(float(share[i]), 4) for i in order if np.isfinite(share[i]) and share[i] > 0.01}


def told_moves(found: Sequence[Move]) -> list[dict[str, Any]]:
    """The farthest moves, ready for JSON."""
    return [
        {"name": one.name, "sigma": round(one.sigma, 2), "before": one.before, "now": one.now} for one in found[:MOST]
    ]
