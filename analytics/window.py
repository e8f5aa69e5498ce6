"""What a process sees of a machine: the series of its roles and its bursts over a span of time.

* A window is [start_ns, end_ns); it holds every row of that span which is known now, in order of time.
* Time is int64 ns UTC. A row whose quality is bad has value NaN.
* Rows of one role at one moment are one row: the best quality, of those the largest value. So the order in which rows
  arrived decides nothing. A role without a tag has an empty series.
* Nothing in it is altered by who reads it: arrays are read-only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from analytics.result import Bools, Evidence, Floats, Ints
from analytics.time_series import UNKNOWN_COUNTER, Counter, Samples
from pipeline.model import Quality, Waveform

SECOND_NS: Final = 1_000_000_000

N = TypeVar("N", bound=np.generic)


def _frozen(column: npt.NDArray[N]) -> npt.NDArray[N]:
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The rows of one role.

    Attributes:
        ts_ns: (n,) int64, strictly rising.
        value: (n,) float64, NaN where bad.
        quality: (n,) uint32, OPC UA status codes.
        every_s: nominal interval of the tag; infinite when it is sent on change.
        counter: how far it counts, where it is one.
    """

    ts_ns: Ints
    value: Floats
    quality: npt.NDArray[np.uint32]
    every_s: float = np.inf
    counter: Counter = UNKNOWN_COUNTER

    @classmethod
    def of(
        cls,
        ts_ns: npt.ArrayLike,
        value: npt.ArrayLike,
        quality: npt.ArrayLike = 0,
        every_s: float = np.inf,
        counter: Counter = UNKNOWN_COUNTER,
    ) -> "Series":
        """A series from rows in any order, one of each moment.

        >>> Series.of([2, 1, 2], [21.0, 10.0, 20.0]).value.tolist()
        [10.0, 21.0]
        """
        when = np.asarray(ts_ns, dtype=np.int64)
        what = np.asarray(value, dtype=np.float64)
        codes = np.broadcast_to(np.asarray(quality, dtype=np.uint32), when.shape)
        if len(when) > 1 and not np.all(np.diff(when) > 0):
            order = np.lexsort((np.nan_to_num(what, nan=-np.inf), -(codes >> 30).astype(np.int8), when))
            order = order[np.append(np.diff(when[order]) > 0, True)]
            when, what, codes = when[order], what[order], codes[order]
        return cls(_frozen(when), _frozen(what), _frozen(codes), every_s, counter)

    def __len__(self) -> int:
        return len(self.ts_ns)

    def between(self, start_ns: int, end_ns: int) -> "Series":
        """The rows of [start_ns, end_ns); a view."""
        first, last = np.searchsorted(self.ts_ns, [start_ns, end_ns])
        return self._where(slice(first, last))

    @property
    def good(self) -> "Series":
        """The rows whose value is a number (good or uncertain)."""
        known = np.isfinite(self.value)
        return self if known.all() else self._where(known)

    def _where(self, rows: slice | Bools) -> "Series":
        return Series(self.ts_ns[rows], self.value[rows], self.quality[rows], self.every_s, self.counter)

    @property
    def worst(self) -> int:
        """The worst quality among the rows that carry a number, 0 when there are none."""
        codes = self.quality[np.isfinite(self.value)]
        return int(codes.max()) if len(codes) else Quality.GOOD

    @property
    def evidence(self) -> Evidence:
        """What a formula over these rows rests on: rows with a number, covered share of the time, worst quality."""
        good = self.good
        return Evidence(len(good), Samples.of(good.seconds(), good.value, self.every_s).coverage, self.worst)

    def seconds(self, origin_ns: int | None = None) -> Floats:
        """(n,) time in s since `origin_ns`, or since the first row."""
        if not len(self.ts_ns):
            return np.zeros(0)
        origin = int(self.ts_ns[0]) if origin_ns is None else origin_ns
        return (self.ts_ns - origin) / SECOND_NS

    def samples(self, origin_ns: int) -> Samples:
        """The rows with a number as the kernels take them, time in s since `origin_ns`."""
        good = self.good
        return Samples.of(good.seconds(origin_ns), good.value, self.every_s)

    def at(self, ts_ns: int, longest_s: float = np.inf) -> float:
        """The last number at or before a moment, NaN when there is none or it is older than `longest_s`."""
        good = self.good
        index = int(np.searchsorted(good.ts_ns, ts_ns, side="right")) - 1
        if index < 0 or ts_ns - good.ts_ns[index] > longest_s * SECOND_NS:
            return float("nan")
        return float(good.value[index])

    def is_on(self) -> Bools:
        """(n,) whether the row says true: a number of at least one half."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.value >= 0.5, dtype=np.bool_)


EMPTY: Final = Series.of([], [])


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A machine over a span of time.

    Attributes:
        asset: ISA-95 path.
        start_ns: first moment.
        end_ns: the moment after the last.
        series: by role; of the roles that were asked for, those that the machine has.
        bursts: waveforms by role, in order of time.
        context: what held when the cycle began: `recipe`, `lot`, `part`, `die`, ... by kind.
    """

    asset: str
    start_ns: int
    end_ns: int
    series: Mapping[str, Series] = field(default_factory=dict)
    bursts: Mapping[str, tuple[Waveform, ...]] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, role: str) -> Series:
        """The rows of a role, none when the machine does not have it."""
        return self.series.get(role, EMPTY)

    def __contains__(self, role: object) -> bool:
        return role in self.series or role in self.bursts

    def burst(self, role: str) -> Waveform | None:
        """The last waveform of a role that begins in the window."""
        found = [wave for wave in self.bursts.get(role, ()) if self.start_ns <= wave.ts_ns < self.end_ns]
        return found[-1] if found else None

    def cut(self, start_ns: int, end_ns: int) -> "Window":
        """The part in [start_ns, end_ns)."""
        first, last = max(start_ns, self.start_ns), min(end_ns, self.end_ns)
        return Window(
            asset=self.asset,
            start_ns=first,
            end_ns=last,
            series={role: rows.between(first, last) for role, rows in self.series.items()},
            bursts={
                role: tuple(wave for wave in waves if first <= wave.ts_ns < last) for role, waves in self.bursts.items()
            },
            context=self.context,
        )
