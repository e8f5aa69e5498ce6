"""T2, Q and T2 of smoothed rows as one score (F-MSPC-01, -02, -03).

>>> from analytics.table import Table
>>> rng = np.random.default_rng(1)
>>> load = rng.normal(size=(1000, 1))
>>> past = load @ [[1.0, 1.0, 1.0]] + 0.3 * rng.normal(size=(1000, 3))
>>> chart = Combined(kind="combined")
>>> shifted = load[:100] @ [[1.0, 1.0, 1.0]] + 0.3 * rng.normal(size=(100, 3)) + [0.0, 0.0, 0.6]
>>> found = chart.examine(Table.of(shifted), chart.learn(Table.of(past)))
>>> bool(found.score[-1, 0] > 1), int(np.argmax(found.share[-1]))
(True, 2)
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat

from analytics.joint import Charts, Joint, inverse, residual_limit_of, residual_map, rows_of, standard
from analytics.mewma_limit import mewma_limit
from analytics.multivariate import WORST_CONDITION, t_squared_limit
from analytics.result import Floats
from analytics.rolling import smoothed


class Combined(Joint):
    """All that T2, Q and MEWMA see, as one score: the mean of the statistics, each in units of its own limit."""

    kind: Literal["combined"] = "combined"
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
    """Share of normal rows beyond the limit."""
    weights: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.1, 0.2, 0.4)
    """Lambda of each chart of smoothed rows; small ones see small shifts, later."""
    explained: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of the variance that the components kept for Q explain."""
    drift: NonNegativeFloat = 30.0
    """Covariance of the means of the blocks that is added, in times of itself: slow wander of the level is normal."""
    independent: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the covariance of smoothed rows that is taken from single rows, as if those did not depend on each
    other; the rest is measured, which takes more rows."""

    @property
    def memory(self) -> int:
        """Of the smallest weight."""
        return rows_of(min(self.weights))

    def charts(self, x: Floats) -> Charts:
        """T2, Q, then one a weight."""
        centre, scale = standard(x)
        z = (x - centre) / scale
        single = np.cov(z, rowvar=False)
        means = np.array([np.mean(block, axis=0) for block in np.array_split(z, self.blocks)])
        wander = self.drift * np.cov(means, rowvar=False, ddof=0)
        t2, kept = inverse(single + wander, WORST_CONDITION)
        q = residual_map(single + wander, self.explained)
        t2_limit = t_squared_limit(kept, len(x), alpha=self.alpha).one().value
        forms, limits = [t2, q], [t2_limit or np.nan, residual_limit_of(single, q, self.alpha)]
        for weight in self.weights:
            level = smoothed(z, weight, self.memory)[0][int(1 / weight) :]
            steady = weight / (2 - weight) * single
            covariance = (1 - self.independent) * np.cov(level, rowvar=False) + self.independent * steady
            chart, kept = inverse(covariance + wander, WORST_CONDITION)
            forms.append(chart)
            limits.append(mewma_limit(kept, weight, 1 / self.alpha))
        return Charts(centre, scale, np.stack(forms), np.array([1.0, 1.0, *self.weights]), np.array(limits))
