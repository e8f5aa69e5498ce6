"""The detector for any tag from the first day, without configuration: several statistics vote on how new a row is.

>>> import numpy as np
>>> from analytics.table import Table
>>> x = np.sin(np.arange(1500) / 9) + np.where(np.arange(1500) >= 1400, 2.0, 0.0)
>>> score = General(kind="general").examine(Table.of(x, every_s=60.0)).score[:, 0]
>>> int(np.sum(score[:1400] >= 1)), 1400 <= int(np.argmax(score >= 1)) < 1405
(0, True)
"""

from collections.abc import Mapping
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from analytics.detector import Arrays, Detector, Scores
from analytics.novelty import highest_before, mean_of, rarity, season_less, spread_of, vote
from analytics.result import Floats, Ints, silent
from analytics.rolling import scored
from analytics.table import Table

MEANS: Final = (1, 4, 12, 48, 144)
SPREADS: Final = (8, 24, 96)
SEASONAL: Final = (1, 12, 48)
"""Rows of the windows of the statistics: level, unrest, and level beside the same time of the days before."""
DAY_S: Final = 86_400.0
DAYS: Final = 5
SEASON_ROWS: Final = 1500
"""No more days are looked back at than lie in these rows; with fewer than two the day is not looked at."""
LEAST_SEEN: Final = 25


class General(Detector):
    """Surprise beside the largest one of late: a row rings that is newer than all rows of the recent past.

    Each statistic votes by how far out it is in the tail of its own past. The mean vote is the surprise, 0..1. The
    score is the surprise over `ratio` times the sum of `calm` and the largest surprise of the `recent_rows` before: a
    signal that always surprises has to do so more.
    """

    block_rows: ClassVar[int] = 10

    kind: Literal["general"] = "general"
    subject: Literal["each", "all"] = "each"
    """Whether every variable has a score, or all have one together (root mean square of their surprises)."""
    past_rows: int = Field(default=4000, ge=400, le=50_000)
    """Rows that a row is compared with."""
    every: PositiveInt = 8
    """Of those, each so-many-th is looked at."""
    recent_rows: PositiveInt = 600
    """Rows whose largest surprise a row is compared with."""
    calm: PositiveFloat = 0.15
    """Surprise that counts as none; larger is less sensitive where nothing happens."""
    ratio: PositiveFloat = 0.65
    """Part of the largest surprise of late, plus calm, that rings; larger is less sensitive everywhere."""
    episode_rows: NonNegativeInt = 60
    """Rows after one that rings in which the score stays below 1; 0: every row that would ring does."""

    @property
    def memory(self) -> int:
        """The past of the slowest statistic, before the recent rows, before the episode."""
        longest = max(2 * max(MEANS), 2 * max(SPREADS), 2 * max(SEASONAL) + SEASON_ROWS)
        return self.past_rows + longest + self.recent_rows + self.episode_rows

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable, or of all; NaN where there is no value (for all: no value at all)."""
        del learned
        lag = round(DAY_S / table.every_s) if np.isfinite(table.every_s) else 0
        days = min(DAYS, SEASON_ROWS // lag) if lag else 0

        def of_group(_: str, rows: Ints, value: Floats) -> Floats:
            fresh = int(np.searchsorted(rows, table.fresh))
            first = max(fresh - self.recent_rows - self.episode_rows, 0)
            each = [self._surprise(value[:, column], lag, days, first) for column in range(value.shape[1])]
            return np.stack(each, axis=1) if each else np.zeros(value.shape)

        surprise = scored(table, of_group)
        if self.subject == "each":
            return Scores(table.names, scored(table, lambda _, rows, value: self._ringing(surprise[rows], value)))
        together = _together(surprise)
        with silent():
            share = np.nan_to_num(surprise) ** 2 / np.sum(np.nan_to_num(surprise) ** 2, axis=1, keepdims=True)
        one = scored(table, lambda _, rows, value: self._ringing(together[rows], value))[:, :1]
        score = np.where(np.isfinite(together), one, np.nan)
        return Scores(("",), score, share=np.where(np.isfinite(score), share, np.nan))

    def _surprise(self, x: Floats, lag: int, days: int, first: int) -> Floats:
        """(m,) mean vote of the statistics of one variable, from a row on."""
        reach, every = self.past_rows, self.every

        def said(statistic: Floats, rows: int, *, upper: bool = False) -> Floats:
            return vote(rarity(statistic, rows, reach=reach, every=every, least=LEAST_SEEN, upper=upper, first=first))

        votes = [said(mean_of(x, rows), rows) for rows in MEANS]
        votes += [said(spread_of(x, rows), rows) for rows in SPREADS]
        votes.append(said(np.abs(np.diff(x, prepend=np.nan)), 1, upper=True))
        if days >= 2:
            rest = season_less(x, lag, days)
            votes += [said(mean_of(rest, rows), rows) for rows in SEASONAL]
        return np.where(np.isfinite(x), np.mean(votes, axis=0), np.nan)

    def _ringing(self, surprise: Floats, value: Floats) -> Floats:
        """(m, k) scores from surprises (m, k), which may be one column for all of the values (m, k)."""
        del value
        score = np.full(surprise.shape, np.nan)
        for column in range(surprise.shape[1]):
            new = np.nan_to_num(surprise[:, column])
            raw = new / (self.ratio * (highest_before(new, self.recent_rows) + self.calm))
            if self.episode_rows:
                rung = highest_before(raw, self.episode_rows) >= 1
                raw = np.where(rung, np.minimum(raw, 0.99), raw)
            score[:, column] = np.where(np.isfinite(surprise[:, column]), raw, np.nan)
        return score


def _together(surprise: Floats) -> Floats:
    """(n, 1) root mean square over the variables that have a surprise; NaN where none has."""
    good = np.isfinite(surprise)
    with silent():
        mean: Floats = np.sum(np.nan_to_num(surprise) ** 2, axis=1, keepdims=True) / good.sum(axis=1, keepdims=True)
    return np.sqrt(mean)
