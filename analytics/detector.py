"""The detector contract: what a detector needs, what it says of every row, what it learns.

* A detector is a frozen model: a table `[[detector]]` of a machine file. Its fields are its settings, `kind` its name.
* It keeps no state. The scores of a row depend on that row and on the `memory` rows of the same group before it, and
  on nothing after it: live, replayed and backtested agree, and a restart loses nothing.
* A score is continuous and in units of its limit: 1 is the limit, 2 is twice as far out. NaN is no opinion: bad
  values, or too few rows before it. A score is not an alarm; `alarm.py` makes alarms of scores, for all alike.
* It never mixes groups, and rows that are not normal neither enter what it compares with nor get an opinion.
* What must be learned is learned by `learn` into a baseline, a file that says of what it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from analytics.result import Floats, Ints
from analytics.table import Table
from pipeline.plant import Frozen

Arrays = Mapping[str, Floats]
"""What was learned of one group, by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a detector says of the rows of a table.

    Attributes:
        subjects: (m) what the scores are of: names of variables, or ("",) for all variables together.
        score: (n, m) in units of the limit; NaN is no opinion.
        share: (n, k) of one subject for all: how much each variable contributes, 0..1, sum 1; NaN without opinion.
            None when the subjects are the variables themselves.
        centre: (n, m) what was expected, in the variable's unit; None when that has no unit.
        low: (n, m) lower limit in the variable's unit, NaN without; None likewise.
        high: (n, m) upper limit likewise.
        since: (n, m) row in the table since which it probably is so; None when the detector cannot tell.
    """

    subjects: tuple[str, ...]
    score: Floats
    share: Floats | None = None
    centre: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    since: Ints | None = None


class Detector(Frozen, ABC):
    """Base of the detectors: `[[detector]]` of a machine file."""

    kind: str
    """Which detector; each subclass fixes it."""

    learns: ClassVar[bool] = False
    """Whether it needs a baseline."""
    block_rows: ClassVar[int] = 1
    """Rows of tags that are worth a look: of a detector whose look costs as much for one row as for many, many."""
    reads_rows: ClassVar[bool] = False
    """Whether it looks at the raw rows of tags, `Table.rows`, beside the grid."""
    detector_version: ClassVar[str] = "1"
    """Changes with every change of its scores."""

    @property
    def needs_baseline(self) -> bool:
        """Whether these settings say nothing without one; overridden where the settings can hold all that is needed."""
        return self.learns

    @property
    @abstractmethod
    def memory(self) -> int:
        """Rows of the same group before a row that decide its scores."""

    @abstractmethod
    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every row.

        `learned` is by group name, as `learn` returned it; a group that is not in it gets no opinion. The first
        `memory` rows of a group may get none, or one that more rows before them would change.
        """

    def learn(self, table: Table) -> dict[str, Arrays]:
        """What is normal, by group name, from rows taken to be so; a group with too few of them is left out.

        Raises:
            NotImplementedError: this detector learns nothing.
        """
        raise NotImplementedError(f"{self.kind} learns nothing from {len(table)} rows")


def by_group(table: Table) -> list[tuple[str, Ints]]:
    """The name and the row indices of every group of a table that has rows; in order of their numbers.

    >>> from analytics.table import Table
    >>> by_group(Table.of([1.0, 2.0]))
    [('', array([0, 1]))]
    """
    return [(table.groups[number], table.of_group(number)) for number in np.unique(table.group).tolist()]
