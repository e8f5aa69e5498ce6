"""A uniformity survey from its whole recording: what it must hold (sections 2.3 and 6.11)."""

import numpy as np
import pytest

from analytics.formulas.pyrometry import Shortfall, survey_record
from analytics.result import Floats
from analytics.verdict import Verdict

MINUTES = np.arange(0.0, 61.0)
TRUE = np.minimum(780.0 + 10.0 * MINUTES, 850.0)[:, None] + np.array([0.0, 2.0, -3.0])


def verdict(time_s: Floats, scans: Floats, tolerance: float = 6.0) -> Verdict:
    return survey_record(time_s, scans, 850.0, tolerance).verdict


def test_a_whole_recording_passes_and_names_its_class() -> None:
    record = survey_record(MINUTES * 60, TRUE, 850.0, 6.0)
    assert record.verdict is Verdict.PASS
    assert record.shortfalls == ()
    assert record.survey is not None
    assert record.survey.furnace_class == "1"


def test_overshoot_in_the_approach_fails() -> None:
    scans = TRUE.copy()
    scans[5, 1] = 856.5  # one sensor, before the others have come up
    record = survey_record(MINUTES * 60, scans, 850.0, 6.0)
    assert record.verdict is Verdict.FAIL
    assert record.survey is not None
    assert record.survey.overshoot.value == pytest.approx(6.5)


def test_correction_decides() -> None:
    assert survey_record(MINUTES * 60, TRUE, 850.0, 3.0).verdict is Verdict.PASS
    assert survey_record(MINUTES * 60, TRUE, 850.0, 3.0, [0.0, 2.0, 0.0]).verdict is Verdict.FAIL


def test_sensor_gone_for_more_than_two_minutes_is_no_survey() -> None:
    scans = TRUE.copy()
    scans[30:32, 2] = np.nan  # three minutes between its readings
    record = survey_record(MINUTES * 60, scans, 850.0, 6.0)
    assert record.shortfalls == (Shortfall.SENSOR_MISSING,)
    assert record.verdict is Verdict.INCOMPLETE
    scans[31, 2] = 847.0  # two minutes
    assert verdict(MINUTES * 60, scans) is Verdict.PASS


@pytest.mark.parametrize(
    ("keep", "shortfall"),
    [
        (slice(3, None), Shortfall.BEGUN_LATE),
        (slice(None, 35), Shortfall.ENDED_EARLY),
        (slice(None, None, 3), Shortfall.SCANS_APART),
        (slice(None, 6), Shortfall.NOT_STABLE),
    ],
)
def test_shortfalls(keep: slice, shortfall: Shortfall) -> None:
    record = survey_record(MINUTES[keep] * 60, TRUE[keep], 850.0, 6.0)
    assert shortfall in record.shortfalls
    assert record.verdict is Verdict.INCOMPLETE


def test_nothing_recorded_is_incomplete() -> None:
    assert verdict(np.zeros(0), np.zeros((0, 3))) is Verdict.INCOMPLETE
