"""Furnace atmosphere and carbon: oxygen probe, carbon potential, dew point, case depth, carbon profile (section 2.4).

* Columns broadcast; a NaN or None input is MISSING_INPUT. Nothing is clipped.
* While the probe burns off its reading means nothing: `burn_off` true is BAD_QUALITY.
"""

from typing import Final

import numpy as np
from scipy import special

from analytics.formulas.constants import CELSIUS_ZERO_K, RANKINE_PER_K, S_PER_H
from analytics.result import Column, Condition, Floats, Formula, Reason, Results, columns, judged, outside, silent

F_OXYGEN: Final = Formula("F-HT-06", "%")
F_CARBON: Final = Formula("F-HT-07", "%{wt}")
F_EMF: Final = Formula("F-HT-07", "mV")
F_EMF_EQUILIBRIUM: Final = Formula("F-HT-07", "mV", "1 equilibrium")
F_FACTOR: Final = Formula("F-HT-07", "1")
F_DEW: Final = Formula("F-HT-08", "Cel")
F_DEPTH: Final = Formula("F-HT-09", "mm", "1 metric")
F_DEPTH_INCH: Final = Formula("F-HT-09", "mm", "1 inch")
F_DEPTH_TIME: Final = Formula("F-HT-09", "h", "1 metric")
F_BOOST: Final = Formula("F-HT-10", "h")
F_DIFFUSIVITY: Final = Formula("F-HT-11", "cm2/s")
F_PROFILE: Final = Formula("F-HT-11", "%{wt}")

NERNST_MV_K: Final = 8.314462618 / (4 * 96485.33212) * 1e3
"""R / 4F in mV/K, printed as 0.0215433; the rounded one moves the oxygen by 7e-5 of itself at 1120 mV."""
PROBE_MV_K: Final = 0.043102
"""R / 2F in mV/K, as the probe vendor prints it [S25]."""
IRON_CONSTANT: Final = 5.102
MM_PER_INCH: Final = 25.4


def oxygen(
    probe_mv: Column, temp_c: Column, *, constant_mv_k: Column = NERNST_MV_K, air: Column = 0.2095, burn_off: Column = 0
) -> Results:
    """F-HT-06: oxygen from a zirconia probe; vendors round the constant, so it is a parameter.

    Unit: %. Valid: temperature above -273.15 °C. Source: [S25] [S26].

    >>> f"{oxygen(1120, 925).one():.5e}"
    '2.99889e-18 %'
    """
    given = columns(probe_mv, temp_c, constant_mv_k, air, burn_off)
    probe, temp, k, reference, burning = given
    with silent():
        kelvin = temp + CELSIUS_ZERO_K
        value = 100 * reference * np.exp(-probe / (k * kelvin))
        return judged(value, F_OXYGEN, given, _burning(burning), (Reason.ZERO_DENOM, k * kelvin <= 0))


def carbon_potential(
    probe_mv: Column, temp_c: Column, *, process_factor: Column = 150.0, burn_off: Column = 0
) -> Results:
    """F-HT-07: carbon potential from an oxygen probe, process-factor form; 150 is for 20 % CO endothermic gas.

    Unit: %{wt}. Valid: 800 to 1000 °C, 1000 to 1200 mV, 0.1 to 1.6 %C. Source: [S25].

    >>> f"{carbon_potential(1120, 925).one():.5f}"
    '0.60904 %{wt}'
    """
    probe, temp, factor, burning = given = columns(probe_mv, temp_c, process_factor, burn_off)
    with silent():
        activity = _activity(probe, temp)
        value = IRON_CONSTANT * activity / (29 * factor + 400 + activity)
        return judged(value, F_CARBON, given, _burning(burning), *_probe_range(probe, temp), outside(value, 0.1, 1.6))


def probe_voltage(carbon: Column, temp_c: Column, *, process_factor: Column = 150.0) -> Results:
    """F-HT-07: probe voltage that a carbon potential stands for, the inverse of `carbon_potential`.

    Unit: mV. Valid: 800 to 1000 °C, 0.1 to 1.6 %C, result 1000 to 1200 mV. Source: [S25].

    >>> f"{probe_voltage(carbon_potential(1120, 925).value, 925).one():.4f}"
    '1120.0000 mV'
    """
    c, temp, factor = given = columns(carbon, temp_c, process_factor)
    with silent():
        kelvin = temp + CELSIUS_ZERO_K
        value = 786 + PROBE_MV_K * kelvin * np.log(c * (29 * factor + 400) / (IRON_CONSTANT - c))
        return judged(value, F_EMF, given, *_probe_range(value, temp), outside(c, 0.1, 1.6))


