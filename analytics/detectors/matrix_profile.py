"""A shape that has not been there before: distance to the nearest of the earlier windows (F-PRF-03).

>>> from analytics.table import Table
>>> wave = np.sin(np.arange(600) * 2 * np.pi / 50) + np.random.default_rng(1).normal(0, 0.02, 600)
>>> wave[500:525] *= -1.0
>>> found = MatrixProfile(kind="matrix_profile", window=50, history=400).examine(Table.of(wave))
>>> bool(np.nanmax(found.score[200:500]) < 0.5), bool(found.score[525, 0] > 1), int(found.since[525, 0])
(True, True, 476)
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from analytics.detector import Arrays, Detector, Scores
from analytics.result import Floats, Ints, silent
from analytics.rolling import scored, windows
from analytics.table import Table

CHUNK: Final = 256
"""Windows that are compared at once with all before them."""


class MatrixProfile(Detector):
    """A window of rows whose shape, whatever its level and size, resembles none of those before it.

    A flat window has no shape and gets no opinion, and so does one with a NaN. Noise resembles nothing: not for
    variables that only wander around a level.
    """

    kind: Literal["matrix_profile"] = "matrix_profile"
    window: int = Field(default=64, ge=4, le=2000)
    """Rows of a shape; about one cycle or event."""
    history: int = Field(default=2000, ge=16, le=50_000)
    """Earlier rows whose windows it is compared with."""
    least_correlation: Annotated[float, Field(gt=-1, lt=1)] = 0.5
    """With the nearest window; below it the score is above 1."""
    flat: Annotated[float, Field(ge=0)] = 1e-6
    """Standard deviation, as a share of the level, below which a window is flat."""

    @property
    def memory(self) -> int:
        """The history and the window itself."""
        return self.history + self.window - 1

    def examine(self, table: Table, learned: Mapping[str, Arrays] | None = None) -> Scores:
        """Scores of every variable at the last row of each window; `since` is its first."""
        del learned
        rows = np.arange(len(table), dtype=np.int64)
        since = np.tile(np.maximum(rows - self.window + 1, 0)[:, None], (1, len(table.variables)))

        def of_group(_: str, index: Ints, value: Floats) -> Floats:
            since[index] = index[np.maximum(np.arange(len(index)) - self.window + 1, 0)][:, None]
            return np.stack([self._nearest(column) for column in value.T], axis=1)

        limit = np.sqrt(2 * self.window * (1 - self.least_correlation))
        return Scores(table.names, scored(table, of_group) / limit, since=since)

    def _nearest(self, x: Floats) -> Floats:
        """(n,) distance of the window that ends at each row to the nearest that ends a quarter window before it."""
        m = self.window
        nearest = np.full(len(x), np.nan)
        if len(x) < m:
            return nearest
        for first in range(m - 1, len(x), CHUNK):
            end = min(first + CHUNK, len(x))
            start = max(first - self.history, m - 1)
            shape = self._shapes(x[start - m + 1 : end])
            new = shape[first - start :]
            rho = new @ shape.T / m
            row, other = np.arange(first, end)[:, None], np.arange(start, end)[None, :]
            apart = (row - other > m / 4) & (row - other <= self.history) & np.isfinite(shape[:, 0])[None, :]
            best = np.max(np.where(apart & np.isfinite(rho), rho, -np.inf), axis=1)
            with silent():
                far = np.sqrt(2 * m * np.maximum(0.0, 1 - best))
            nearest[first:end] = np.where(apart.any(axis=1) & np.isfinite(new[:, 0]), far, np.nan)
        return nearest

    def _shapes(self, x: Floats) -> Floats:
        """(n - m + 1, m) windows of mean 0 and standard deviation 1; NaN where flat or not whole."""
        shape = windows(x[:, None], self.window)[self.window - 1 :, 0]
        level = np.mean(shape, axis=1, keepdims=True)
        with silent():
            deviation = np.std(shape, axis=1, keepdims=True)
            least = self.flat * np.maximum(np.abs(level), 1e-9)
            return np.asarray((shape - level) / np.where(deviation > least, deviation, np.nan), dtype=np.float64)
