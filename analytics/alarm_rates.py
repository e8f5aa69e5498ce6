"""How many alarms an operator gets: floods, rates, chattering, stale, priorities (section 6.7; ISA-18.2, IEC 62682).

* Counted are annunciated alarms of one operator, by their time in ns UTC, in clock bins of 10 minutes.
* At least 30 days of data make a judgement; less is LOW_COVERAGE of the figures that are shares.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import Evidence, Formula, Ints, Reason, Result, judged

BIN_NS: Final = 600_000_000_000
BIN_MIN: Final = 10.0
DAY_NS: Final = 86_400_000_000_000

F_RATE: Final = Formula("6.7-RATE", "1")
F_OVER: Final = Formula("6.7-OVER", "1")
F_FLOOD: Final = Formula("6.7-FLOOD", "1")
F_TOP: Final = Formula("6.7-TOP", "1")


def alarms_per_bin(ts_ns: npt.ArrayLike, start_ns: int, end_ns: int) -> Ints:
    """(k,) alarms in each clock bin of 10 min from the bin of `start_ns` up to `end_ns`, empty bins included.

    >>> alarms_per_bin([0, 1, 599_999_999_999, 600_000_000_000], 0, 1_800_000_000_000)
    array([3, 1, 0])
    """
    first, last = start_ns // BIN_NS, -(-end_ns // BIN_NS)
    index = np.asarray(ts_ns, dtype=np.int64) // BIN_NS - first
    inside = index[(index >= 0) & (index < last - first)]
    return np.bincount(inside, minlength=max(last - first, 0)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Flood:
    """An alarm flood: its first bin, how many bins, alarms in it and the fullest bin."""

    first_bin: int
    bins: int
    alarms: int
    peak: int

    @property
    def minutes(self) -> float:
        """Its length."""
        return self.bins * BIN_MIN


def floods(per_bin: Sequence[int] | Ints, *, begins_above: int = 10, ends_below: int = 5) -> tuple[Flood, ...]:
    """Floods: from the first bin above 10 alarms to the bin before the first below 5 [S62].

    >>> for flood in floods([2, 0, 12, 15, 7, 5, 4, 1, 11, 3, 0, 0]):
    ...     print(flood, flood.minutes)
    Flood(first_bin=2, bins=4, alarms=39, peak=15) 40.0
    Flood(first_bin=8, bins=1, alarms=11, peak=11) 10.0
    """
    found: list[Flood] = []
    begin: int | None = None
    counts = [int(count) for count in per_bin]
    for i, count in enumerate([*counts, ends_below - 1]):
        if begin is None and count > begins_above:
            begin = i
        elif begin is not None and count < ends_below:
            inside = counts[begin:i]
            found.append(Flood(begin, i - begin, sum(inside), max(inside)))
            begin = None
    return tuple(found)


@dataclass(frozen=True, slots=True)
class AlarmLoad:
    """Load of an operator: alarms a bin, share of bins above 10, share of time in flood, and the floods."""

    rate: Result
    share_over: Result
    share_flood: Result
    floods: tuple[Flood, ...]


def alarm_load(per_bin: Sequence[int] | Ints, *, begins_above: int = 10, ends_below: int = 5) -> AlarmLoad:
    """The rates of a period; up to 1 alarm a bin is very likely acceptable, 2 is what can be managed [S63] [GK].

    No bins is ZERO_DENOM.

    >>> load = alarm_load([2, 0, 12, 15, 7, 5, 4, 1, 11, 3, 0, 0])
    >>> f"{load.rate:.1f} {load.share_over:.2f} {load.share_flood:.4f}"
    '5.0 1 0.25 1 0.4167 1'
    """
    counts = np.asarray(per_bin, dtype=np.float64)
    n = counts.size
    found = floods(per_bin, begins_above=begins_above, ends_below=ends_below)
    none = (Reason.ZERO_DENOM, n == 0)
    flooded = sum(flood.bins for flood in found)
    sums = (np.sum(counts), np.sum(counts > begins_above), flooded)
    given, evidence = (counts, np.array([begins_above, ends_below], dtype=np.float64)), Evidence(n)
    shares = [s / n if n else np.nan for s in sums]
    rate, over, flood = (
        judged(share, formula, given, none, evidence=evidence).one()
        for share, formula in zip(shares, (F_RATE, F_OVER, F_FLOOD), strict=True)
    )
    return AlarmLoad(rate, over, flood, found)


def chattering(ts_ns: npt.ArrayLike, *, activations: int = 3, within_ns: int = 60_000_000_000) -> Ints:
    """(k,) times of one alarm's activations that complete three within a minute [S64]; the target is none.

    >>> chattering([0, 30_000_000_000, 59_000_000_000, 300_000_000_000])
    array([59000000000])
    """
    when = np.sort(np.asarray(ts_ns, dtype=np.int64))
    late = when[activations - 1 :]
    return late[late - when[: late.size] <= within_ns]


def stale(raised_ns: npt.ArrayLike, now_ns: int, *, older_than_ns: int = DAY_NS) -> Ints:
    """(k,) indices of standing alarms raised more than 24 h ago [S64].

    >>> stale([0, 90_000_000_000_000], 100_000_000_000_000)
    array([0])
    """
    return np.flatnonzero(now_ns - np.asarray(raised_ns, dtype=np.int64) > older_than_ns)


@dataclass(frozen=True, slots=True)
class Share:
    """A name and its share of all alarms, 0..1."""

    name: str
    alarms: int
    share: float


def shares(names: Sequence[str], *, most: int = 10) -> tuple[Share, ...]:
    """The most frequent names (sources, or priorities: about 80/15/5 % low, medium, high [S65]) and their shares.

    >>> shares(["low", "low", "high", "low"])
    (Share(name='low', alarms=3, share=0.75), Share(name='high', alarms=1, share=0.25))
    """
    counts = {name: names.count(name) for name in dict.fromkeys(names)}
    ranked = sorted(counts.items(), key=lambda item: -item[1])[:most]
    return tuple(Share(name, count, count / len(names)) for name, count in ranked)


def top_share(names: Sequence[str], *, most: int = 10) -> Result:
    """Share of the ten most frequent sources of all alarms; no alarm is ZERO_DENOM.

    >>> f"{top_share(['a', 'a', 'b'], most=1):.4f}"
    '0.6667 1'
    """
    top = shares(names, most=most)
    value = sum(row.alarms for row in top) / len(names) if names else np.nan
    given = (np.array([row.alarms for row in top], dtype=np.float64), np.array([float(len(names))]))
    return judged(value, F_TOP, given, (Reason.ZERO_DENOM, not names), evidence=Evidence(len(names))).one()
