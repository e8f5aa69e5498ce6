"""Injection moulding: cushion, cavity pressure, clamp (section 5.2).

* Columns broadcast; a NaN or None input is MISSING_INPUT.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import Column, Evidence, Formula, Reason, Result, Results, columns, judged, ratio, silent
from analytics.time_series import Samples, integral

F_CUSHION_LEAST: Final = Formula("F-INJ-01", "mm", "1 minimum")
F_CUSHION_END: Final = Formula("F-INJ-01", "mm", "1 end of hold")
F_CUSHION_PART: Final = Formula("F-INJ-01", "1")
F_CAVITY: Final = Formula("F-INJ-02", "MPa.s")
F_CAVITY_PEAK: Final = Formula("F-INJ-02", "MPa")
F_CAVITY_TIME: Final = Formula("F-INJ-02", "s")
F_CLAMP: Final = Formula("F-INJ-03", "kN")


def cushion(screw_mm: npt.ArrayLike) -> Result:
    """F-INJ-01: cushion, the lowest screw position during fill and hold; NaN samples are left out.

    Unit: mm. Valid: at least one sample. Source: [S50].

    >>> f"{cushion([60, 20, 4.1, 3.9, 4.0]):.1f}"
    '3.9 mm'
    """
    (screw,) = given = columns(screw_mm)
    good = screw[np.isfinite(screw)]
    none = (Reason.MISSING_INPUT, good.size == 0)
    value = np.min(good, initial=np.inf)
    return judged(value, F_CUSHION_LEAST, given, none, evidence=Evidence(good.size)).one()


def cushion_at_end_of_hold(screw_mm: npt.ArrayLike) -> Result:
    """F-INJ-01: cushion by the other definition, the screw position at the end of hold.

    Unit: mm. Valid: a last sample. Source: [S50].

    >>> f"{cushion_at_end_of_hold([60, 20, 4.1, 3.9, 4.0]):.1f}"
    '4.0 mm'
    """
    (screw,) = given = columns(screw_mm)
    last = screw[-1] if screw.size else np.nan
    return judged(last, F_CUSHION_END, given, (Reason.MISSING_INPUT, not np.isfinite(last))).one()


def cushion_fraction(cushion_amount: Column, shot_amount: Column) -> Results:
    """F-INJ-01: cushion over shot, both in the same unit; 0.05 to 0.10 is the target [S51].

    Unit: 1. Valid: shot > 0. Source: [S51].

    >>> f"{cushion_fraction(1.75, 52).one():.5f}"
    '0.03365 1'
    """
    return ratio(cushion_amount, shot_amount, F_CUSHION_PART)


@dataclass(frozen=True, slots=True)
class CavityPressure:
    """Features of a cavity pressure curve."""

    integral: Result
    peak: Result
    peak_time: Result


def cavity_pressure(pressure: Samples) -> CavityPressure:
    """F-INJ-02: integral, peak and time to peak of a cavity pressure; `pressure` is in MPa over s.

    A gap makes all three LOW_COVERAGE: the peak may lie in it.
    Unit: MPa.s. Valid: at least two samples, no gap. Source: section 5.2.

    >>> curve = cavity_pressure(Samples.of(np.arange(9) * 0.5, [0, 12, 35, 48, 45, 38, 25, 8, 0]))
    >>> f"{curve.integral:.1f} {curve.peak:.0f} {curve.peak_time:.1f}"
    '105.5 MPa.s 48 MPa 1.5 s'
    """
    whole = integral(pressure)
    few = (Reason.MISSING_INPUT, pressure.time_s.size < 2)
    at = int(np.argmax(pressure.value)) if pressure.value.size else 0
    peak, when = (pressure.value[at], pressure.time_s[at]) if pressure.value.size else (np.nan, np.nan)
    given, evidence = (pressure.time_s, pressure.value), whole.evidence()
    start = pressure.time_s[0] if pressure.time_s.size else 0.0
    return CavityPressure(
        integral=judged(whole.partial, F_CAVITY, given, few, evidence=evidence).one(),
        peak=judged(peak, F_CAVITY_PEAK, given, few, evidence=evidence).one(),
        peak_time=judged(when - start, F_CAVITY_TIME, given, few, evidence=evidence).one(),
    )


def clamp_need(mean_cavity_mpa: Column, projected_mm2: Column) -> Results:
    """F-INJ-03: clamping force needed, mean cavity pressure times projected area.

    Unit: kN. Valid: pressure and area >= 0. Source: section 5.2.

    >>> f"{clamp_need(35, 42_000).one():.1f}"
    '1470.0 kN'
    """
    pressure, area = given = columns(mean_cavity_mpa, projected_mm2)
    with silent():
        return judged(pressure * area / 1e3, F_CLAMP, given, (Reason.OUT_OF_VALID_RANGE, (pressure < 0) | (area < 0)))
