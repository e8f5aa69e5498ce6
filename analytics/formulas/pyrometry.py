"""Temperature uniformity surveys and system accuracy tests (section 2.3).

* The tables of the standards are data: a plant passes its licensed ones; the defaults lie in `pyrometry.toml`.
* A survey in which a sensor was missing for more than two minutes is invalid, whatever the other sensors say.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analytics.result import Column, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, silent
from analytics.verdict import Verdict

F_TUS: Final = Formula("F-HT-03", "Cel")
F_SAT: Final = Formula("F-HT-04", "Cel")

_TABLES: Final[dict[str, Any]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class SatLimit:
    """The larger of `absolute_c` and `percent` of the reading."""

    absolute_c: float
    percent: float


TABLE_REVISION: Final[str] = _TABLES["revision"]
DEFAULT_UNIFORMITY: Final[Mapping[str, float]] = _TABLES["uniformity_c"]
DEFAULT_SAT: Final[Mapping[str, SatLimit]] = {name: SatLimit(**row) for name, row in _TABLES["sat"].items()}


@dataclass(frozen=True, slots=True)
class Survey:
    """A temperature uniformity survey.

    Attributes:
        above: largest deviation above the setpoint after stabilisation.
        below: largest deviation below it (negative).
        overshoot: largest deviation at any time, approach included.
        duration_s: from the first to the last scan after stabilisation.
        furnace_class: the narrowest class that all three meet; None when there is none, or the survey is invalid.
    """

    above: Result
    below: Result
    overshoot: Result
    duration_s: float
    furnace_class: str | None


def uniformity_survey(  # noqa: PLR0913  # what a survey sheet holds
    time_s: npt.ArrayLike,
    readings_c: npt.ArrayLike,
    setpoint_c: float,
    sensor_correction: npt.ArrayLike = 0.0,
    instrument_correction: npt.ArrayLike = 0.0,
    *,
    approach_c: npt.ArrayLike | None = None,
    classes: Mapping[str, float] = DEFAULT_UNIFORMITY,
    longest_missing_s: float = 120.0,
) -> Survey:
    """F-HT-03: temperature uniformity survey, corrected extremes against the setpoint and the class they meet.

    `readings_c` is (scans, sensors) after stabilisation, `approach_c` (scans, sensors) before it; corrections are one
    number or one a sensor. A sensor without a reading for more than two minutes makes all three MISSING_INPUT.
    Unit: Cel. Valid: every sensor read at least every two minutes. Source: [S15] [S16].

    >>> scans = [[846.2, 848.9, 851.0, 853.4, 849.5], [847.0, 849.6, 851.8, 854.1, 850.2],
    ...          [847.4, 850.1, 852.2, 855.0, 850.6], [847.1, 849.8, 852.0, 854.6, 850.3]]
    >>> survey = uniformity_survey([0, 60, 120, 180], scans, 850, [0.3, -0.2, 0.1, 0.4, -0.1])
    >>> f"{survey.above:+.1f} {survey.below:+.1f} class {survey.furnace_class}"
    '+5.4 Cel -3.5 Cel class 2'
    """
    when, raw, cf_sensor, cf_instrument = columns(time_s, readings_c, sensor_correction, instrument_correction)
    correction = cf_sensor + cf_instrument
    deviation = raw + correction - setpoint_c
    (approach,) = columns(np.empty((0, 1)) if approach_c is None else approach_c)
    rise = approach + (correction if approach.size else 0.0) - setpoint_c
    given = (when, raw, cf_sensor, cf_instrument, approach, np.array([setpoint_c]))
    absent = (Reason.MISSING_INPUT, _longest_missing(when, raw) > longest_missing_s)
    evidence = Evidence(int(np.sum(np.isfinite(raw))))
    above, below = np.nanmax(deviation, initial=-np.inf), np.nanmin(deviation, initial=np.inf)
    overshoot = max(above, np.nanmax(rise, initial=-np.inf))
    found = [judged(value, F_TUS, given, absent, evidence=evidence).one() for value in (above, below, overshoot)]
    fits = (name for name, tolerance in sorted(classes.items(), key=lambda row: row[1]) if _meets(found, tolerance))
    duration_s = float(np.ptp(when)) if when.size else 0.0
    return Survey(found[0], found[1], found[2], duration_s, next(fits, None))


def _longest_missing(time_s: Floats, readings: Floats) -> float:
    """The longest time between good readings of any sensor, the ends of the survey included; s."""
    longest = 0.0 if readings.size else np.inf
    for sensor in readings.T:
        seen = time_s[np.isfinite(sensor)]
        if not seen.size:
            return np.inf
        edges = np.concatenate([time_s[:1], seen, time_s[-1:]])
        longest = max(longest, float(np.max(np.diff(edges))))
    return longest


def _meets(deviations: list[Result], tolerance: float) -> bool:
    return all(d.value is not None and abs(d.value) <= tolerance + 1e-9 for d in deviations[:2]) and (
        deviations[2].value is not None and deviations[2].value <= tolerance + 1e-9
    )


def sat_difference(
    control_c: Column,
    test_c: Column,
    manual_correction: Column = 0.0,
    test_sensor_correction: Column = 0.0,
    test_instrument_correction: Column = 0.0,
) -> Results:
    """F-HT-04: system accuracy difference, corrected control reading less corrected test reading.

    Unit: Cel. Valid: all readings present. Source: [S17] [S18].

    >>> f"{sat_difference(845.0, 842.6, 0.0, 0.8, 0.1).one():+.2f}"
    '+1.50 Cel'
    """
    given = columns(control_c, test_c, manual_correction, test_sensor_correction, test_instrument_correction)
    with silent():
        control, test, manual, cf_sensor, cf_instrument = given
        return judged(control + manual - (test + cf_sensor + cf_instrument), F_SAT, given)


def sat_limit(reading_c: Column, limit: SatLimit) -> Results:
    """F-HT-04: limit of a system accuracy test, the larger of the absolute and the relative one.

    Unit: Cel. Valid: reading > 0. Source: [S17] [GK].

    >>> f"{sat_limit(845.0, DEFAULT_SAT['class1']).one():.2f} {sat_limit(845.0, DEFAULT_SAT['class2']).one():.2f}"
    '1.69 Cel 1.70 Cel'
    """
    reading, absolute, percent = given = columns(reading_c, limit.absolute_c, limit.percent)
    with silent():
        value = np.maximum(absolute, percent / 100 * reading)
        return judged(value, F_SAT, given, (Reason.OUT_OF_VALID_RANGE, reading <= 0))


def sat_verdict(difference: Result, limit: Result) -> Verdict:
    """F-HT-04: verdict of a system accuracy test; without a value INCOMPLETE.

    Unit: verdict. Valid: both values present. Source: [S17].

    >>> difference = sat_difference(845.0, 842.6, 0.0, 0.8, 0.1).one()
    >>> [sat_verdict(difference, sat_limit(845.0, DEFAULT_SAT[c]).one()).value for c in ("class2", "cqi9-probe")]
    ['pass', 'pass']
    """
    if difference.value is None or limit.value is None:
        return Verdict.INCOMPLETE
    return Verdict.PASS if abs(difference.value) <= limit.value + 1e-9 else Verdict.FAIL
