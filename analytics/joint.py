"""Judging all variables of a row together: quadratic forms of the scaled row, and their limits.

* A chart is a form M (p, p): its statistic is z'Mz of the scaled row z.
* The contribution of a variable is by how much the statistic falls when that variable alone is put right
  (reconstruction, Alcala and Qin 2009): (Mz)_i squared / M_ii. For a fault of one variable its own is the largest.
* Learned limits are two, and both are kept: from theory, and from rows that were held out, a block of time after the
  other, while the rest was learned from. The setting `limit` says which of them is a score of 1.
* A variable that is missing in more than a tenth of the rows learned from takes no part in a group.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from pydantic import Field, PositiveInt

from analytics.detector import Arrays, Detector, Scores, by_group
from analytics.multivariate import residual_limit
from analytics.result import Bools, Floats, Ints, silent
from analytics.rolling import smoothed
from analytics.table import Table

LEAST_SEEN: Final = 0.9
"""Share of the rows that must have a variable for it to take part."""
CHUNK: Final = 65_536
"""Rows that are mapped at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Charts:
    """What was learned of a group.

    Attributes:
        centre: (p) mean of each variable that takes part, in its unit.
        scale: (p) standard deviation.
        forms: (c, p, p) a form a chart.
        weight: (c) of the newest row, where a chart is of smoothed rows; 1 is of the row alone.
        limit: (c) of the statistics, from theory.
    """

    centre: Floats
    scale: Floats
    forms: Floats
    weight: Floats
    limit: Floats


