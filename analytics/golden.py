"""Golden profiles: rows whose columns are the positions along one, by phase time, stroke or crank angle (F-PRF-01).

* The band at a position is the mean of accepted profiles ± the widest of k sigma and the floors. 1 is its edge.
* A position that fewer than nine in ten of the profiles reach is not judged; a profile without one that is judged gets
  no opinion.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from analytics.detector import Arrays, Detector, Scores, by_group
from analytics.profile import golden_envelope
from analytics.result import Floats, silent
from analytics.table import Table

LEAST_SEEN: Final = 0.9


class Golden(Detector, ABC):
    """Base of the detectors of profiles; each row is judged by itself."""

    learns: ClassVar[bool] = True

    k_sigma: PositiveFloat = 4.0
    """Half width of the band, in standard deviations of the profiles at a position."""
    floor: NonNegativeFloat = 0.0
    """Least half width, in the profile's unit."""
    floor_share: NonNegativeFloat = 0.02
    """Least half width, as a share of the range of the mean profile."""
    statistic: Literal["largest", "rms"] = "largest"
    """Of the positions: the largest deviation, or the root of the mean square, which needs many to be out."""
    least_cycles: Annotated[int, Field(ge=10)] = 30
    """Whole normal profiles below which nothing is learned of a group."""

    @property
    def memory(self) -> int:
        """None."""
        return 0

    @abstractmethod
    def taught(self, x: Floats) -> Arrays:
        """What (m, p) whole profiles teach."""

    @abstractmethod
    def deviations(self, known: Arrays, x: Floats) -> Floats:
        """(m, p) of whole profiles, in half widths."""

    def envelope_of(self, x: Floats) -> tuple[Floats, Floats]:
        """(p) mean and half width of the band of (m, p) profiles."""
        span = float(np.ptp(np.mean(x, axis=0)))
        floor = max(self.floor, self.floor_share * span, 1e-12)
        found = golden_envelope(x, k_sigma=self.k_sigma, floor=floor, least=self.least_cycles)
        return found.mean, found.half_width

    def learn(self, table: Table) -> dict[str, Arrays]:
        """By group: `used` (k) positions and what the subclass teaches."""
        found: dict[str, Arrays] = {}
        for name, rows in by_group(table):
            x = table.value[rows][table.normal[rows]]
            used = np.mean(np.isfinite(x), axis=0) >= LEAST_SEEN if len(x) else np.zeros(x.shape[1], dtype=np.bool_)
            whole = x[:, used][np.isfinite(x[:, used]).all(axis=1)]
            if len(whole) >= self.least_cycles and used.any():
                found[name] = {"used": used.astype(np.float64), **self.taught(whole)}
        return found

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of whole profiles, with the share of each position."""
        score = np.full((len(table), 1), np.nan)
        share = np.full(table.value.shape, np.nan)
        for name, rows in by_group(table):
            known = (learned or {}).get(name)
            if known is None:
                continue
            used = np.flatnonzero(known["used"])
            x = table.value[np.ix_(rows, used)]
            whole = np.isfinite(x).all(axis=1) & table.normal[rows]
            if not whole.any():
                continue
            away = np.abs(self.deviations(known, x[whole]))
            total = np.sum(away**2, axis=1)
            largest = np.max(away, axis=1)
            score[rows[whole], 0] = largest if self.statistic == "largest" else np.sqrt(total / len(used))
            share[rows[whole]] = 0.0
            with silent():
                parts = np.where(total[:, None] > 0, away**2 / total[:, None], 1 / len(used))
            share[np.ix_(rows[whole], used)] = parts
        return Scores(("",), score, share)
