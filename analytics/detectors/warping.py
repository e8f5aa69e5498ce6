"""Golden envelope after alignment by dynamic time warping, and the band of the shifts it took (F-PRF-02).

>>> from analytics.table import Table
>>> rng = np.random.default_rng(1)
>>> def bump(at):
...     return np.exp(-0.5 * ((np.arange(60) - at) / 4.0) ** 2)
>>> past = np.array([bump(at) for at in rng.uniform(27, 33, 60)]) + rng.normal(0, 0.005, (60, 60))
>>> chart = Warping(kind="warping", band=8)
>>> found = chart.examine(Table.of([bump(32), 0.7 * bump(32), bump(38)]), chart.learn(Table.of(past)))
>>> (found.score[:, 0] > 1).tolist()
[False, True, True]
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveFloat

from analytics.detector import Arrays
from analytics.golden import Golden
from analytics.result import Floats


class Warping(Golden):
    """A profile whose shape is not the golden one, wherever it lies, or that lies too early or too late."""

    kind: Literal["warping"] = "warping"
    band: int = Field(default=10, ge=1, le=200)
    """Sakoe-Chiba radius: positions by which a profile may be shifted, at most."""
    shift_floor: PositiveFloat = 2.0
    """Least half width of the band of shifts, in positions."""

    def taught(self, x: Floats) -> Arrays:
        """`golden`, and mean and half width (p) of the values and of the shifts, after alignment to their own mean."""
        golden = np.median(x, axis=0)
        for _ in range(2):
            golden = np.mean(align(golden, x, self.band)[0], axis=0)
        aligned, shift = align(golden, x, self.band)
        mean, half_width = self.envelope_of(aligned)
        usual = np.mean(shift, axis=0)
        width = np.maximum(self.k_sigma * np.std(shift, axis=0, ddof=1), self.shift_floor)
        return {
            "golden": golden,
            "mean": mean,
            "half_width": half_width,
            "shift_mean": usual,
            "shift_half_width": width,
            "cycles": np.array([float(len(x))]),
        }

    def deviations(self, known: Arrays, x: Floats) -> Floats:
        """(m, p) the larger of the deviation of the aligned value and of the shift, in half widths."""
        aligned, shift = align(known["golden"], x, self.band)
        shape = np.abs(aligned - known["mean"]) / known["half_width"]
        return np.maximum(shape, np.abs(shift - known["shift_mean"]) / known["shift_half_width"])


def align(golden: Floats, x: Floats, band: int) -> tuple[Floats, Floats]:
    """(m, p) values of profiles as they stand at the positions of a golden one (p), and by how far they were shifted.

    The cheapest path of F-PRF-02; where several positions of a profile go with one, their mean.

    >>> golden = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    >>> [part.tolist() for part in align(golden, np.array([[0.0, 0.0, 0.0, 1.0, 0.0]]), 2)]
    [[[0.0, 0.0, 1.0, 0.0, 0.0]], [[0.5, 1.0, 1.0, 1.0, 0.0]]]
    """
    p = len(golden)
    came = _came_from(golden, x, band)
    which = np.arange(len(x), dtype=np.int64)
    row, place = np.full((2, len(x)), p - 1, dtype=np.int64)
    total, shift, count = np.zeros((3, *x.shape))
    while len(which):
        total[which, row] += x[which, place]
        shift[which, row] += place - row
        count[which, row] += 1
        step = came[row, place - row + band, which]
        going = (row > 0) | (place > 0)
        which, row, place = which[going], (row - (step != _SAME_ROW))[going], (place - (step != _SAME_PLACE))[going]
    return total / count, shift / count


_BOTH, _SAME_ROW, _SAME_PLACE = 0, 1, 2


def _came_from(golden: Floats, x: Floats, band: int) -> npt.NDArray[np.int8]:
    """(p, 2 band + 1, m) the last step of the cheapest path to each position of a profile near each golden one."""
    p, width = len(golden), 2 * band + 1
    came = np.zeros((p, width, len(x)), dtype=np.int8)
    before = np.full((width + 1, len(x)), np.inf)  # of the golden position before; one slot of padding
    for row in range(p):
        here = np.full((width + 1, len(x)), np.inf)
        for slot in range(max(0, band - row), min(width, p - row + band)):
            place = row + slot - band
            left = here[slot - 1] if slot else np.full(len(x), np.inf)
            choices = np.stack([before[slot], left, before[slot + 1]])
            step = np.argmin(choices, axis=0)
            cheapest = choices[step, np.arange(len(x))] if row or place else np.zeros(len(x))
            here[slot] = cheapest + np.abs(golden[row] - x[:, place])
            came[row, slot] = step
        before = here
    return came
