"""Hotelling T2 of all variables together (F-MSPC-01).

>>> from analytics.table import Table
>>> from analytics.multivariate import Reference, t_squared
>>> rng = np.random.default_rng(1)
>>> past = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 500)
>>> chart = Hotelling(kind="hotelling", limit="theory")
>>> learned = chart.learn(Table.of(past))
>>> found = chart.examine(Table.of([[2.0, 2.0], [2.0, -2.0]]), learned)
>>> found.score[:, 0].round(2).tolist(), found.share.round(1).tolist()
([0.44, 8.51], [[0.7, 0.3], [0.5, 0.5]])
>>> exact = t_squared([2.0, -2.0], Reference.of(past)).one().value / t_squared_limit(2, 500).one().value
>>> bool(np.isclose(found.score[1, 0], exact))
True
"""

from typing import Literal

import numpy as np
from pydantic import Field

from analytics.joint import Charts, Joint, inverse, standard
from analytics.multivariate import WORST_CONDITION, t_squared_limit
from analytics.result import Floats


class Hotelling(Joint):
    """A row that is far from the others, or breaks how the variables go together, though each may be within limits."""

    kind: Literal["hotelling"] = "hotelling"
    condition: float = Field(default=WORST_CONDITION, gt=1)
    """Ratio of the largest to the smallest variance of a direction that takes part (of scaled variables)."""

    def charts(self, x: Floats) -> Charts:
        """One chart, of the row alone."""
        centre, scale = standard(x)
        chart, kept = inverse(np.cov((x - centre) / scale, rowvar=False), self.condition)
        limit = t_squared_limit(kept, len(x), alpha=self.alpha).one().value
        return Charts(centre, scale, chart[None], np.ones(1), np.array([limit], dtype=np.float64))
