"""SPE or Q: what the principal components of normal rows do not explain (F-MSPC-02).

>>> from analytics.table import Table
>>> rng = np.random.default_rng(1)
>>> load = rng.normal(size=(500, 1))
>>> past = load @ [[1.0, 1.0, 1.0]] + 0.1 * rng.normal(size=(500, 3))
>>> chart = ResidualQ(kind="residual_q")
>>> found = chart.examine(Table.of([[2.0, 2.0, 2.0], [2.0, 2.0, 1.0]]), chart.learn(Table.of(past)))
>>> found.score[:, 0].round(1).tolist(), int(np.argmax(found.share[1]))
([0.0, 7.1], 2)
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from analytics.joint import Charts, Joint, residual_limit_of, residual_map, standard
from analytics.result import Floats


class ResidualQ(Joint):
    """A row that leaves the plane in which normal rows lie: a sensor or a relation that is broken."""

    kind: Literal["residual_q"] = "residual_q"
    explained: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of the variance that the kept components explain."""

    def charts(self, x: Floats) -> Charts:
        """One chart, of the row alone."""
        centre, scale = standard(x)
        covariance = np.cov((x - centre) / scale, rowvar=False)
        chart = residual_map(covariance, self.explained)
        limit = residual_limit_of(covariance, chart, self.alpha)
        return Charts(centre, scale, chart[None], np.ones(1), np.array([limit]))
