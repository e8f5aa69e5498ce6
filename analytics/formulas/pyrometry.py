"""Temperature uniformity surveys and system accuracy tests (section 2.3).

* The tables of the standards are data: a plant passes its licensed ones; the defaults lie in `pyrometry.toml`.
* A survey in which a sensor was missing for more than two minutes is invalid, whatever the other sensors say.
"""

import enum
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
class Requirements:
    """What a recording must hold to be a survey; defaults of the open excerpts [S15] [GK]."""

    begin_below_c: float = 55.0
    scan_s: float = 120.0
    hold_s: float = 1800.0


DEFAULT_REQUIREMENTS: Final = Requirements()


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


class Shortfall(enum.StrEnum):
    """Why a recording is no survey."""

    BEGUN_LATE = "begun_late"  # recording began less than 55 K below the setpoint
    SCANS_APART = "scans_apart"  # more than two minutes between two sets of readings
    SENSOR_MISSING = "sensor_missing"  # a sensor without a reading for more than two minutes
    NOT_STABLE = "not_stable"  # never were all sensors in tolerance
    ENDED_EARLY = "ended_early"  # less than 30 minutes after stabilisation


@dataclass(frozen=True, slots=True)
class SurveyRecord:
    """A whole recording of a survey, from the approach on.

    Attributes:
        survey: of the scans from stabilisation on, the approach counted in its overshoot; None when never stable.
        stable_s: the first scan at which no sensor is below the tolerance, s.
        shortfalls: what the recording lacks.
        verdict: INCOMPLETE with any shortfall, else PASS or FAIL against the tolerance.
    """

    survey: Survey | None
    stable_s: float | None
    shortfalls: tuple[Shortfall, ...]
    verdict: Verdict


def survey_record(
    time_s: npt.ArrayLike,
    readings_c: npt.ArrayLike,
    setpoint_c: float,
    tolerance_c: float,
    correction: npt.ArrayLike = 0.0,
    *,
    requirements: Requirements = DEFAULT_REQUIREMENTS,
    classes: Mapping[str, float] = DEFAULT_UNIFORMITY,
) -> SurveyRecord:
    """F-HT-03: a survey from its whole recording, approach and overshoot included.

    `readings_c` is (scans, sensors), NaN where a sensor gave none; `correction` of sensor and instrument together.
    No sensor may exceed the setpoint by more than the tolerance at any time.
    Unit: Cel. Valid: begun 55 K below, scans and sensors at most 2 min apart, 30 min after stabilisation [GK].
    Source: [S15].

    >>> minutes = np.arange(0.0, 61.0)
    >>> scans = np.minimum(780 + 10 * minutes, 850)[:, None] + [0.0, 2.0, -3.0]
    >>> record = survey_record(minutes * 60, scans, 850, 6)
    >>> f"{record.stable_s:.0f} {record.survey.above:+.1f} {record.survey.below:+.1f} {record.verdict}"
    '420 +2.0 Cel -3.0 Cel pass'
    >>> survey_record(minutes * 60, scans - 2 * (minutes[:, None] > 20), 850, 4).verdict.value
    'fail'
    >>> [fault.value for fault in survey_record(minutes[5:30] * 60, scans[5:30], 850, 6).shortfalls]
    ['begun_late', 'ended_early']
    """
    when, raw, cf = columns(time_s, readings_c, correction)
    deviation = raw + cf - setpoint_c
    with silent():
        recovered = np.flatnonzero(np.all(deviation >= -tolerance_c, axis=1)) if raw.size else np.zeros(0, np.int64)
    first = int(recovered[0]) if recovered.size else None
    survey = None
    if first is not None:
        survey = uniformity_survey(
            when[first:],
            raw[first:],
            setpoint_c,
            cf,
            approach_c=raw[:first] if first else None,
            classes=classes,
            longest_missing_s=requirements.scan_s,
        )
    lacks = {
        Shortfall.BEGUN_LATE: not raw.size
        or not np.nanmax(deviation[0], initial=-np.inf) <= -requirements.begin_below_c,
        Shortfall.SCANS_APART: bool(np.any(np.diff(when) > requirements.scan_s)),
        Shortfall.SENSOR_MISSING: _longest_missing(when, raw) > requirements.scan_s,
        Shortfall.NOT_STABLE: survey is None,
        Shortfall.ENDED_EARLY: survey is not None and survey.duration_s < requirements.hold_s,
    }
    shortfalls = tuple(name for name, holds in lacks.items() if holds)
    if shortfalls or survey is None:
        verdict = Verdict.INCOMPLETE
    else:
        verdict = Verdict.PASS if _meets([survey.above, survey.below, survey.overshoot], tolerance_c) else Verdict.FAIL
    stable_s = None if first is None else float(when[first])
    return SurveyRecord(survey, stable_s, shortfalls, verdict)


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
