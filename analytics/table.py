"""What a detector judges: rows of several variables, in order of time.

* A row is a moment of a machine (its tags on a grid) or one of its cycles (its features).
* Rows of different contexts (recipe, mold, die) carry different groups; a detector never mixes groups.
* NaN is "no good value". Nothing in it is altered by who reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from analytics.result import Bools, Floats, Ints
from analytics.window import Series


@dataclass(frozen=True, slots=True)
class Variable:
    """One column.

    Attributes:
        name: tag, role or feature.
        unit: UCUM.
        low: limit from the configuration, in the unit; -inf when there is none.
        high: likewise; inf when there is none.
        span: width of the engineering range, in the unit; 0 when it is not known.
        resolution: smallest step of the device, in the unit; 0 when it is not known.
    """

    name: str
    unit: str = "1"
    low: float = -np.inf
    high: float = np.inf
    span: float = 0.0
    resolution: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of variables.

    Attributes:
        ts_ns: (n,) int64, never falling: of a grid the tick, of a cycle its end.
        variables: (k) what the columns are.
        value: (n, k) float64, NaN where there is no good value.
        group: (n,) int64, number of the context of a row, an index into `groups`.
        groups: names of the contexts, as `mold=8412`; one empty name when there is only one.
        normal: (n,) whether a row may enter a baseline and may ring: the machine runs, no warm-up, no trial shot.
        every_s: interval of the grid; infinite for cycles.
        rows: raw rows by variable, for what a grid cannot tell; empty for cycles.
        fresh: first row whose score will be read; those before are there to be remembered, and a detector may save the
            work of scoring them.
    """

    ts_ns: Ints
    variables: tuple[Variable, ...]
    value: Floats
    group: Ints
    groups: tuple[str, ...] = ("",)
    normal: Bools = field(default_factory=lambda: np.ones(0, dtype=np.bool_))
    every_s: float = np.inf
    rows: Mapping[str, Series] = field(default_factory=dict)
    fresh: int = 0

    @classmethod
    def of(
        cls, value: npt.ArrayLike, names: tuple[str, ...] | None = None, *, every_s: float = np.inf, first_ns: int = 0
    ) -> "Table":
        """A table of one group from (n,) or (n, k) numbers, a second or `every_s` apart.

        >>> Table.of([[1.0, 2.0], [3.0, 4.0]], ("a", "b")).column("b").tolist()
        [2.0, 4.0]
        """
        numbers = np.asarray(value, dtype=np.float64)
        matrix = numbers[:, None] if numbers.ndim == 1 else numbers
        n, k = matrix.shape
        step_ns = round((every_s if np.isfinite(every_s) else 1.0) * 1e9)
        return cls(
            ts_ns=first_ns + np.arange(n, dtype=np.int64) * step_ns,
            variables=tuple(Variable(name) for name in names or tuple(f"x{i + 1}" for i in range(k))),
            value=matrix,
            group=np.zeros(n, dtype=np.int64),
            normal=np.ones(n, dtype=np.bool_),
            every_s=every_s,
        )

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(one.name for one in self.variables)

    def column(self, name: str) -> Floats:
        """(n,) one variable.

        Raises:
            ValueError: there is none of that name.
        """
        return np.asarray(self.value[:, self.names.index(name)])

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64] | slice) -> "Table":
        """Some of the rows, in order; all of them fresh."""
        return replace(
            self,
            ts_ns=self.ts_ns[rows],
            value=self.value[rows],
            group=self.group[rows],
            normal=self.normal[rows],
            fresh=0,
        )

    def after(self, before: "Table", most: int) -> "Table":
        """This table with the last `most` rows of one of the same variables and one group before it; no raw rows."""
        keep = slice(max(0, len(before) - most), None)
        return replace(
            self,
            ts_ns=np.concatenate([before.ts_ns[keep], self.ts_ns]),
            value=np.concatenate([before.value[keep], self.value]),
            group=np.concatenate([before.group[keep], self.group]),
            normal=np.concatenate([before.normal[keep], self.normal]),
            rows={},
        )

    def select(self, names: tuple[str, ...]) -> "Table":
        """Some of the columns.

        Raises:
            ValueError: there is none of a name.
        """
        index = [self.names.index(name) for name in names]
        return replace(self, variables=tuple(self.variables[i] for i in index), value=self.value[:, index])

    def of_group(self, number: int) -> Ints:
        """(m,) indices of the rows of one group."""
        return np.flatnonzero(self.group == number)
