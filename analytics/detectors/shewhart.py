"""Shewhart chart with the Western Electric or Nelson run rules (section 6.3).

>>> from analytics.table import Table
>>> chart = Shewhart(kind="shewhart", centre=850.0, sigma=1.5)
>>> chart.examine(Table.of([850.0, 854.5, 853.1, 853.1])).score[:, 0].round(2).tolist()
[0.0, 1.0, 1.0, 1.0]
"""

from typing import Literal

from analytics.run_rules import Ruled


class Shewhart(Ruled):
    """A point beyond its limits, or a run of points that chance would not make."""

    kind: Literal["shewhart"] = "shewhart"
