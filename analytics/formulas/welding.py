"""Arc welding: energy, cooling time, carbon equivalents, deposition (section 3.2).

* Columns broadcast; a NaN or None input is MISSING_INPUT. Series take `Samples`.
* Arc energy is without, heat input with the thermal efficiency k: a record says which one it holds.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.formulas.constants import S_PER_MIN
from analytics.result import Column, Floats, Formula, Reason, Result, Results, columns, judged, outside, ratio, silent
from analytics.time_series import Samples, integral

F_ENERGY: Final = Formula("F-WLD-01", "kJ/mm", "1 arc energy")
F_HEAT: Final = Formula("F-WLD-01", "kJ/mm", "1 heat input")
F_JOULE: Final = Formula("F-WLD-02", "J")
F_POWER: Final = Formula("F-WLD-02", "W")
F_WAVE: Final = Formula("F-WLD-02", "kJ/mm")
F_T85_THICK: Final = Formula("F-WLD-03", "s", "1 three-dimensional")
F_T85_THIN: Final = Formula("F-WLD-03", "s", "1 two-dimensional")
F_T85: Final = Formula("F-WLD-03", "s")
F_TRANSITION: Final = Formula("F-WLD-03", "mm")
F_CE: Final = Formula("F-WLD-04", "%{wt}", "1 IIW")
F_CET: Final = Formula("F-WLD-04", "%{wt}", "1 CET")
F_PREHEAT: Final = Formula("F-WLD-04", "Cel")
F_DEPOSIT: Final = Formula("F-WLD-05", "kg/h")

_TABLES: Final[dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
DEFAULT_EFFICIENCY: Final[Mapping[str, float]] = _TABLES["thermal_efficiency"]


def arc_energy(volts: Column, amperes: Column, travel_mm_min: Column) -> Results:
    """F-WLD-01: arc energy 60 U I / (1000 v); for waveform-controlled arcs it is wrong, see F-WLD-02.

    Unit: kJ/mm. Valid: travel > 0. Source: [S35] [S38].

    >>> f"{arc_energy(26.5, 245, 380).one():.6f}"
    '1.025132 kJ/mm'
    """
    u, i, v = given = columns(volts, amperes, travel_mm_min)
    with silent():
        return judged(S_PER_MIN * u * i / (1e3 * v), F_ENERGY, given, (Reason.ZERO_DENOM, v <= 0))


def heat_input(arc_energy_kj_mm: Column, thermal_efficiency: Column) -> Results:
    """F-WLD-01: heat input, arc energy times the thermal efficiency of the process.

    Unit: kJ/mm. Valid: efficiency in 0 to 1. Source: [S35] [S36].

    >>> f"{heat_input(arc_energy(26.5, 245, 380).value, DEFAULT_EFFICIENCY['mag']).one():.6f}"
    '0.820105 kJ/mm'
    """
    energy, k = given = columns(arc_energy_kj_mm, thermal_efficiency)
    with silent():
        return judged(k * energy, F_HEAT, given, outside(k, 0, 1))


def instantaneous_energy(volts: Samples, amperes: npt.ArrayLike) -> Result:
    """F-WLD-02: instantaneous energy, the integral of u i over time.

    `volts` are the samples of the voltage, `amperes` the current at the same instants; use no NaN in a burst. A gap
    makes the whole LOW_COVERAGE.
    Unit: J. Valid: sampled at 10 times the pulse frequency or faster, no gap. Source: ISO/TR 18491 [S37].

    >>> f"{instantaneous_energy(Samples.of([0.0, 0.1, 0.2], [20.0, 20.0, 20.0]), [100.0, 100.0, 100.0]):.1f}"
    '400.0 J'
    """
    (current,) = columns(amperes)
    power = Samples.of(volts.time_s, volts.value * current, volts.nominal_s)
    whole = integral(power)
    given = (volts.time_s, volts.value, current)
    few = (Reason.MISSING_INPUT, power.value.size < max(2, current.size))
    return judged(whole.partial, F_JOULE, given, few, evidence=whole.evidence()).one()


def instantaneous_power(volts: npt.ArrayLike, amperes: npt.ArrayLike) -> Results:
    """F-WLD-02: instantaneous power, the mean of u i over equidistant samples of the last axis.

    The product of the means is wrong for a pulsed arc. A NaN in a window is MISSING_INPUT.
    Unit: W. Valid: equidistant samples. Source: ISO/TR 18491 [S37].

    >>> f"{instantaneous_power([35, 20], [400, 80]).one():.1f}"
    '7800.0 W'
    """
    u, i = given = columns(volts, amperes)
    with silent():
        value = np.mean(u * i, axis=-1) if u.shape[-1] else np.full(u.shape[:-1], np.nan)
        return judged(value, F_POWER, given, (Reason.MISSING_INPUT, ~np.isfinite(value)))


def arc_energy_of_power(power_w: Column, travel_mm_s: Column) -> Results:
    """F-WLD-02: arc energy from instantaneous power and travel speed.

    Unit: kJ/mm. Valid: travel > 0. Source: ISO/TR 18491 [S37].

    >>> f"{arc_energy_of_power(7800, 6).one():.3f} {arc_energy_of_power(27.5 * 240, 6).one():.3f}"
    '1.300 kJ/mm 1.100 kJ/mm'
    """
    power, v = given = columns(power_w, travel_mm_s)
    with silent():
        return judged(power / v / 1e3, F_WAVE, given, (Reason.ZERO_DENOM, v <= 0))


def arc_energy_of_seam(energy_j: Column, length_mm: Column) -> Results:
    """F-WLD-02: arc energy from instantaneous energy and weld length.

    Unit: kJ/mm. Valid: length > 0. Source: ISO/TR 18491 [S37].

    >>> f"{arc_energy_of_seam(130_000, 100).one():.3f}"
    '1.300 kJ/mm'
    """
    energy, length = given = columns(energy_j, length_mm)
    with silent():
        return judged(energy / length / 1e3, F_WAVE, given, (Reason.ZERO_DENOM, length <= 0))


def cooling_time_thick(heat_kj_mm: Column, preheat_c: Column, *, shape_factor: Column = 1.0) -> Results:
    """F-WLD-03: weld cooling time t8/5, three-dimensional heat flow; `heat_kj_mm` is with k, factor F3 [GK].

    Unit: s. Valid: preheat below 500 °C (else no value), low-alloy steel. Source: [S39].

    >>> f"{cooling_time_thick(1.2, 100).one():.5f}"
    '7.97143 s'
    """
    q, t0, factor = given = columns(heat_kj_mm, preheat_c, shape_factor)
    with silent():
        value = (6700 - 5 * t0) * q * (1 / (500 - t0) - 1 / (800 - t0)) * factor
        return judged(np.where(t0 < 500, value, np.nan), F_T85_THICK, given, (Reason.OUT_OF_VALID_RANGE, t0 >= 500))


def cooling_time_thin(
    heat_kj_mm: Column, preheat_c: Column, thickness_mm: Column, *, shape_factor: Column = 1.0
) -> Results:
    """F-WLD-03: weld cooling time t8/5, two-dimensional heat flow; `heat_kj_mm` is with k, factor F2 [GK].

    Unit: s. Valid: preheat below 500 °C (else no value), low-alloy steel, thickness > 0. Source: [S39].

    >>> f"{cooling_time_thin(1.2, 100, 10).one():.5f}"
    '23.45694 s'
    """
    q, t0, d, factor = given = columns(heat_kj_mm, preheat_c, thickness_mm, shape_factor)
    with silent():
        span = (1 / (500 - t0)) ** 2 - (1 / (800 - t0)) ** 2
        value = (4300 - 4.3 * t0) * 1e5 * (q / d) ** 2 * span * factor
        hot = (Reason.OUT_OF_VALID_RANGE, t0 >= 500)
        return judged(np.where(t0 < 500, value, np.nan), F_T85_THIN, given, (Reason.ZERO_DENOM, d <= 0), hot)


def transition_thickness(heat_kj_mm: Column, preheat_c: Column) -> Results:
    """F-WLD-03: thickness at which two- and three-dimensional heat flow give the same t8/5 (shape factors 1).

    Unit: mm. Valid: preheat below 500 °C (else no value). Source: derived from [S39].

    >>> f"{transition_thickness(1.2, 100).one():.5f}"
    '17.15409 mm'
    """
    q, t0 = given = columns(heat_kj_mm, preheat_c)
    with silent():
        square = (4300 - 4.3 * t0) / (6700 - 5 * t0) * 1e5 * q * (1 / (500 - t0) + 1 / (800 - t0))
        value = np.where(t0 < 500, np.sqrt(square), np.nan)
        return judged(value, F_TRANSITION, given, (Reason.OUT_OF_VALID_RANGE, (t0 >= 500) | (q < 0)))


def cooling_time(
    heat_kj_mm: Column,
    preheat_c: Column,
    thickness_mm: Column,
    *,
    thick_factor: Column = 1.0,
    thin_factor: Column = 1.0,
) -> Results:
    """F-WLD-03: weld cooling time t8/5 of a plate, three-dimensional from the transition thickness on.

    Unit: s. Valid: preheat below 500 °C (else no value), low-alloy steel, thickness > 0. Source: [S39].

    >>> [f"{r:.5f}" for r in cooling_time(1.2, 100, [20, 10])]
    ['7.97143 s', '23.45694 s']
    """
    q, t0, d, f3, f2 = given = columns(heat_kj_mm, preheat_c, thickness_mm, thick_factor, thin_factor)
    with silent():
        thick = cooling_time_thick(q, t0, shape_factor=f3).value
        thin = cooling_time_thin(q, t0, d, shape_factor=f2).value
        value = np.where(d >= transition_thickness(q, t0).value, thick, thin)
        hot = (Reason.OUT_OF_VALID_RANGE, t0 >= 500)
        return judged(value, F_T85, given, (Reason.ZERO_DENOM, d <= 0), hot)


def carbon_equivalent(  # one argument an element
    *,
    carbon: Column,
    manganese: Column,
    chromium: Column,
    molybdenum: Column,
    vanadium: Column,
    nickel: Column,
    copper: Column,
) -> Results:
    """F-WLD-04: carbon equivalent CE of the IIW, contents in mass percent.

    Unit: %{wt}. Valid: contents >= 0. Source: [S40].

    >>> steel = {"carbon": 0.16, "manganese": 1.4, "chromium": 0.05, "molybdenum": 0.02, "nickel": 0.05, "copper": 0.05}
    >>> f"{carbon_equivalent(**steel, vanadium=0).one():.4f}"
    '0.4140 %{wt}'
    """
    given = columns(carbon, manganese, chromium, molybdenum, vanadium, nickel, copper)
    with silent():
        c, mn, cr, mo, v, ni, cu = given
        return judged(c + mn / 6 + (cr + mo + v) / 5 + (ni + cu) / 15, F_CE, given, _negative(given))


def carbon_equivalent_thermal(
    *, carbon: Column, manganese: Column, chromium: Column, molybdenum: Column, nickel: Column, copper: Column
) -> Results:
    """F-WLD-04: carbon equivalent CET, contents in mass percent.

    Unit: %{wt}. Valid: contents >= 0. Source: [GK].

    >>> cet = carbon_equivalent_thermal(carbon=.16, manganese=1.4, chromium=.05, molybdenum=.02, nickel=.05, copper=.05)
    >>> f"{cet.one():.5f}"
    '0.30825 %{wt}'
    """
    c, mn, cr, mo, ni, cu = given = columns(carbon, manganese, chromium, molybdenum, nickel, copper)
    with silent():
        return judged(c + (mn + mo) / 10 + (cr + cu) / 20 + ni / 40, F_CET, given, _negative(given))


def preheat_temperature(cet: Column, thickness_mm: Column, hydrogen_ml_100g: Column, heat_kj_mm: Column) -> Results:
    """F-WLD-04: preheat temperature by method B.

    Unit: Cel. Valid: CET 0.2 to 0.5, thickness 10 to 90 mm, hydrogen 1 to 20 ml/100 g, Q 0.5 to 4 kJ/mm. Source: [GK].

    >>> f"{preheat_temperature(0.30825, 30, 5, 1.2).one():.3f}"
    '88.121 Cel'
    """
    c, d, hydrogen, q = given = columns(cet, thickness_mm, hydrogen_ml_100g, heat_kj_mm)
    with silent():
        value = 697 * c + 160 * np.tanh(d / 35) + 62 * hydrogen**0.35 + (53 * c - 32) * q - 328
        ranges = outside(c, 0.2, 0.5), outside(d, 10, 90), outside(hydrogen, 1, 20), outside(q, 0.5, 4)
        return judged(value, F_PREHEAT, given, *ranges)


def deposition_rate(
    feed_m_min: Column, wire_mm: Column, *, density_kg_m3: Column = 7850.0, efficiency: Column = 0.95
) -> Results:
    """F-WLD-05: deposition rate from wire feed speed; default steel wire.

    Unit: kg/h. Valid: feed >= 0, efficiency 0 to 1. Source: section 3.2.

    >>> f"{deposition_rate(9, 1.2).one():.5f}"
    '4.55449 kg/h'
    """
    feed, d, density, yielded = given = columns(feed_m_min, wire_mm, density_kg_m3, efficiency)
    with silent():
        value = 60 * feed * (np.pi * d**2 / 4) * 1e-6 * density * yielded
        return judged(value, F_DEPOSIT, given, (Reason.OUT_OF_VALID_RANGE, feed < 0), outside(yielded, 0, 1))


def arc_on_factor(arc_on_s: Column, shift_s: Column) -> Results:
    """F-WLD-06: arc-on factor, arc time over shift time.

    Unit: 1. Valid: shift > 0. Source: section 3.2.

    >>> f"{arc_on_factor(7200, 28_800).one():.2f}"
    '0.25 1'
    """
    return ratio(arc_on_s, shift_s, Formula("F-WLD-06", "1"))


def _negative(contents: tuple[Floats, ...]) -> tuple[Reason, npt.ArrayLike]:
    return Reason.OUT_OF_VALID_RANGE, np.any(np.stack(np.broadcast_arrays(*contents)) < 0, axis=0)
