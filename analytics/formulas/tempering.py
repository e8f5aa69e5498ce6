"""Tempering and stress relief: one number for time and temperature (section 2.5).

* Columns broadcast; a NaN or None input is MISSING_INPUT.
* Kelvin is °C + 273.15; some printed examples use 273.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.formulas.constants import CELSIUS_ZERO_K
from analytics.result import Column, Evidence, Formula, Reason, Result, Results, columns, judged, silent

F_HOLLOMON: Final = Formula("F-HT-12", "1")
F_RAMP: Final = Formula("F-HT-12", "h")
F_LARSON: Final = Formula("F-HT-13", "K")


def hollomon_jaffe(temp_c: Column, hours: Column, *, constant: Column = 20.0) -> Results:
    """F-HT-12: Hollomon-Jaffe tempering parameter, T_K (C + log10 h) / 1000; the time is in hours for C = 20.

    Unit: 1. Valid: time > 0. Source: [S30].

    >>> f"{hollomon_jaffe(600, 2).one():.5f}"
    '17.72584 1'
    """
    temp, time, c = given = columns(temp_c, hours, constant)
    with silent():
        value = (temp + CELSIUS_ZERO_K) * (c + np.log10(time)) / 1e3
        return judged(value, F_HOLLOMON, given, (Reason.OUT_OF_VALID_RANGE, time <= 0))


def hollomon_jaffe_steps(temp_c: npt.ArrayLike, hours: npt.ArrayLike, *, constant: float = 20.0) -> Result:
    """F-HT-12: tempering parameter of several steps, each converted to time at the highest step temperature.

    `temp_c` and `hours` are (steps,). The result depends slightly on that temperature, hence the convention.
    Unit: 1. Valid: every time > 0, at least one step. Source: [S30].

    >>> f"{hollomon_jaffe_steps([600], [2]):.5f}", f"{hollomon_jaffe_steps([600, 600], [1, 1]):.5f}"
    ('17.72584 1', '17.72584 1')
    """
    temp, time = given = columns(temp_c, hours)
    with silent():
        parameter = hollomon_jaffe(temp, time, constant=constant).value
        highest_k = np.max(temp, initial=-np.inf) + CELSIUS_ZERO_K
        total_h = np.sum(10 ** (1e3 * parameter / highest_k - constant))
        value = highest_k * (constant + np.log10(total_h)) / 1e3
    missing = (Reason.MISSING_INPUT, not np.isfinite(parameter).all() or temp.size == 0)
    hashed = (*given, np.array([constant]))
    return judged(value, F_HOLLOMON, hashed, missing, evidence=Evidence(temp.size)).one()


def ramp_equivalent_time(temp_c: Column, rate_c_h: Column, *, constant: Column = 20.0) -> Results:
    """F-HT-12: time at temperature that heating up at a constant rate is worth.

    The printed example rounds 600 °C to 873 K, that is 599.85 °C here.
    Unit: h. Valid: rate > 0. Source: [S31].

    >>> f"{ramp_equivalent_time(599.85, 100).one():.5f}"
    '0.21087 h'
    """
    temp, rate, c = given = columns(temp_c, rate_c_h, constant)
    with silent():
        below = 2.3 * rate * (c - np.log10(rate))
        return judged((temp + CELSIUS_ZERO_K) / below, F_RAMP, given, (Reason.ZERO_DENOM, (rate <= 0) | (below <= 0)))


def larson_miller(temp_c: Column, hours: Column, *, constant: Column = 20.0) -> Results:
    """F-HT-13: Larson-Miller parameter, T_K (C + log10 h); often printed divided by 1000.

    Unit: K. Valid: time > 0. Source: section 2.5.

    >>> f"{larson_miller(625, 3).one():.1f}"
    '18391.5 K'
    """
    temp, time, c = given = columns(temp_c, hours, constant)
    with silent():
        value = (temp + CELSIUS_ZERO_K) * (c + np.log10(time))
        return judged(value, F_LARSON, given, (Reason.OUT_OF_VALID_RANGE, time <= 0))
