"""Short-run chart: parts of many kinds, each as its deviation from its own target (sections 6.3 and 6.4).

>>> from dataclasses import replace
>>> import numpy as np
>>> from analytics.table import Table
>>> table = replace(Table.of([25.0, 26.5, 40.0]), groups=("die=A", "die=B"), group=np.array([0, 0, 1]))
>>> chart = ShortRun(kind="short_run", target={"die=A": 25.0, "die=B": 40.5}, sigma=0.5)
>>> chart.examine(table).score[:, 0].round(2).tolist()
[0.0, 1.0, 0.33]
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field, FiniteFloat, PositiveInt

from analytics.detector import Arrays, by_group
from analytics.norm import moments
from analytics.result import Floats, silent
from analytics.run_rules import Ruled
from analytics.table import Table


class ShortRun(Ruled):
    """A feature against its recipe's, mold's or die's own target, in sigma of that kind or of all kinds together."""

    kind: Literal["short_run"] = "short_run"
    target: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    """By group name, in the variable's unit, for every variable; a group without: `centre`, then what was learned."""
    spread: Literal["own", "shared"] = "shared"
    """Sigma of a group with fewer than `least_rows` rows: none, or the pooled relative one of all groups."""
    least_target_rows: PositiveInt = 3
    """Rows of a group from which its target is learned."""

    def learn(self, table: Table) -> dict[str, Arrays]:
        """`centre` and `sigma` (k) of each group; what is pooled is pooled here and nowhere else."""
        each = {name: table.value[rows][table.normal[rows]] for name, rows in by_group(table)}
        centres = {name: moments(x, self.least_target_rows)[0] for name, x in each.items()}
        pooled = _pooled([(x, self._aim(name, centres[name])) for name, x in each.items()])
        found: dict[str, Arrays] = {}
        for name, x in each.items():
            own = moments(x, self.least_rows)[1]
            shared = pooled * np.abs(self._aim(name, centres[name])) if self.spread == "shared" else own
            if np.isfinite(centres[name]).any():
                found[name] = {"centre": centres[name], "sigma": np.where(np.isfinite(own), own, shared)}
        return found

    def norms(self, group: str, learned: Mapping[str, Arrays] | None, width: int) -> tuple[Floats, Floats]:
        """As of every chart, the target first."""
        centre, sigma = super().norms(group, learned, width)
        return self._aim(group, centre), sigma

    def _aim(self, group: str, centre: Floats) -> Floats:
        return np.full(centre.shape, self.target[group]) if group in self.target else centre


def _pooled(groups: list[tuple[Floats, Floats]]) -> Floats:
    """(k) relative standard deviation of all groups, each about its own mean; NaN without two rows of one group."""
    width = groups[0][0].shape[1] if groups else 0
    squares, freedom = np.zeros(width), np.zeros(width)
    for x, aim in groups:
        mean, sigma = moments(x, 2)
        count = np.sum(np.isfinite(x), axis=0)
        usable = np.isfinite(sigma) & (np.abs(aim) > 0) & np.isfinite(mean)
        with silent():
            squares = squares + np.where(usable, (count - 1) * (sigma / aim) ** 2, 0.0)
        freedom = freedom + np.where(usable, count - 1.0, 0.0)
    with silent():
        return np.sqrt(squares / np.where(freedom > 0, freedom, np.nan))