class Joint(Detector, ABC):
    """Base of the detectors that learn how variables go together."""

    learns: ClassVar[bool] = True

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """Share of normal rows beyond the limit."""
    limit: Literal["held_out", "theory"] = "held_out"
    """Which of the learned limits is a score of 1."""
    blocks: Annotated[int, Field(ge=2, le=50)] = 5
    """Parts in time of the rows learned from; each is held out once."""
    least_rows: PositiveInt = 50
    """Whole normal rows below which nothing is learned of a group; never fewer than five a variable and two."""

    @abstractmethod
    def charts(self, x: Floats) -> Charts:
        """What (m, p) whole rows teach."""

    @property
    def memory(self) -> int:
        """None: a row is judged by itself."""
        return 0

    def statistics(self, charts: Charts, x: Floats) -> Floats:
        """(c, m) statistics of (m, p) rows; NaN where a row is not whole."""
        return np.stack([statistic for statistic, _ in self._judged(charts, x)])

    def learn(self, table: Table) -> dict[str, Arrays]:
        """By group: `used` (k) variables, those of `Charts`, and `limit_theory`, `limit_held_out` (c), `joint` (2)."""
        found: dict[str, Arrays] = {}
        for name, rows in by_group(table):
            x = table.value[rows][table.normal[rows]]
            used = np.mean(np.isfinite(x), axis=0) >= LEAST_SEEN if len(x) else np.zeros(x.shape[1], dtype=np.bool_)
            whole = x[:, used][np.isfinite(x[:, used]).all(axis=1)]
            if len(whole) >= max(self.least_rows, 5 * int(used.sum()) + 2) and used.sum() > 1:
                found[name] = {"used": used.astype(np.float64), **self._learned(whole)}
        return found

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of the rows of all variables together, with the share of each."""
        score = np.full((len(table), 1), np.nan)
        share = np.full(table.value.shape, np.nan)
        for name, rows in by_group(table):
            known = (learned or {}).get(name)
            if known is not None:
                self._judge(known, table, rows, score, share)
        return Scores(("",), score, share)

    def _judge(self, known: Arrays, table: Table, rows: Ints, score: Floats, share: Floats) -> None:
        charts = Charts(known["centre"], known["scale"], known["forms"], known["weight"], known["limit_theory"])
        used = np.flatnonzero(known["used"])
        limits = known[f"limit_{self.limit}"]
        joint = float(known["joint"][0 if self.limit == "theory" else 1])
        step = max(CHUNK, 8 * self.memory)
        for first in range(0, len(rows), step):
            part = rows[max(first - self.memory, 0) : first + step]
            lead = min(first, self.memory)
            x = np.where(table.normal[part][:, None], table.value[np.ix_(part, used)], np.nan)
            total, parts = np.zeros(len(part)), np.zeros(x.shape)
            for (statistic, contributions), limit in zip(self._judged(charts, x), limits.tolist(), strict=True):
                total += statistic / limit
                parts += contributions / limit
            score[part[lead:], 0] = total[lead:] / (len(limits) * joint)
            share[np.ix_(part[lead:], used)] = shares(parts[lead:])
        share[np.ix_(rows, np.flatnonzero(known["used"] == 0))] = np.where(np.isnan(score[rows]), np.nan, 0.0)

    def _learned(self, x: Floats) -> dict[str, Floats]:
        charts = self.charts(x)
        held = self._held_out(x)
        limits = np.quantile(held, 1 - self.alpha, axis=1)
        joint = np.quantile(np.mean(held / limits[:, None], axis=0), 1 - self.alpha)
        return {
            "centre": charts.centre,
            "scale": charts.scale,
            "forms": charts.forms,
            "weight": charts.weight,
            "limit_theory": charts.limit,
            "limit_held_out": limits,
            "joint": np.array([1.0, joint]),
            "rows": np.array([float(len(x))]),
        }

    def _held_out(self, x: Floats) -> Floats:
        """(c, m) statistics of each row by charts of the blocks that it is not in."""
        edges = np.linspace(0, len(x), self.blocks + 1).astype(np.int64)
        told = []
        for first, end in itertools.pairwise(edges.tolist()):
            charts = self.charts(np.concatenate([x[:first], x[end:]]))
            before = max(0, first - self.memory)
            told.append(self.statistics(charts, x[before:end])[:, first - before :])
        return np.concatenate(told, axis=1)

    def _judged(self, charts: Charts, x: Floats) -> Iterator[tuple[Floats, Floats]]:
        """(m) the statistic and (m, p) the contributions to it, chart by chart."""
        z: Floats = (x - charts.centre) / charts.scale
        whole: Bools = np.asarray(np.isfinite(z).all(axis=1))
        z = np.where(whole[:, None], z, np.nan)
        for form, weight in zip(charts.forms, charts.weight.tolist(), strict=True):
            level = z if weight == 1 else np.where(whole[:, None], smoothed(z, weight, self.memory)[0], np.nan)
            pull = level @ form
            own = np.maximum(np.diagonal(form), 1e-12 * np.trace(form))
            yield np.maximum(np.einsum("ij,ij->i", level, pull), 0.0), pull**2 / own


def shares(parts: Floats) -> Floats:
    """(m, p) parts of each row's sum; equal ones where the sum is 0.

    >>> shares(np.array([[1.0, 3.0], [0.0, 0.0]])).tolist()
    [[0.25, 0.75], [0.5, 0.5]]
    """
    total = np.sum(parts, axis=1, keepdims=True)
    with silent():
        told = parts / total
    return np.asarray(np.where(total == 0, 1 / parts.shape[1], told))


def inverse(covariance: Floats, worst: float) -> tuple[Floats, int]:
    """The form (p, p) of T2 for rows of this covariance, and how many directions it keeps.

    Directions whose variance is below the largest / `worst` are left out.

    >>> inverse(np.diag([4.0, 1.0, 0.0]), 1e8)[0].tolist()
    [[0.25, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    values, vectors = np.linalg.eigh(covariance)
    kept = values > max(values[-1], 0.0) / worst
    return (vectors[:, kept] / values[kept]) @ vectors[:, kept].T, int(kept.sum())


def residual_map(covariance: Floats, explained: float) -> Floats:
    """The form (p, p) of Q: the map to what the components that explain a share of the variance leave of a row.

    At least one component stays out.


    >>> residual_map(np.array([[1.0, 0.9], [0.9, 1.0]]), 0.9).round(1).tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    values, vectors = np.linalg.eigh(covariance)
    share = np.cumsum(np.maximum(values[::-1], 0.0)) / np.sum(np.maximum(values, 0.0))
    kept = min(int(np.searchsorted(share, explained)) + 1, len(values) - 1)
    left = vectors[:, : len(values) - kept]
    return np.asarray(left @ left.T)


def residual_limit_of(covariance: Floats, residual: Floats, alpha: float) -> float:
    """Limit of Q by Jackson and Mudholkar for rows of a covariance, after a map to their residual."""
    rank = round(float(np.trace(residual)))
    left = np.maximum(np.linalg.eigvalsh(residual @ covariance @ residual)[-rank:], 0.0)
    limit = residual_limit(left, alpha=alpha).value
    return 1e-12 if limit is None else limit


def rows_of(weight: float) -> int:
    """Rows whose weights together are all but a millionth, newest `weight`.

    >>> rows_of(0.1)
    132
    """
    return math.ceil(math.log(1e-6) / math.log1p(-weight))


def standard(x: Floats) -> tuple[Floats, Floats]:
    """(p) mean and standard deviation of (m, p) rows; 1 where nothing varies.

    >>> [part.tolist() for part in standard(np.array([[1.0, 5.0], [3.0, 5.0]]))]
    [[2.0, 5.0], [1.4142135623730951, 1.0]]
    """
    deviation = np.std(x, axis=0, ddof=1)
    return np.mean(x, axis=0), np.where(
        deviation > 1e-12 * np.maximum(np.abs(np.mean(x, axis=0)), 1e-12), deviation, 1.0
    )
