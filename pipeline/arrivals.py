"""Which spans of source time received rows, per machine and hour: how the analytics learn what is new.

* A span holds every new row; it may hold more. Spans of one machine and hour are one.
* Computed for whole slices of batches at once: a hundred thousand batches a second pass here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.model import HOUR_NS, Int64s


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans as columns, in order of machine and hour: first and last moment of each, ns UTC, both inside."""

    asset_id: Sequence[int]
    hour_ns: Sequence[int]
    from_ns: Sequence[int]
    to_ns: Sequence[int]


@dataclass(slots=True)
class Arrivals:
    """Collects the spans of one transaction.

    >>> arrivals = Arrivals()
    >>> arrivals.add([7, 7], [2, 1], np.array([5, 9, HOUR_NS]))
    >>> spans = arrivals.spans()
    >>> spans.hour_ns, spans.from_ns, spans.to_ns
    ([0, 3600000000000], [5, 3600000000000], [9, 3600000000000])
    """

    _found: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def add(self, asset_id: Sequence[int], rows: Sequence[int], ts_ns: Int64s) -> None:
        """Batches in one go: machine and number of rows (> 0) of each, and all their times one after the other."""
        starts = np.concatenate(([0], np.cumsum(rows)[:-1]))
        asset = np.asarray(asset_id, dtype=np.int64)
        low, high = np.minimum.reduceat(ts_ns, starts), np.maximum.reduceat(ts_ns, starts)
        single = low // HOUR_NS == high // HOUR_NS
        self._add_short(asset[single], low[single], high[single])
        for one, first, last in zip(
            asset[~single].tolist(), low[~single].tolist(), high[~single].tolist(), strict=True
        ):
            for hour in range(first // HOUR_NS, last // HOUR_NS + 1):
                self._widen(one, hour, max(first, hour * HOUR_NS), min(last, (hour + 1) * HOUR_NS - 1))

    def _add_short(self, asset: Int64s, low: Int64s, high: Int64s) -> None:
        """Spans that lie in one hour each."""
        if not len(asset):
            return
        hour = low // HOUR_NS
        order = np.lexsort((hour, asset))
        asset, hour, low, high = asset[order], hour[order], low[order], high[order]
        starts = np.flatnonzero(np.append(True, (np.diff(asset) != 0) | (np.diff(hour) != 0)))
        columns = asset[starts], hour[starts], np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
        for one, at, first, last in zip(*(column.tolist() for column in columns), strict=True):
            self._widen(one, at, first, last)

    def _widen(self, asset: int, hour: int, first: int, last: int) -> None:
        known = self._found.get((asset, hour), (first, last))
        self._found[asset, hour] = (min(known[0], first), max(known[1], last))

    def spans(self) -> Spans:
        """All of them, in an order that every writer keeps, so that none waits for another in a ring."""
        ordered = sorted(self._found.items())
        return Spans(
            [asset for (asset, _), _ in ordered],
            [hour * HOUR_NS for (_, hour), _ in ordered],
            [span[0] for _, span in ordered],
            [span[1] for _, span in ordered],
        )
