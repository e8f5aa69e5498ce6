"""Charts with run rules: what Shewhart and short-run charts share (section 6.3)."""

from abc import ABC
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from pydantic import PositiveFloat

from analytics.detector import Arrays, Scores
from analytics.norm import Charted
from analytics.result import Bools, Floats, Ints
from analytics.rolling import scored
from analytics.spc import NELSON, WESTERN_ELECTRIC, nelson, western_electric
from analytics.table import Table

Rule = Literal["WE1", "WE2", "WE3", "WE4", "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8"]

REACH: Final[Mapping[Rule, int]] = {
    "WE1": 0,
    "WE2": 2,
    "WE3": 4,
    "WE4": 7,
    "N1": 0,
    "N2": 8,
    "N3": 5,
    "N4": 13,
    "N5": 2,
    "N6": 4,
    "N7": 14,
    "N8": 7,
}
"""Rows before a row that a rule looks at: where its pattern begins."""


class Ruled(Charted, ABC):
    """Base of the charts with run rules.

    The score is |z| / `width`; a row at which a run rule fires has at least 1.
    """

    rules: tuple[Rule, ...] = ("WE1", "WE2", "WE3", "WE4")
    """Which rules ring. WE1 and N1 are the limit itself, which always counts."""
    width: PositiveFloat = 3.0
    """Of the limits, in sigma."""

    @property
    def memory(self) -> int:
        """The longest run that a rule looks at."""
        return max((REACH[rule] for rule in self.rules), default=0)

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable; a NaN breaks a run. `since` is where the longest pattern that rings began."""
        centre, sigma = self.centres(table, learned)
        since = np.tile(np.arange(len(table), dtype=np.int64)[:, None], (1, len(table.variables)))

        def of_group(name: str, rows: Ints, value: Floats) -> Floats:
            score, back = self._judged(self.standardised(name, value, learned))
            since[rows] = rows[np.maximum(np.arange(len(rows))[:, None] - back, 0)]
            return score

        score = scored(table, of_group)
        reach = self.width * sigma
        return Scores(table.names, score, centre=centre, low=centre - reach, high=centre + reach, since=since)

    def _judged(self, z: Floats) -> tuple[Floats, Ints]:
        """Scores (m, k), and how many rows before each the longest pattern that fires began."""
        fired, back = np.zeros(z.shape, dtype=np.bool_), np.zeros(z.shape, dtype=np.int64)
        for reach, flags in self._fired(z):
            fired |= flags
            back = np.maximum(back, np.where(flags, reach, 0))
        size = np.abs(z) / self.width
        return np.where(fired, np.maximum(size, 1.0), size), back

    def _fired(self, z: Floats) -> list[tuple[int, Bools]]:
        """Where each rule but the limit itself fires, with its reach."""
        found: list[tuple[int, Bools]] = []
        lines = np.ascontiguousarray(z.T)
        for names, family in ((WESTERN_ELECTRIC, western_electric), (NELSON, nelson)):
            wanted = [rule for rule in self.rules if rule in names[1:]]
            if wanted:
                flags = family(lines)
                found += [(REACH[rule], flags[names.index(rule)].T) for rule in wanted]
        return found
