"""MEWMA: a small shift of several variables that lasts (F-MSPC-03).

>>> from analytics.table import Table
>>> rng = np.random.default_rng(1)
>>> past = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 5000)
>>> chart = Mewma(kind="mewma", limit="theory", alpha=0.005)
>>> learned = chart.learn(Table.of(past))
>>> learned[""]["limit_theory"].round(2).tolist()
[8.64]
>>> found = chart.examine(Table.of([[1.0, 0.5], [1.2, 0.8], [0.9, 1.1]]), learned)
>>> (found.score[:, 0] * 8.64).round(1).tolist()
[0.2, 0.8, 1.5]
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from analytics.joint import Charts, Joint, inverse, rows_of, standard
from analytics.mewma_limit import mewma_limit
from analytics.multivariate import WORST_CONDITION
from analytics.result import Floats


class Mewma(Joint):
    """A small shift of the level of some variables: T2 of their weighted means over the last rows."""

    kind: Literal["mewma"] = "mewma"
    weight: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Lambda, of the newest row."""

    @property
    def memory(self) -> int:
        """Rows whose weight together is all but a millionth."""
        return rows_of(self.weight)

    def charts(self, x: Floats) -> Charts:
        """One chart, with the steady-state covariance of rows that do not depend on each other."""
        centre, scale = standard(x)
        chart, kept = inverse(np.cov((x - centre) / scale, rowvar=False), WORST_CONDITION)
        limit = mewma_limit(kept, self.weight, 1 / self.alpha)
        steady = chart * (2 - self.weight) / self.weight
        return Charts(centre, scale, steady[None], np.array([self.weight]), np.array([limit]))