def equilibrium_voltage(carbon: Column, temp_c: Column, *, co_fraction: Column = 0.20) -> Results:
    """F-HT-07: cross-check of the probe voltage by the handbook equilibrium form.

    Unit: mV. Valid: CO > 0, %C > 0. Source: [GK].

    >>> f"{equilibrium_voltage(0.60904, 925).one():.1f}"
    '1121.6 mV'
    """
    c, temp, co = given = columns(carbon, temp_c, co_fraction)
    with silent():
        kelvin = temp + CELSIUS_ZERO_K
        value = 816.1 + 0.0992 * kelvin * (1.995 + 0.15 * c + np.log10(c) - np.log10(co))
        return judged(value, F_EMF_EQUILIBRIUM, given, (Reason.ZERO_DENOM, co <= 0))


def process_factor(probe_mv: Column, temp_c: Column, carbon: Column) -> Results:
    """F-HT-07: process factor that makes the probe agree with a shim or three-gas carbon.

    Unit: 1. Valid: 800 to 1000 °C, 1000 to 1200 mV, %C > 0. Source: [S25].

    >>> f"{process_factor(1120, 925, carbon_potential(1120, 925).value).one():.4f}"
    '150.0000 1'
    """
    probe, temp, c = given = columns(probe_mv, temp_c, carbon)
    with silent():
        value = (_activity(probe, temp) * (IRON_CONSTANT / c - 1) - 400) / 29
        return judged(value, F_FACTOR, given, (Reason.ZERO_DENOM, c <= 0), *_probe_range(probe, temp))


def dew_point(probe_mv: Column, temp_c: Column, *, process_factor: Column = 150.0, burn_off: Column = 0) -> Results:
    """F-HT-08: dew point from an oxygen probe; 459.69 is the vendor's own zero of the Fahrenheit scale.

    Unit: Cel. Valid: 800 to 1000 °C, 1000 to 1200 mV. Source: [S25].

    >>> f"{dew_point(1120, 925).one():.3f}"
    '-2.944 Cel'
    """
    probe, temp, factor, burning = given = columns(probe_mv, temp_c, process_factor, burn_off)
    with silent():
        rankine = (temp + CELSIUS_ZERO_K) * RANKINE_PER_K
        below = 6.281216 + np.log10(29 * factor + 400) + (probe - 1267.8) / (0.05512 * rankine)
        fahrenheit = 4238.7 / below - 459.69
        value = (fahrenheit - 32) / RANKINE_PER_K
        bad = _burning(burning), (Reason.ZERO_DENOM, below <= 0)
        return judged(value, F_DEW, given, *bad, *_probe_range(probe, temp))


def case_depth(temp_c: Column, hours: Column, *, constant_mm: Column = 660.0, activation_k: Column = 8287.0) -> Results:
    """F-HT-09: total case depth by Harris, metric constants; saturated austenite, not effective depth, no heat-up.

    Unit: mm. Valid: time >= 0. Source: [S27] [S28].

    >>> f"{case_depth(925, 4).one():.5f}"
    '1.30851 mm'
    """
    temp, time, k, activation = given = columns(temp_c, hours, constant_mm, activation_k)
    with silent():
        value = k * np.sqrt(time) * np.exp(-activation / (temp + CELSIUS_ZERO_K))
        return judged(value, F_DEPTH, given)


def case_depth_inch_constants(
    temp_c: Column, hours: Column, *, constant_inch: Column = 31.6, activation_r: Column = 6700.0
) -> Results:
    """F-HT-09: total case depth by Harris, inch constants.

    The source prints °F + 460; the exact Rankine temperature is used, which is what the worked example holds.
    Unit: mm. Valid: time >= 0. Source: [S28] [GK].

    >>> f"{case_depth_inch_constants(925, 4).one():.5f}"
    '1.25577 mm'
    """
    temp, time, k, activation = given = columns(temp_c, hours, constant_inch, activation_r)
    with silent():
        rankine = (temp + CELSIUS_ZERO_K) * RANKINE_PER_K
        value = k * np.sqrt(time) * 10 ** (-activation / rankine) * MM_PER_INCH
        return judged(value, F_DEPTH_INCH, given)


