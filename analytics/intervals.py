"""Sets of moments as disjoint intervals: the arithmetic under the times of a machine.

* Intervals are half-open, [start, end), sorted, disjoint, not touching and not empty; int64 ns UTC.
* Everything is vectorised: a year of a fast machine is a million intervals.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """A set of moments.

    Attributes:
        start_ns: (n,) rising.
        end_ns: (n,) each after its start and before the next start.
    """

    start_ns: Ints
    end_ns: Ints

    @classmethod
    def of(cls, start_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> "Intervals":
        """The union of intervals in any order; those that do not last are left out.

        >>> found = Intervals.of([10, 0, 15, 7], [20, 5, 30, 7])
        >>> found.start_ns.tolist(), found.end_ns.tolist()
        ([0, 10], [5, 30])
        """
        start, end = np.asarray(start_ns, dtype=np.int64), np.asarray(end_ns, dtype=np.int64)
        lasting = end > start
        order = np.argsort(start[lasting], kind="stable")
        start, end = start[lasting][order], np.maximum.accumulate(end[lasting][order])
        if not start.size:
            return cls(start, end)
        first = np.concatenate(([True], start[1:] > end[:-1]))
        return cls(start[first], end[np.append(first[1:], True)])

    def __len__(self) -> int:
        return len(self.start_ns)

    @property
    def total_ns(self) -> int:
        """How long they last together."""
        return int(np.sum(self.end_ns - self.start_ns))

    def before(self, at_ns: npt.ArrayLike) -> Ints:
        """How much of the set lies before each moment, ns; the difference of two is what lies between them.

        >>> Intervals.of([0, 10], [5, 30]).before([3, 7, 12, 99]).tolist()
        [3, 5, 7, 25]
        """
        at = np.asarray(at_ns, dtype=np.int64)
        if not len(self):
            return np.zeros_like(at)
        lengths = self.end_ns - self.start_ns
        gone = np.concatenate(([0], np.cumsum(lengths)))
        index = np.searchsorted(self.start_ns, at, side="right") - 1
        inside = np.clip(at - self.start_ns[index], 0, lengths[index])
        return np.asarray(np.where(index < 0, 0, gone[index] + inside), dtype=np.int64)

    def within(self, start_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> Ints:
        """How much of the set lies in each of other intervals, ns."""
        return self.before(end_ns) - self.before(start_ns)

    def both(self, other: "Intervals") -> "Intervals":
        """The moments that are in both.

        >>> found = Intervals.of([0, 10], [5, 30]).both(Intervals.of([3, 25], [12, 40]))
        >>> found.start_ns.tolist(), found.end_ns.tolist()
        ([3, 10, 25], [5, 12, 30])
        """
        return self._combined(other, lambda mine, theirs: (mine > 0) & (theirs > 0))

    def minus(self, other: "Intervals") -> "Intervals":
        """The moments that are in this set and not in the other.

        >>> found = Intervals.of([0, 10], [5, 30]).minus(Intervals.of([3, 25], [12, 40]))
        >>> found.start_ns.tolist(), found.end_ns.tolist()
        ([0, 12], [3, 25])
        """
        return self._combined(other, lambda mine, theirs: (mine > 0) & (theirs <= 0))

    def plus(self, other: "Intervals") -> "Intervals":
        """The moments that are in one of them."""
        return Intervals.of(
            np.concatenate((self.start_ns, other.start_ns)), np.concatenate((self.end_ns, other.end_ns))
        )

    def _combined(self, other: "Intervals", wanted: Callable[[Ints, Ints], npt.NDArray[np.bool_]]) -> "Intervals":
        ours, theirs = len(self), len(other)
        at = np.concatenate((self.start_ns, self.end_ns, other.start_ns, other.end_ns))
        mine = np.concatenate((np.ones(ours), -np.ones(ours), np.zeros(2 * theirs))).astype(np.int64)
        foreign = np.concatenate((np.zeros(2 * ours), np.ones(theirs), -np.ones(theirs))).astype(np.int64)
        order = np.argsort(at, kind="stable")
        at, mine, foreign = at[order], np.cumsum(mine[order]), np.cumsum(foreign[order])
        last = np.append(at[1:] > at[:-1], False)  # what holds after all that happens at one moment
        holds = wanted(mine, foreign) & last
        index = np.flatnonzero(holds)
        following = np.searchsorted(at, at[index], side="right")
        return Intervals.of(at[index], at[following])


NOTHING: Final = Intervals(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
