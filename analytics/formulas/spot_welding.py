"""Resistance spot welding: current, energy, dynamic resistance, expulsion, nugget (section 3.3).

* A burst is equidistant in time and whole; a NaN in it is MISSING_INPUT.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import Column, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, silent
from analytics.time_series import Samples, integral

F_RMS: Final = Formula("F-WLD-10", "A")
F_ENERGY: Final = Formula("F-WLD-10", "J")
F_RESISTANCE: Final = Formula("F-WLD-11", "uOhm")
F_BETA_TIME: Final = Formula("F-WLD-11", "s")
F_SLOPE: Final = Formula("F-WLD-11", "uOhm/s")
F_EXPULSION: Final = Formula("F-WLD-12", "s")
F_DROP: Final = Formula("F-WLD-12", "1")
F_NUGGET: Final = Formula("F-WLD-13", "mm")


def rms_current(current: Samples) -> Result:
    """F-WLD-10: effective current over the conduction time; `current` is in A over s.

    Unit: A. Valid: a span of time without gap. Source: section 3.3.

    >>> f"{rms_current(Samples.of(np.arange(7) * 0.02, [0, 6e3, 8e3, 8e3, 8e3, 8e3, 0])):.2f}"
    '6976.15 A'
    """
    square = integral(Samples(current.time_s, current.value**2, current.nominal_s, current.gap_factor))
    span_s = float(np.ptp(current.time_s)) if current.time_s.size else 0.0
    with silent():
        value = np.sqrt(np.float64(square.partial) / span_s)
    few = (Reason.MISSING_INPUT, current.time_s.size < 2)
    given = (current.time_s, current.value)
    return judged(value, F_RMS, given, few, (Reason.ZERO_DENOM, span_s <= 0), evidence=square.evidence()).one()


def weld_energy(voltage: Samples, current_a: npt.ArrayLike) -> Result:
    """F-WLD-10: weld energy, the integral of u i; `voltage` in V over s, `current_a` at the same instants.

    Unit: J. Valid: at least two samples, no gap. Source: section 3.3.

    >>> u = Samples.of(np.arange(7) * 0.02, [0, 1.2, 1.3, 1.2, 1.1, 0.96, 0])
    >>> f"{weld_energy(u, [0, 6e3, 8e3, 8e3, 8e3, 8e3, 0]):.1f}"
    '873.6 J'
    """
    (current,) = columns(current_a)
    power = Samples.of(voltage.time_s, voltage.value * current, voltage.nominal_s)
    whole = integral(power)
    few = (Reason.MISSING_INPUT, power.value.size < max(2, current.size))
    given = (voltage.time_s, voltage.value, current)
    return judged(whole.partial, F_ENERGY, given, few, evidence=whole.evidence()).one()


def resistive_energy(current_a: Column, resistance_uohm: Column, time_s: Column) -> Results:
    """F-WLD-10: energy of a constant effective current through a constant resistance, I^2 R t.

    Unit: J. Valid: time >= 0. Source: section 3.3.

    >>> f"{resistive_energy(8e3, 120, 0.2).one():.1f}"
    '1536.0 J'
    """
    i, r, t = given = columns(current_a, resistance_uohm, time_s)
    with silent():
        return judged(i * i * r * 1e-6 * t, F_ENERGY, given, (Reason.OUT_OF_VALID_RANGE, t < 0))


def dynamic_resistance(voltage_v: Column, current_a: Column) -> Results:
    """F-WLD-11: dynamic resistance u / i at current peaks (AC) or each millisecond (MFDC).

    Unit: uOhm. Valid: current > 0. Source: section 3.3.

    >>> f"{dynamic_resistance(1.2, 8e3).one():.1f}"
    '150.0 uOhm'
    """
    u, i = given = columns(voltage_v, current_a)
    with silent():
        return judged(u / i * 1e6, F_RESISTANCE, given, (Reason.ZERO_DENOM, i <= 0))


@dataclass(frozen=True, slots=True)
class ResistanceCurve:
    """Features of a dynamic resistance curve: start, beta peak, end, and the slope after the peak."""

    start: Result
    beta: Result
    beta_time: Result
    end: Result
    slope_after: Result


def resistance_features(time_s: npt.ArrayLike, resistance_uohm: npt.ArrayLike) -> ResistanceCurve:
    """F-WLD-11: features of a resistance curve; the beta peak is the highest point after the first minimum.

    A curve that never rises again has no peak: its beta is NOT_REACHED. `time_s` and the resistance are (n,).
    Unit: uOhm. Valid: at least three points, none NaN. Source: section 3.3.

    >>> curve = resistance_features([0.0, 0.02, 0.06, 0.1, 0.2], [210, 150, 172, 160, 115])
    >>> f"{curve.beta:.0f} {curve.beta_time:.2f} {curve.slope_after:.1f}"
    '172 uOhm 0.06 s -415.4 uOhm/s'
    """
    time, r = given = columns(time_s, resistance_uohm)
    few = (Reason.MISSING_INPUT, r.size < 3 or not np.isfinite(r).all())
    peak = _beta(r) if not few[1] else None
    never = (Reason.NOT_REACHED, peak is None)
    at = peak or 0
    ends = r[[0, -1]] if r.size else np.full(2, np.nan)
    beta, beta_s = (r[at], time[at]) if r.size else (np.nan, np.nan)
    evidence = Evidence(r.size)
    return ResistanceCurve(
        start=judged(ends[0], F_RESISTANCE, given, few, evidence=evidence).one(),
        beta=judged(beta, F_RESISTANCE, given, few, never, evidence=evidence).one(),
        beta_time=judged(beta_s, F_BETA_TIME, given, few, never, evidence=evidence).one(),
        end=judged(ends[1], F_RESISTANCE, given, few, evidence=evidence).one(),
        slope_after=judged(_slope_after(time, r, at), F_SLOPE, given, few, never, evidence=evidence).one(),
    )


def _beta(r: Floats) -> int | None:
    rises = np.flatnonzero(np.diff(r) > 0)
    if not rises.size:
        return None
    valley = int(rises[0])
    return valley + int(np.argmax(r[valley:]))


def _slope_after(time: Floats, r: Floats, peak: int) -> float:
    after = time[peak:] - np.mean(time[peak:]) if time.size else time
    spread = float(np.sum(after * after))
    return float(np.sum(after * r[peak:])) / spread if spread > 0 else np.nan


@dataclass(frozen=True, slots=True)
class Expulsion:
    """The first expulsion of a weld: NOT_REACHED when there was none."""

    time: Result
    drop: Result


def expulsion(
    resistance_uohm: npt.ArrayLike,
    beta_s: float,
    *,
    step_s: float = 0.001,
    width: int = 3,
    history: int = 30,
    least_drop: float = 0.06,
    least_ratio: float = 4.0,
) -> Expulsion:
    """F-WLD-12: expulsion, a sudden drop of the dynamic resistance after its beta peak.

    `resistance_uohm` is (n,) at 1 ms from time 0. The drop over 3 ms is at least 6 % and at least 4 times the median
    drop of the 30 ms before the window begins (decided: before t - w, so that the drop does not judge itself).
    Unit: s. Valid: at least 36 points, none NaN. Source: [GK], tune per stack-up.

    >>> t = np.arange(200)
    >>> r = np.where(t < 60, 172.0, 172 - 0.35 * (t - 60)) - np.where(t >= 150, 12, 0)
    >>> found = expulsion(r, 0.060)
    >>> f"{found.time:.3f} {found.drop:.4f}"
    '0.150 s 0.0922 1'
    """
    (r,) = columns(resistance_uohm)
    given = (r, np.array([beta_s, step_s, width, history, least_drop, least_ratio]))
    few = (Reason.MISSING_INPUT, r.size < history + 2 * width or not np.isfinite(r).all())
    at = None if few[1] else _first_drop(r, beta_s / step_s, width, history, least_drop, least_ratio)
    never = (Reason.NOT_REACHED, at is None)
    drop = (r[at - width] - r[at]) / r[at - width] if at is not None else np.nan
    when = at * step_s if at is not None else np.nan
    evidence = Evidence(r.size)
    return Expulsion(
        time=judged(when, F_EXPULSION, given, few, never, evidence=evidence).one(),
        drop=judged(drop, F_DROP, given, few, never, evidence=evidence).one(),
    )


def _first_drop(r: Floats, beta: float, width: int, history: int, least: float, least_ratio: float) -> int | None:
    drops = np.concatenate([np.zeros(width), r[:-width] - r[width:]])
    big = np.flatnonzero(drops[width:] >= least * r[:-width]) + width
    for at in big[(big > beta) & (big >= history + 2 * width)]:
        usual = np.median(np.abs(drops[at - width - history : at - width]))
        if drops[at] >= least_ratio * usual:
            return int(at)
    return None


def nugget_target(thinnest_mm: Column, *, factor: Column = 4.0) -> Results:
    """F-WLD-13: nugget diameter wanted, 4 (general) or 5 (important) times the root of the thinnest sheet.

    Unit: mm. Valid: thickness > 0. Source: [S42].

    >>> f"{nugget_target(1.2).one():.5f}"
    '4.38178 mm'
    """
    t, k = given = columns(thinnest_mm, factor)
    with silent():
        return judged(k * np.sqrt(t), F_NUGGET, given, (Reason.OUT_OF_VALID_RANGE, t <= 0))