def case_depth_time(
    depth_mm: Column, temp_c: Column, *, constant_mm: Column = 660.0, activation_k: Column = 8287.0
) -> Results:
    """F-HT-09: time to a total case depth, the inverse of `case_depth`.

    Unit: h. Valid: depth >= 0. Source: [S27].

    >>> f"{case_depth_time(1.0, 930).one():.5f}"
    '2.20566 h'
    """
    depth, temp, k, activation = given = columns(depth_mm, temp_c, constant_mm, activation_k)
    with silent():
        value = (depth / (k * np.exp(-activation / (temp + CELSIUS_ZERO_K)))) ** 2
        return judged(value, F_DEPTH_TIME, given, (Reason.OUT_OF_VALID_RANGE, depth < 0))


def boost_time(total_h: Column, surface: Column, boost: Column, core: Column) -> Results:
    """F-HT-10: boost time of a boost and diffuse carburising, carbon contents in mass percent.

    Unit: h. Valid: core < surface <= boost. Source: [GK].

    >>> f"{boost_time(6, 0.8, 1.2, 0.2).one():.2f}"
    '2.16 h'
    """
    total, c_surface, c_boost, c_core = given = columns(total_h, surface, boost, core)
    with silent():
        value = total * ((c_surface - c_core) / (c_boost - c_core)) ** 2
        odd = (Reason.OUT_OF_VALID_RANGE, (c_surface <= c_core) | (c_surface > c_boost))
        return judged(value, F_BOOST, given, (Reason.ZERO_DENOM, c_boost <= c_core), odd)


def carbon_diffusivity(
    temp_c: Column, *, prefactor_cm2_s: Column = 0.15, activation_j_mol: Column = 135e3, gas_j_mol_k: Column = 8.314
) -> Results:
    """F-HT-11: diffusivity of carbon in austenite.

    Unit: cm2/s. Valid: temperature above -273.15 °C. Source: [S29].

    >>> f"{carbon_diffusivity(925).one():.5e}"
    '1.95168e-07 cm2/s'
    """
    temp, d0, q, r = given = columns(temp_c, prefactor_cm2_s, activation_j_mol, gas_j_mol_k)
    with silent():
        kelvin = temp + CELSIUS_ZERO_K
        return judged(d0 * np.exp(-q / (r * kelvin)), F_DIFFUSIVITY, given, (Reason.ZERO_DENOM, kelvin <= 0))


def carbon_profile(
    depth_mm: Column, hours: Column, diffusivity_cm2_s: Column, surface: Column, core: Column
) -> Results:
    """F-HT-11: carbon content at a depth below a surface of constant carbon, in mass percent.

    Unit: %{wt}. Valid: depth >= 0, D t > 0. Source: [S29].

    >>> f"{carbon_profile(0.5, 4, carbon_diffusivity(925).value, 0.8, 0.2).one():.5f}"
    '0.50290 %{wt}'
    """
    depth, time, d, c_surface, c_core = given = columns(depth_mm, hours, diffusivity_cm2_s, surface, core)
    with silent():
        reach_cm = 2 * np.sqrt(d * time * S_PER_H)
        value = c_surface - (c_surface - c_core) * special.erf(depth / 10 / reach_cm)
        odd = (Reason.OUT_OF_VALID_RANGE, depth < 0)
        return judged(value, F_PROFILE, given, (Reason.ZERO_DENOM, d * time <= 0), odd)


def _activity(probe_mv: Floats, temp_c: Floats) -> Floats:
    return np.exp((probe_mv - 786) / (PROBE_MV_K * (temp_c + CELSIUS_ZERO_K)))


def _burning(burn_off: Floats) -> Condition:
    return Reason.BAD_QUALITY, burn_off != 0


def _probe_range(probe_mv: Floats, temp_c: Floats) -> tuple[Condition, Condition]:
    return outside(probe_mv, 1000, 1200), outside(temp_c, 800, 1000)
