"""What has no value says why: the negative tests of section 6.11 that concern formulas."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, strategies as st

from analytics import capability, energy, oee, spc
from analytics.calendar import MONTHLY, WEEKLY, YEARLY, Due, Period, due_date, due_state
from analytics.data_quality import spike_score
from analytics.formulas import (
    atmosphere,
    casting,
    heat_treatment,
    melting,
    plating,
    pyrometry,
    seam,
    surface_treatment,
    welding,
)
from analytics.formulas.heat_treatment import Band
from analytics.oee import Elements, planned_time
from analytics.result import Evidence, Floats, Reason, Results
from analytics.time_series import Samples, counter_delta, integral, time_weighted_mean
from analytics.verdict import Verdict

FIVE = (oee.availability, oee.effectiveness, oee.quality_ratio, oee.oee, oee.nee)


def _shift(**changed: float) -> Elements:
    usual = {
        "planned_busy_s": 27_000.0,
        "production_s": 23_700.0,
        "setup_s": 1500.0,
        "produced": 520.0,
        "good": 494.0,
        "planned_run_s": 21_840.0,
        "planned_good_s": 20_748.0,
    }
    return Elements(**(usual | changed))


def _said(found: Results) -> tuple[float | None, Reason]:
    return found.one().value, found.one().reason


def test_without_planned_time_nothing_is_defined() -> None:
    assert [_said(kpi(_shift(planned_busy_s=0))) for kpi in FIVE] == [(None, Reason.ZERO_DENOM)] * 5


def test_without_production_time_availability_and_oee_are_zero_even_with_pieces() -> None:
    idle = _shift(production_s=0)
    assert [_said(kpi(idle))[0] for kpi in FIVE] == [0, None, pytest.approx(0.95), 0, 0]
    assert _said(oee.effectiveness(idle))[1] is Reason.ZERO_DENOM


def test_without_pieces_quality_is_undefined_and_oee_zero() -> None:
    none = _shift(produced=0, good=0, planned_run_s=0, planned_good_s=0)
    assert _said(oee.quality_ratio(none)) == (None, Reason.ZERO_DENOM)
    assert _said(oee.oee(none)) == (0.0, Reason.OK)


def test_effectiveness_above_one_is_not_clipped() -> None:
    assert oee.effectiveness(_shift(planned_run_s=30_000)).value > 1


def test_an_element_that_was_not_measured_is_missing() -> None:
    assert _said(oee.nee(_shift(setup_s=np.nan))) == (None, Reason.MISSING_INPUT)
    assert _said(oee.scrap_ratio(_shift())) == (None, Reason.MISSING_INPUT)


@given(
    st.lists(st.tuples(st.floats(1, 500), st.integers(1, 1000), st.floats(0, 1)), min_size=1, max_size=5),
    st.floats(1, 1e5),
    st.floats(1, 1e5),
)
def test_oee_is_planned_good_time_over_planned_busy_time(
    products: list[tuple[float, int, float]], busy: float, production: float
) -> None:
    per_item, pieces, share = (np.array(column, dtype=np.float64) for column in zip(*products, strict=True))
    run, good = planned_time(per_item, pieces), planned_time(per_item, pieces * share)
    shift = Elements(planned_busy_s=busy, production_s=production, planned_run_s=run, planned_good_s=good)
    found = oee.oee(shift).one().value
    assert found == pytest.approx(np.sum(per_item * pieces * share) / busy)
    parts = oee.availability(shift).value * production / production * (run / production) * (good / run)
    assert found == pytest.approx(float(parts))


def test_a_line_is_the_sum_of_its_elements_not_the_mean_of_percentages() -> None:
    two = Elements(planned_busy_s=[100.0, 300.0], production_s=[100.0, 0.0], good=[1.0, np.nan])
    assert oee.availability(two.total()).one().value == 0.25
    assert np.mean(oee.availability(two).value) == 0.5
    assert oee.quality_ratio(two.total()).one().reason is Reason.MISSING_INPUT


@pytest.mark.parametrize(
    "found",
    [
        casting.gate_velocity(2.5, 3848, 0),
        welding.arc_energy(26, 245, 0),
        plating.current_density(100, 0),
        plating.deposit_thickness(1, 0, plating.DEFAULT_METALS["Zn"]),
        surface_treatment.per_area(10, 0, "L"),
        surface_treatment.acid_ratio(24.5, 0),
        capability.potential(0, 7, 13),
        capability.performance(10, 0, 7, 13),
        heat_treatment.dwell_time(6, 0),
        energy.power_factor(0, 0),
    ],
)
def test_a_zero_denominator_is_said(found: Results) -> None:
    assert _said(found) == (None, Reason.ZERO_DENOM)


def test_hot_plates_have_no_cooling_time() -> None:
    for t0 in (500, 600):
        for found in (
            welding.cooling_time_thick(1.2, t0),
            welding.cooling_time_thin(1.2, t0, 10),
            welding.transition_thickness(1.2, t0),
            welding.cooling_time(1.2, t0, 10),
        ):
            assert _said(found) == (None, Reason.OUT_OF_VALID_RANGE)


@pytest.mark.parametrize(
    "found",
    [
        casting.sleeve_filling(9, 3848, 450),
        melting.melt_loss(100, 110),
        melting.density_index(2.6, 2.7),
        atmosphere.carbon_potential(1120, 700),
        plating.cathode_efficiency(1.2, 1.0),
        welding.preheat_temperature(0.6, 30, 5, 1.2),
    ],
)
def test_outside_the_valid_range_the_value_is_kept(found: Results) -> None:
    value, reason = _said(found)
    assert value is not None
    assert reason is Reason.OUT_OF_VALID_RANGE


def test_while_the_probe_burns_off_there_is_no_carbon() -> None:
    found = atmosphere.carbon_potential([1120, 350], 925, burn_off=[0, 1])
    assert [r.reason for r in found] == [Reason.OK, Reason.BAD_QUALITY]
    assert atmosphere.dew_point(350, 925, burn_off=1).one().value is None


def test_all_bad_quality_has_no_value() -> None:
    found = casting.gate_velocity([2.5, 2.5], 3848, 200).graded(Evidence(quality=0x80310000))
    assert [r.reason for r in found] == [Reason.BAD_QUALITY] * 2


def test_constant_values_have_no_capability() -> None:
    study = capability.capability_study([5.0] * 40, 4, 6)
    assert [study.cp.reason, study.ppk.reason, study.normality.reason] == [Reason.ZERO_DENOM] * 3
    assert study.interval.low.one().value is None


def test_one_sample_has_no_spread() -> None:
    study = capability.capability_study([5.0], 4, 6)
    assert (study.pp.reason, study.gate) == (Reason.MISSING_INPUT, capability.Gate.TOO_FEW)
    assert capability.capability_study([], 4, 6).ppk.value is None


def test_a_one_sided_tolerance_has_no_cp() -> None:
    study = capability.capability_study(np.sin(np.arange(60)), None, 3.0)
    assert study.pp.reason is Reason.MISSING_INPUT
    assert study.ppk.value == pytest.approx(
        (3 - np.mean(np.sin(np.arange(60)))) / 3 / np.std(np.sin(np.arange(60)), ddof=1)
    )
    assert capability.capability_study([1.0, 2.0, 3.0], None, None).ppk.reason is Reason.MISSING_INPUT


def test_a_study_is_gated_by_stability_then_number() -> None:
    rng = np.random.default_rng(7)
    quiet = np.clip(rng.normal(0, 1, 150), -2, 2)
    assert capability.capability_study(quiet, -5, 5).gate is capability.Gate.RELEASE
    assert capability.capability_study(quiet[:50], -5, 5).gate is capability.Gate.DISPLAY
    assert capability.capability_study([*quiet, 40.0], -5, 5).gate is capability.Gate.UNSTABLE


def test_skewed_values_get_the_percentile_index_beside() -> None:
    rng = np.random.default_rng(3)
    beside = capability.capability_study(rng.exponential(1, 300), None, 12).percentile_ppk
    assert beside is not None
    assert beside.value is not None
    assert capability.capability_study(rng.normal(0, 1, 300), -5, 5).percentile_ppk is None


def test_large_subgroups_need_another_sigma() -> None:
    groups = np.arange(14.0).reshape(2, 7) % 5
    assert capability.sigma_range(groups).value is None
    assert capability.sigma_deviation(groups).reason is Reason.OK


def test_flat_windows_score_spikes_by_the_resolution_or_not_at_all() -> None:
    assert spike_score([5, 5, 5, 6, 5, 5, 5], resolution=0.1)[3].value == pytest.approx(1 / 0.14826)
    assert spike_score([5, 5, 5, 6, 5, 5, 5])[3].reason is Reason.ZERO_DENOM
    assert spike_score([5.0, 6.0])[0].reason is Reason.MISSING_INPUT


def _scans(missing_from: int, missing_to: int) -> Floats:
    scans = np.full((16, 5), 850.0)
    scans[missing_from:missing_to, 2] = np.nan
    return scans


def test_a_survey_with_a_sensor_missing_for_more_than_two_minutes_is_invalid() -> None:
    times = np.arange(16) * 60.0
    assert pyrometry.uniformity_survey(times, _scans(5, 6), 850).furnace_class == "1"
    gone = pyrometry.uniformity_survey(times, _scans(5, 8), 850)
    assert (gone.above.reason, gone.furnace_class) == (Reason.MISSING_INPUT, None)
    assert pyrometry.uniformity_survey(times, _scans(0, 16), 850).above.value is None


def test_an_overshoot_in_the_approach_costs_the_class() -> None:
    times = np.arange(16) * 60.0
    found = pyrometry.uniformity_survey(times, _scans(0, 0), 850, approach_c=[[848.0, 855.0, 850, 850, 850]])
    assert (found.overshoot.value, found.furnace_class) == (5.0, "2")


def test_soak_does_not_count_the_time_of_a_gap() -> None:
    found = heat_treatment.soak_time([0, 60, 120, 1200, 1260], [850] * 5, Band(850, 10, 10), nominal_s=60)
    assert found.total.reason is Reason.LOW_COVERAGE
    assert found.spans_s.tolist() == [[0, 120], [1200, 1260]]
    lenient = heat_treatment.soak_time(
        [0, 60, 120, 1200, 1260], [850] * 5, Band(850, 10, 10), nominal_s=60, least_coverage=0
    )
    assert (lenient.total.value, lenient.longest.value, lenient.excursions.value) == (180, 120, 0)


def test_a_load_that_was_never_in_band_soaked_for_no_time() -> None:
    found = heat_treatment.soak_time([0, 60], [20, 30], Band(850, 10, 10))
    assert (found.total.value, found.worst.reason) == (0.0, Reason.NOT_REACHED)
    assert heat_treatment.soak_time([], [], Band(850, 10, 10)).total.reason is Reason.MISSING_INPUT


def test_an_integral_over_a_gap_is_partial_and_no_value() -> None:
    current = Samples.of([0, 10, 20, 500, 510], [100.0] * 5, 10)
    assert integral(current).partial == 3000
    assert plating.ampere_hours(current).reason is Reason.LOW_COVERAGE
    assert time_weighted_mean(current).reason is Reason.LOW_COVERAGE


def test_a_dry_shot_has_no_fill_time_and_an_unloaded_curve_no_rise() -> None:
    shot = Samples.of([0.0, 0.1, 0.2], [0.0, 100.0, 200.0])
    assert casting.measured_fill_time(shot, 150, None).reason is Reason.NOT_REACHED
    assert casting.measured_fill_time(shot, 500, 0.2).reason is Reason.NOT_REACHED
    assert casting.pressure_rise_time(Samples.of([0, 0.01], [1, 2]), 60).reason is Reason.NOT_REACHED
    assert heat_treatment.cooling_time(Samples.of([0, 1], [900, 700])).reason is Reason.NOT_REACHED


def test_a_counter_rolls_over_or_is_reset() -> None:
    found = counter_delta([2.0**32 - 10, 5000, 1], [5, 10, 3])
    assert [r.value for r in found] == [15, None, 2]
    assert found[1].reason is Reason.MISSING_INPUT


def test_demand_across_a_reset_or_without_a_boundary_reading_is_not_a_number() -> None:
    minutes = np.array([0, 15, 20, 30, 45, 61], dtype=np.int64)
    found = energy.demand_profile(minutes * 60 * 10**9, [100, 110, 1, 2, 5, 9]).demand
    assert [r.reason for r in found] == [Reason.OK, Reason.MISSING_INPUT, Reason.OK, Reason.LOW_COVERAGE]
    assert len(energy.demand_profile(np.array([5]), [1.0]).demand) == 0


def test_quarter_hours_of_korea_are_those_of_utc_all_year() -> None:
    seoul = ZoneInfo("Asia/Seoul")
    days = [date(2026, month, 28) for month in range(1, 13)]
    assert {datetime(d.year, d.month, d.day, tzinfo=seoul).utcoffset() for d in days} == {timedelta(hours=9)}


def test_leap_days_month_ends_and_weeks() -> None:
    assert due_date(date(2024, 2, 29), YEARLY) == date(2025, 2, 28)
    assert due_date(date(2024, 1, 31), MONTHLY) == date(2024, 2, 29)
    assert due_date(date(2025, 12, 31), WEEKLY) == date(2026, 1, 7)
    assert due_state(None, MONTHLY, date(2026, 1, 1)) is Due.OVERDUE
    with pytest.raises(ValueError, match="some months or some days"):
        Period(1, 7)


def test_a_missing_variable_or_element_is_never_a_pass() -> None:
    wps = {"voltage": seam.Limits(24, 27), "gas": seam.Limits(14, 20)}
    assert seam.seam_verdict({"voltage": [25.0] * 9, "gas": None}, wps) is Verdict.INCOMPLETE
    assert seam.procedure_compliance([25.0, np.nan], wps["voltage"]).verdict is Verdict.INCOMPLETE
    assert seam.seam_verdict({}, {}) is Verdict.INCOMPLETE
    limits = {"Si": melting.ElementLimit(9, 12, 0.2)}
    kept = melting.grade_check({"Si": [10, 10.1]}, limits, reference_in_control=False, reference_age_h=1)
    assert kept.verdict is Verdict.UNVERIFIED
    third = melting.grade_check({"Si": [10, 11]}, limits, reference_in_control=True, reference_age_h=1)
    assert third.elements[0].burn_again
    assert third.verdict is Verdict.INCOMPLETE
    burnt = melting.grade_check({"Si": [10, 11, 10.1]}, limits, reference_in_control=True, reference_age_h=1)
    assert burnt.elements[0].mean.value == pytest.approx(10.05)
    assert burnt.verdict is Verdict.PASS


def test_a_pump_does_not_guess_and_a_chart_needs_a_sigma() -> None:
    with pytest.raises(ValueError, match="check the pump"):
        plating.dosing_shots(float("nan"), 50)
    with pytest.raises(ValueError, match="sigma"):
        spc.ewma([1.0], 0.0, 0.0)
    with pytest.raises(ValueError, match="sigma"):
        spc.cusum([1.0], 0.0, 0.0)
    assert spc.shewhart_limits(850, 0).upper.one().reason is Reason.ZERO_DENOM


def test_no_failure_gives_a_lower_bound_not_infinity() -> None:
    found = oee.mean_interval([], 0, 5000)
    assert (found.mean.value, found.mean.reason, found.lower_bound_s) == (None, Reason.NOT_REACHED, 5000)
