"""What a control chart compares with: centre and sigma of each variable, given or learned from normal rows."""

from abc import ABC
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import FiniteFloat, PositiveFloat, PositiveInt

from analytics.detector import Arrays, Detector, by_group
from analytics.result import Floats, silent
from analytics.table import Table


class Charted(Detector, ABC):
    """Base of the control charts: z = (x - centre) / sigma, from the settings or from a baseline."""

    learns: ClassVar[bool] = True

    centre: FiniteFloat | None = None
    """In the variable's unit, for every variable; none: as learned."""
    sigma: PositiveFloat | None = None
    """Likewise."""
    least_rows: PositiveInt = 20
    """Numbers of a variable in a group below which nothing is learned of it."""

    @property
    def needs_baseline(self) -> bool:
        """Not when centre and sigma are given."""
        return self.centre is None or self.sigma is None

    def learn(self, table: Table) -> dict[str, Arrays]:
        """`centre` and `sigma` (k) of each group: mean and standard deviation of its normal rows, NaN of too few."""
        found: dict[str, Arrays] = {}
        for name, rows in by_group(table):
            centre, sigma = moments(table.value[rows][table.normal[rows]], self.least_rows)
            if np.isfinite(sigma).any():
                found[name] = {"centre": centre, "sigma": sigma}
        return found

    def norms(self, group: str, learned: Mapping[str, Arrays] | None, width: int) -> tuple[Floats, Floats]:
        """(k) centre and sigma that hold for a group; NaN where neither the settings nor the baseline say."""
        nothing = np.full(width, np.nan)
        known: Arrays = (learned or {}).get(group, {})
        centre = known.get("centre", nothing) if self.centre is None else np.full(width, self.centre)
        sigma = known.get("sigma", nothing) if self.sigma is None else np.full(width, self.sigma)
        return centre, np.where(sigma > 0, sigma, np.nan)

    def centres(self, table: Table, learned: Mapping[str, Arrays] | None) -> tuple[Floats, Floats]:
        """(n, k) centre and sigma of every row; not to be written to."""
        n, k = table.value.shape
        groups = by_group(table)
        if len(groups) == 1:
            one_centre, one_sigma = self.norms(groups[0][0], learned, k)
            return np.broadcast_to(one_centre, (n, k)), np.broadcast_to(one_sigma, (n, k))
        centre, sigma = np.full((n, k), np.nan), np.full((n, k), np.nan)
        for name, rows in groups:
            centre[rows], sigma[rows] = self.norms(name, learned, k)
        return centre, sigma

    def standardised(self, group: str, value: Floats, learned: Mapping[str, Arrays] | None) -> Floats:
        """(m, k) z of values of a group; NaN without centre or sigma."""
        centre, sigma = self.norms(group, learned, value.shape[1])
        z: Floats = value - centre
        z /= sigma
        return z


def moments(x: Floats, least: int) -> tuple[Floats, Floats]:
    """(k) mean and sample standard deviation of the numbers in each column; NaN with fewer than `least` of them.

    >>> [part.tolist() for part in moments(np.array([[1.0], [np.nan], [3.0]]), 2)]
    [[2.0], [1.4142135623730951]]
    """
    good = np.isfinite(x)
    count = np.sum(good, axis=0)
    with silent():
        mean = np.where(count >= max(least, 2), np.sum(np.where(good, x, 0.0), axis=0) / count, np.nan)
        squares = np.sum(np.where(good, x - mean, 0.0) ** 2, axis=0)
        return mean, np.sqrt(squares / (count - 1))
