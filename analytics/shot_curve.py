"""What the burst of a die-casting shot says: when its stages begin and end, and its speeds and pressures (section 1.3).

* Velocity is the derivative of position by Savitzky-Golay; time is s since the first sample.
* A stage that did not come has no time: a shot without end of fill within `longest_fill_s` is dry or aborted.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.formulas.casting import final_pressure, measured_fill_time, pressure_rise_time
from analytics.process import plain
from analytics.result import Evidence, Floats, Formula, Reason, Result, judged
from analytics.time_series import Samples
from analytics.window import SECOND_NS
from pipeline.model import Waveform

F_SPEED: Final = Formula("F-HPDC-02", "m/s", "curve")
F_PLACE: Final = Formula("F-HPDC-09", "mm", "curve")
F_ROD: Final = Formula("F-HPDC-06", "MPa", "curve")
_MM_PER_M: Final = 1e3


@dataclass(frozen=True, slots=True)
class Rules:
    """How the stages are told, see the settings of `HpdcShot` of the same names."""

    position: str = "position"
    head: str = "p_head"
    rod: str = "p_rod"
    points: int = 11
    slow_m_s: float = 0.05
    fast_set_m_s: float | None = None
    end_share: float = 0.2
    longest_fill_s: float = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class ShotCurve:
    """A burst and its stages.

    Attributes:
        start_ns: time of the first sample, ns UTC.
        time_s: (n,).
        position: (n,) mm.
        velocity: (n,) m/s.
        head: (n,) MPa; None when the burst lacks it.
        rod: (n,) MPa; None when the burst lacks it.
        slow_s: slow start.
        fast_s: fast start.
        fill_s: end of fill.
        end_s: end of intensify.
    """

    start_ns: int
    time_s: Floats
    position: Floats
    velocity: Floats
    head: Floats | None
    rod: Floats | None
    slow_s: float | None = None
    fast_s: float | None = None
    fill_s: float | None = None
    end_s: float | None = None

    def at_ns(self, time_s: float | None) -> int | None:
        """A time of the burst as ns UTC."""
        return None if time_s is None else self.start_ns + round(time_s * SECOND_NS)

    def part(self, column: Floats | None, start_s: float | None, end_s: float | None) -> Floats:
        """The samples of a column between two times, none when one of them did not come."""
        if column is None or start_s is None or end_s is None:
            return np.zeros(0)
        first, last = np.searchsorted(self.time_s, [start_s, end_s])
        return column[first:last]

    def slow_velocity(self) -> Result:
        """Median velocity of the slow stage, m/s."""
        stage = self.part(self.velocity, self.slow_s, self.fast_s)
        return _median(stage[len(stage) // 5 : len(stage) - len(stage) // 20], F_SPEED)

    def fast_velocity(self) -> Result:
        """Median velocity of the fast stage where it is above nine tenths of its highest, m/s."""
        stage = self.part(self.velocity, self.fast_s, self.fill_s)
        return _median(stage[stage > 0.9 * np.max(stage, initial=0.0)], F_SPEED)

    def place(self, time_s: float | None) -> Result:
        """Plunger position at a stage, mm."""
        value = np.nan if time_s is None else np.interp(time_s, self.time_s, self.position)
        late = (Reason.NOT_REACHED, time_s is None)
        return judged(value, F_PLACE, (), late, evidence=Evidence(len(self.time_s))).one()

    def fill_time(self, gate_mm: float | None) -> Result:
        """F-HPDC-03 from the gate, or from the fast start when the place of the gate is not known, ms."""
        if gate_mm is None and self.fast_s is not None:
            gate_mm = float(np.interp(self.fast_s, self.time_s, self.position))
        gate = np.inf if gate_mm is None else gate_mm
        return measured_fill_time(Samples.of(self.time_s, self.position), gate, self.fill_s)

    def final_head(self) -> Result:
        """F-HPDC-07: final head pressure, MPa."""
        return final_pressure(self.part(self.head, self.fill_s, self.end_s))

    def final_rod(self) -> Result:
        """Median rod-side pressure in the same stretch, MPa."""
        stage = self.part(self.rod, self.fill_s, self.end_s)
        return _median(stage[len(stage) - max(1, round(0.2 * len(stage))) :], F_ROD)

    def rise_time(self) -> Result:
        """F-HPDC-07: pressure rise time, ms."""
        final = self.final_head().value
        head = self.part(self.head, self.fill_s, self.end_s)
        when = self.part(self.time_s, self.fill_s, self.end_s) - (self.fill_s or 0.0)
        return pressure_rise_time(Samples.of(when, _smooth(head)), np.nan if final is None else final)


def read_shot(burst: Waveform, rules: Rules) -> ShotCurve | None:
    """The curve of a burst with its stages; None when it has no usable position."""
    period_s = burst.period_ns / SECOND_NS
    position = _channel(burst, rules.position)
    if position is None or len(position) <= rules.points or not np.isfinite(position).all():
        return None
    curve = ShotCurve(
        start_ns=burst.ts_ns,
        time_s=np.arange(len(position), dtype=np.float64) * period_s,
        position=position,
        velocity=_slope(position, rules.points, period_s) / _MM_PER_M,
        head=_channel(burst, rules.head),
        rod=_channel(burst, rules.rod),
    )
    return _staged(curve, rules)


def _staged(curve: ShotCurve, rules: Rules) -> ShotCurve:
    time, speed = curve.time_s, curve.velocity
    slow_s = _crossing(time, speed, rules.slow_m_s, 0, up=True)
    top = float(np.max(speed))
    before = speed[(speed > rules.slow_m_s) & (np.arange(len(speed)) < int(np.argmax(speed))) & (speed < 0.5 * top)]
    slow = float(np.median(before)) if len(before) else 0.0
    # Without a set speed a shot that never gets twice as fast as it was slow has no fast stage.
    fast_set = rules.fast_set_m_s if rules.fast_set_m_s is not None else max(top, 2.0 * slow)
    fast_s = _crossing(time, speed, slow + 0.5 * (fast_set - slow), 0, up=True) if top > 2.0 * slow else None
    fill_s = end_s = None
    if fast_s is not None:
        fill_s = _crossing(time, speed, rules.end_share * top, int(np.searchsorted(time, fast_s)), up=False)
        fill_s = fill_s if fill_s is not None and fill_s - fast_s <= rules.longest_fill_s else None
    if fill_s is not None and curve.head is not None:
        end_s = _intensified(time, curve.head, int(np.searchsorted(time, fill_s)))
    return ShotCurve(
        curve.start_ns, time, curve.position, speed, curve.head, curve.rod, slow_s, fast_s, fill_s, end_s,
    )  # fmt: skip


def _intensified(time: Floats, head: Floats, first: int) -> float | None:
    """Where the head pressure falls below half of the plateau it reached after the end of fill."""
    after = _smooth(head[first:])
    if not len(after):
        return None
    plateau = float(np.median(after[after > 0.8 * np.max(after)]))
    reached = int(np.argmax(after > 0.8 * plateau))
    return _crossing(time, _smooth(head), 0.5 * plateau, first + reached, up=False)


def _crossing(time: Floats, value: Floats, level: float, first: int, *, up: bool) -> float | None:
    """The first time from `first` on at which the value passes a level, linear between samples."""
    sign = 1.0 if up else -1.0
    above = sign * value[first:] > sign * level
    hits = np.flatnonzero(~above[:-1] & above[1:])
    if not len(hits):
        return None
    i = first + int(hits[0])
    share = (level - value[i]) / (value[i + 1] - value[i])
    return float(time[i] + share * (time[i + 1] - time[i]))


def _slope(value: Floats, points: int, step: float) -> Floats:
    """First derivative by Savitzky-Golay (quadratic) over an odd number of points, in units a s."""
    half = points // 2
    away = np.arange(-half, half + 1, dtype=np.float64)
    padded = np.concatenate([np.full(half, value[0]), value, np.full(half, value[-1])])
    return np.convolve(padded, -away / np.sum(away * away), mode="valid") / step


def _smooth(value: Floats) -> Floats:
    """Mean of five samples, of fewer at the ends."""
    if len(value) < 5:
        return value
    weight = np.convolve(np.ones(len(value)), np.ones(5), mode="same")
    return np.convolve(value, np.ones(5), mode="same") / weight


def _channel(burst: Waveform, name: str) -> Floats | None:
    return burst.value[:, burst.channels.index(name)].astype(np.float64) if name in burst.channels else None


def _median(stage: Floats, formula: Formula) -> Result:
    good = stage[np.isfinite(stage)]
    return plain(float(np.median(good)) if len(good) else None, formula, Evidence(len(good)))
