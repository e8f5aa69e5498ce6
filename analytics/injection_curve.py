"""What the burst of an injection moulding cycle says: fill, switch-over, packing, dosing (section 5.2).

* The screw moves from its dosed position towards 0; forward speed is positive. Time is s since the first sample.
* Fill begins above a share of the highest forward speed and ends where it falls below another (V/P).
* Packing ends where the injection pressure falls below half of what it was held at.
"""

from dataclasses import dataclass

import numpy as np

from analytics.process import plain
from analytics.result import Evidence, Floats, Formula, Result
from analytics.time_series import Samples
from analytics.window import SECOND_NS
from pipeline.model import Waveform

_HALF = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """How the stages are told, see the settings of `MoldingCycle` of the same names."""

    screw: str = "screw"
    pressure: str = "inj"
    begin_share: float = 0.5
    switch_share: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class InjectionCurve:
    """A burst and its stages; a stage that did not come has no time.

    Attributes:
        start_ns: time of the first sample, ns UTC.
        time_s: (n,).
        screw: (n,) mm.
        pressure: (n,) MPa; None when the burst lacks it.
        fill_s: begin of fill.
        switch_s: V/P switch.
        packed_s: end of packing.
        dose_s: begin of dosing.
        dosed_s: end of dosing.
    """

    start_ns: int
    time_s: Floats
    screw: Floats
    pressure: Floats | None
    fill_s: float | None = None
    switch_s: float | None = None
    packed_s: float | None = None
    dose_s: float | None = None
    dosed_s: float | None = None

    def at_ns(self, time_s: float | None) -> int | None:
        """A time of the burst as ns UTC."""
        return None if time_s is None else self.start_ns + round(time_s * SECOND_NS)

    def part(self, column: Floats | None, start_s: float | None, end_s: float | None) -> Floats:
        """The samples of a column between two times, none when one of them did not come."""
        if column is None or start_s is None or end_s is None:
            return np.zeros(0)
        first, last = np.searchsorted(self.time_s, [start_s, end_s])
        return column[first:last]

    def lasted(self, start_s: float | None, end_s: float | None, formula: Formula) -> Result:
        """Seconds between two stages."""
        value = None if start_s is None or end_s is None else end_s - start_s
        return plain(value, formula, Evidence(len(self.time_s)))

    def value_at(self, column: Floats | None, time_s: float | None, formula: Formula) -> Result:
        """A column at a stage."""
        value = None if column is None or time_s is None else float(np.interp(time_s, self.time_s, column))
        return plain(value, formula, Evidence(len(self.time_s)))

    def samples(self, column: Floats) -> Samples:
        """A channel over time from the begin of fill."""
        first = 0 if self.fill_s is None else int(np.searchsorted(self.time_s, self.fill_s))
        period = float(self.time_s[1] - self.time_s[0])
        return Samples.of(self.time_s[first:], column[first:], period)


def channel(burst: Waveform, name: str) -> Floats | None:
    """A channel of a burst by its name."""
    return burst.value[:, burst.channels.index(name)].astype(np.float64) if name in burst.channels else None


def calm(value: Floats) -> Floats:
    """Mean of five samples: takes a sensor's noise off a peak."""
    if len(value) < 5:
        return value
    padded = np.concatenate([np.repeat(value[:1], 2), value, np.repeat(value[-1:], 2)])
    return np.convolve(padded, np.full(5, 0.2), mode="valid")


def read_injection(burst: Waveform, rules: Rules) -> InjectionCurve | None:
    """The curve of a burst with its stages; None when it has no usable screw position."""
    screw = channel(burst, rules.screw)
    if screw is None or len(screw) <= 2 * _HALF + 1 or not np.isfinite(screw).all():
        return None
    period_s = burst.period_ns / SECOND_NS
    time = np.arange(len(screw), dtype=np.float64) * period_s
    pressure = channel(burst, rules.pressure)
    speed = -_slope(screw, period_s)
    top = float(np.max(speed))
    if top * period_s * 20 < 0.05:  # less than a hair in twenty samples: the screw stood still
        return InjectionCurve(burst.ts_ns, time, screw, pressure)
    fill_s = _crossing(time, speed, rules.begin_share * top, 0)
    first = int(np.searchsorted(time, fill_s)) + _HALF if fill_s is not None else 0
    # The level is that of the steady fill: a short peak of speed must not decide.
    moving = speed[first : first + max(1, int(np.argmax(speed[first:] < 0.5 * top)))]
    steady = float(np.median(moving)) if len(moving) else top
    switch_s = _crossing(time, -speed, -rules.switch_share * steady, first)
    packed_s = _packed(time, pressure, switch_s)
    dose_s, dosed_s = _dosing(time, speed, packed_s if packed_s is not None else switch_s)
    return InjectionCurve(burst.ts_ns, time, screw, pressure, fill_s, switch_s, packed_s, dose_s, dosed_s)


def _packed(time: Floats, pressure: Floats | None, switch_s: float | None) -> float | None:
    if pressure is None or switch_s is None:
        return None
    first = int(np.searchsorted(time, switch_s))
    after = pressure[first:]
    high = after[after > 0.3 * np.max(after, initial=0.0)]
    if not len(high):
        return None
    return _crossing(time, -calm(pressure), -0.5 * float(np.median(high)), first)


def _dosing(time: Floats, speed: Floats, after_s: float | None) -> tuple[float | None, float | None]:
    """When the screw goes back and when it has stopped."""
    if after_s is None:
        return None, None
    first = int(np.searchsorted(time, after_s))
    back = -speed[first:]
    if not len(back) or np.max(back) <= 0.0:
        return None, None
    level = 0.5 * float(np.median(back[back > 0.3 * np.max(back)]))
    begin_s = _crossing(time, -speed, level, first)
    if begin_s is None:
        return None, None
    return begin_s, _crossing(time, speed, -level, int(np.searchsorted(time, begin_s)) + _HALF)


def _crossing(time: Floats, value: Floats, level: float, first: int) -> float | None:
    """The first time from `first` on at which the value passes a level upward, linear between samples."""
    above = value[first:] > level
    hits = np.flatnonzero(~above[:-1] & above[1:])
    if not len(hits):
        return None
    i = first + int(hits[0])
    return float(time[i] + (level - value[i]) / (value[i + 1] - value[i]) * (time[i + 1] - time[i]))


def _slope(value: Floats, step: float) -> Floats:
    """First derivative by Savitzky-Golay (quadratic) over eleven points."""
    away = np.arange(-_HALF, _HALF + 1, dtype=np.float64)
    padded = np.concatenate([np.full(_HALF, value[0]), value, np.full(_HALF, value[-1])])
    return np.convolve(padded, -away / np.sum(away * away), mode="valid") / step
