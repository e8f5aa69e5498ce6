"""Every worked example of the specification, to the digits it is printed with (never coarser than it says)."""

from datetime import date

import numpy as np
import pytest

from analytics import capability, change_point, energy, multivariate, oee, profile, spc
from analytics.alarm_rates import alarm_load, floods
from analytics.calendar import MONTHLY, due_date
from analytics.data_quality import spike_score
from analytics.formulas import (
    atmosphere,
    casting,
    forging,
    heat_treatment,
    melting,
    molding,
    plating,
    pyrometry,
    seam,
    spot_welding,
    surface_treatment,
    tempering,
    welding,
)
from analytics.formulas.heat_treatment import Band
from analytics.oee import Elements, planned_time
from analytics.result import Result, Results
from analytics.time_series import Samples, coverage, current_loop
from analytics.verdict import Verdict

A70 = casting.plunger_area(70).value
P_METAL = casting.intensification_pressure(16, 1, 140, 100, 70).value
OPENING = casting.die_opening_force(P_METAL, 40_000).value
CARBON = atmosphere.carbon_potential(1120, 925).value
STEEL = {"carbon": 0.16, "manganese": 1.4, "chromium": 0.05, "molybdenum": 0.02, "nickel": 0.05, "copper": 0.05}
NICKEL = plating.DEFAULT_METALS["Ni"]
SHIFT = Elements(
    planned_busy_s=450 * 60,
    production_s=395 * 60,
    setup_s=25 * 60,
    delay_s=18 * 60,
    produced=520,
    good=494,
    planned_run_s=planned_time(42, 520),
    planned_good_s=planned_time(42, 494),
)
SOAK = heat_treatment.soak_time(
    np.arange(0, 50, 5) * 60, [800, 830, 846, 851, 853, 838, 849, 850, 850, 700], Band(850, 10, 10)
)
SURVEY = pyrometry.uniformity_survey(
    [0, 120, 240, 360],
    [
        [846.2, 848.9, 851.0, 853.4, 849.5],
        [847.0, 849.6, 851.8, 854.1, 850.2],
        [847.4, 850.1, 852.2, 855.0, 850.6],
        [847.1, 849.8, 852.0, 854.6, 850.3],
    ],
    850,
    [0.3, -0.2, 0.1, 0.4, -0.1],
)
COOLING = Samples.of([0, 1, 2, 4, 6, 8, 10, 12], [1350, 1100, 930, 780, 670, 580, 510, 450])
T85 = heat_treatment.cooling_time(COOLING)
SPOT_A = np.array([0, 6, 8, 8, 8, 8, 0]) * 1e3
SPOT_T = np.arange(7) * 0.02
SPOT_U = Samples.of(SPOT_T, [0, 1.2, 1.3, 1.2, 1.1, 0.96, 0])
INDIVIDUALS = [10.02, 9.98, 10.05, 10.01, 9.97, 10.03, 10.00, 9.99, 10.04, 10.01]
INDIVIDUALS += [9.96, 10.02, 10.00, 10.03, 9.98, 10.01, 9.99, 10.02, 10.00, 9.97]
STUDY = capability.capability_study(INDIVIDUALS, 9.90, 10.10)
PETTITT = change_point.pettitt([1, 2, 3, 2, 1, 6, 7, 8, 7, 6])
EXPULSION_T = np.arange(200)
EXPULSION = spot_welding.expulsion(
    np.where(EXPULSION_T < 60, 172.0, 172 - 0.35 * (EXPULSION_T - 60)) - np.where(EXPULSION_T >= 150, 12, 0), 0.060
)
LOAD = alarm_load([2, 0, 12, 15, 7, 5, 4, 1, 11, 3, 0, 0])
CAVITY = molding.cavity_pressure(Samples.of(np.arange(9) * 0.5, [0, 12, 35, 48, 45, 38, 25, 8, 0]))
BASE = energy.base_load([60, 100, 140, 180], [430, 520, 600, 690])
MEWMA = multivariate.mewma([[1, 0.5], [1.2, 0.8], [0.9, 1.1]], [0, 0], [[1, 0.6], [0.6, 1]])

EXAMPLES = [
    ("F-DQ-01", coverage([0, 1, 2, 3, 9, 10], 1), "0.5"),
    ("0.3", current_loop(12.0, 0, 1000), "500"),
    ("F-HPDC-01", casting.plunger_area(70), "3848.451"),
    ("F-HPDC-02", casting.gate_velocity(2.5, A70, 200), "48.1056"),
    ("F-HPDC-03", casting.fill_time(500e3, A70, 2.5), "51.969"),
    ("F-HPDC-04", casting.sleeve_filling(1.9, A70, 450), "0.43885"),
    ("F-HPDC-05", casting.critical_slow_shot_velocity(70, 0.5), "0.48060"),
    ("F-HPDC-06", casting.intensification_pressure(16, 1, 140, 100, 70), "62.0408"),
    (
        "F-HPDC-07",
        casting.pressure_rise_time(Samples.of(np.arange(7) * 0.005, [8, 14, 30, 48, 57, 61, 62]), 62),
        "19.333",
    ),
    ("F-HPDC-08", casting.die_opening_force(P_METAL, 40_000), "2481.63"),
    ("F-HPDC-08", casting.clamp_utilisation(OPENING, 350), "0.72302"),
    ("F-HPDC-09", casting.dosing_deviation(5, A70), "48.106"),
    ("F-HPDC-10", casting.maximum_fill_time(2, 643, 574, 200, 20), "0.030529"),
    ("F-MELT-01", melting.melt_loss(2000, 1940, 300, 305), "0.0275"),
    ("F-MELT-02", melting.melting_energy(melting.gas_energy(140, 38.9).value, 1.94), "779.78"),
    ("F-MELT-03", melting.density_index(2.68, 2.60), "2.98507"),
    ("F-MELT-04", melting.sludge_factor(0.8, 0.25, 0.06), "1.48"),
    ("F-MELT-05", melting.carbon_equivalent_iron(3.4, 2.1, 0.05), "4.11667"),
    ("F-HT-00", heat_treatment.dwell_time(6.0, 0.12), "50"),
    ("F-HT-01", SOAK.total, "1837.9548"),
    ("F-HT-01", SOAK.longest, "972.5000"),
    ("F-HT-01", SOAK.excursions, "1"),
    ("F-HT-02", heat_treatment.ramp_rate(Samples.of(np.arange(5) * 60, [700, 712, 723, 736, 748])), "12.0000"),
    ("F-HT-03", SURVEY.above, "5.4"),
    ("F-HT-03", SURVEY.below, "-3.5"),
    ("F-HT-04", pyrometry.sat_difference(845.0, 842.6, 0, 0.8, 0.1), "1.5"),
    ("F-HT-07", atmosphere.carbon_potential(1120, 925), "0.60904"),
    ("F-HT-07", atmosphere.equilibrium_voltage(CARBON, 925), "1121.6"),
    ("F-HT-08", atmosphere.dew_point(1120, 925), "-2.944"),
    ("F-HT-09", atmosphere.case_depth(925, 4), "1.30851"),
    ("F-HT-09", atmosphere.case_depth_inch_constants(925, 4), "1.25577"),
    ("F-HT-09", atmosphere.case_depth_time(1.0, 930), "2.20566"),
    ("F-HT-10", atmosphere.boost_time(6, 0.8, 1.2, 0.2), "2.16"),
    ("F-HT-11", atmosphere.carbon_profile(0.5, 4, atmosphere.carbon_diffusivity(925).value, 0.8, 0.2), "0.50290"),
    ("F-HT-12", tempering.hollomon_jaffe(600, 2), "17.72584"),
    ("F-HT-12", tempering.ramp_equivalent_time(873 - 273.15, 100), "0.21087"),
    ("F-HT-13", tempering.larson_miller(625, 3), "18391.5"),
    ("F-HT-14", T85, "6.6000"),
    ("F-HT-14", heat_treatment.cooling_rate(T85.value), "45.4545"),
    ("F-HT-15", heat_treatment.quench_delay(0.0, 17.4), "17.4"),
    ("F-HT-16", heat_treatment.quench_rise(500, 850, 70, 8), "17.878"),
    ("F-HT-17", heat_treatment.leak_up_rate(12, 16, 0.5), "8"),
    ("F-HT-17", heat_treatment.leak_flow(8, 2000), "0.005925"),
    ("F-WLD-01", welding.arc_energy(26.5, 245, 380), "1.025132"),
    ("F-WLD-01", welding.heat_input(welding.arc_energy(26.5, 245, 380).value, 0.8), "0.820105"),
    ("F-WLD-02", welding.instantaneous_power([35, 20], [400, 80]), "7800"),
    ("F-WLD-02", welding.arc_energy_of_power(7800, 6), "1.300"),
    ("F-WLD-03", welding.cooling_time_thick(1.2, 100), "7.97143"),
    ("F-WLD-03", welding.cooling_time_thin(1.2, 100, 10), "23.45694"),
    ("F-WLD-03", welding.transition_thickness(1.2, 100), "17.15409"),
    ("F-WLD-03", welding.cooling_time(1.2, 100, 20), "7.97143"),
    ("F-WLD-03", welding.cooling_time(1.2, 100, 10), "23.45694"),
    ("F-WLD-04", welding.carbon_equivalent(**STEEL, vanadium=0), "0.4140"),
    ("F-WLD-04", welding.carbon_equivalent_thermal(**STEEL), "0.30825"),
    ("F-WLD-04", welding.preheat_temperature(0.30825, 30, 5, 1.2), "88.121"),
    ("F-WLD-05", welding.deposition_rate(9, 1.2), "4.55449"),
    ("F-WLD-10", spot_welding.resistive_energy(8e3, 120, 0.2), "1536"),
    ("F-WLD-10", spot_welding.rms_current(Samples.of(SPOT_T, SPOT_A)), "6976.15"),
    ("F-WLD-10", spot_welding.weld_energy(SPOT_U, SPOT_A), "873.6"),
    ("F-WLD-12", EXPULSION.time, "0.150"),
    ("F-WLD-12", EXPULSION.drop, "0.0922"),
    ("F-WLD-13", spot_welding.nugget_target(1.2), "4.38178"),
    ("F-SUR-01", plating.plating_thickness(3, 40, 0.204864, efficiency=0.95), "23.3545"),
    ("F-SUR-04", plating.dosing_volume(1850, 180), "333"),
    ("F-SUR-07", surface_treatment.counterflow_ratio(10, 3), "1111"),
    ("F-SUR-07", surface_treatment.counterflow_water(1000, 3), "10"),
    ("F-SUR-08", surface_treatment.drag_out(600, 0.040, 80), "0.300"),
    ("F-SUR-09", surface_treatment.conductivity_25(620, 32), "543.860"),
    ("F-SUR-10", surface_treatment.anodised_thickness(1.5, 30), "14.7484"),
    ("F-SUR-11", surface_treatment.acid_ratio(24.5, 1.1), "22.27"),
    ("F-SUR-12", surface_treatment.electrocoat_thickness(30, 2160, 2, density_g_cm3=1.35), "24.0"),
    ("F-FRG-01", forging.total_tonnage([820, 790, 870, 840]), "3320"),
    ("F-FRG-01", forging.imbalance([820, 790, 870, 840]), "1.80723"),
    ("F-FRG-02", forging.forming_work([0, 400, 900, 1500, 1800, 0], [0, 2, 4, 6, 8, 8.5]), "7850"),
    ("F-INJ-01", molding.cushion_fraction(1.75, 52), "0.03365"),
    ("F-INJ-02", CAVITY.integral, "105.5"),
    ("F-INJ-02", CAVITY.peak, "48"),
    ("F-INJ-02", CAVITY.peak_time, "1.5"),
    ("F-INJ-03", molding.clamp_need(35, 42_000), "1470"),
    ("F-KPI-01", oee.availability(SHIFT), "0.877778"),
    ("F-KPI-02", oee.effectiveness(SHIFT), "0.921519"),
    ("F-KPI-03", oee.quality_ratio(SHIFT), "0.95"),
    ("F-KPI-04", oee.oee(SHIFT), "0.768444"),
    ("F-KPI-05", oee.nee(SHIFT), "0.817080"),
    ("F-KPI-07", oee.technical_efficiency(SHIFT), "0.956416"),
    ("F-KPI-08", oee.setup_rate(SHIFT), "0.059524"),
    ("6.2", capability.sigma_overall(INDIVIDUALS), "0.0245807"),
    ("6.2", STUDY.pp, "1.356078"),
    ("6.2", STUDY.ppk, "1.301835"),
    ("6.2", STUDY.cp, "1.006197"),
    ("6.2", STUDY.cpk, "0.965949"),
    ("F-CAP-02", STUDY.interval.low, "0.862895"),
    ("F-CAP-02", STUDY.interval.high, "1.740774"),
    ("6.3", spc.shewhart_run_length(), "370.398"),
    ("6.3", spc.shewhart_run_length(1.0), "43.89"),
    ("F-MSPC-01", multivariate.t_squared_limit_learning(3, 50), "10.3989"),
    ("F-MSPC-01", multivariate.t_squared_limit(3, 50), "13.4879"),
    ("F-MSPC-02", multivariate.residual_limit([0.8, 0.5, 0.3, 0.1], alpha=0.05), "4.52326"),
    ("F-MSPC-02", multivariate.residual_limit([0.8, 0.5, 0.3, 0.1]), "6.93994"),
    ("F-MSPC-03", MEWMA.statistic[0], "0.19297"),
    ("F-MSPC-03", MEWMA.statistic[1], "0.83793"),
    ("F-MSPC-03", MEWMA.statistic[2], "1.56911"),
    ("F-CP-01", PETTITT.statistic, "25"),
    ("F-CP-01", PETTITT.probability, "0.06614"),
    ("F-PRF-02", profile.warping_distance([0, 1, 2, 3, 2, 0], [0, 0, 1, 3, 3, 1, 0]), "2.0"),
    ("F-PRF-03", profile.shape_distance([1, 2, 3, 4], [10, 20, 30, 45]), "0.212100"),
    ("F-DQ-03", spike_score([10, 10.1, 9.9, 10, 14, 10.1, 9.9])[4], "26.98"),
    ("6.7", LOAD.rate, "5.0"),
    ("6.7", LOAD.share_over, "0.25"),
    ("6.7", LOAD.share_flood, "0.4167"),
    ("F-ENE-01", BASE.base, "302"),
    ("F-ENE-01", BASE.per_item, "2.15"),
    ("F-ENE-02", energy.electricity_emission(1000, energy.DEFAULT_GRID[-1].factor_t_mwh), "417.3"),
    ("F-ENE-02", energy.fuel_emission(1000, 38.9), "2.1823"),
    ("F-ENE-03", energy.quarter_demand(380.50, 412.75), "129.0"),
    ("F-ENE-03", energy.demand_forecast(18.2, 540, 130), "124.8"),
    ("F-ENE-05", energy.power_factor(900, 520), "0.865865"),
]


def _value(found: Result | Results) -> float:
    value = (found.one() if isinstance(found, Results) else found).value
    assert value is not None
    return value


@pytest.mark.parametrize(("formula", "found", "printed"), EXAMPLES, ids=[f"{e[0]}={e[2]}" for e in EXAMPLES])
def test_worked_example(formula: str, found: Result | Results, printed: str) -> None:
    decimals = len(printed.partition(".")[2])
    exact = decimals == 0 or printed.endswith(".0")
    digits = 1e-9 if exact else 0.5000001 * 10.0**-decimals
    wanted = float(printed)
    assert abs(_value(found) - wanted) <= max(digits, 1e-6 * abs(wanted))


def test_oxygen_of_the_example_to_a_part_in_a_million() -> None:
    assert _value(atmosphere.oxygen(1120, 925)) == pytest.approx(2.99889e-18, rel=2e-6)


def test_dew_point_of_the_example_in_fahrenheit() -> None:
    assert _value(atmosphere.dew_point(1120, 925)) * 1.8 + 32 == pytest.approx(26.701, abs=5e-4)


def test_diffusivity_of_the_example() -> None:
    assert _value(atmosphere.carbon_diffusivity(925)) == pytest.approx(1.95168e-7, rel=2e-6)


def test_soak_of_the_example_in_minutes_and_its_spans() -> None:
    assert _value(SOAK.total) / 60 == pytest.approx(30.63258, abs=5e-6)
    wanted = np.array([[8.125, 24.3333], [25.90909, 40.3333]])
    assert np.abs(SOAK.spans_s / 60 - wanted).max() < 5e-5
    assert SOAK.worst.value == -12


def test_survey_of_the_example_is_class_2() -> None:
    assert SURVEY.furnace_class == "2"


def test_accuracy_test_of_the_example_passes_and_fails_where_it_should() -> None:
    difference = pyrometry.sat_difference(845.0, 842.6, 0, 0.8, 0.1).one()
    limits = dict(pyrometry.DEFAULT_SAT)
    assert pyrometry.sat_verdict(difference, pyrometry.sat_limit(845.0, limits["class2"]).one()) is Verdict.PASS
    assert pyrometry.sat_verdict(difference, pyrometry.sat_limit(845.0, limits["cqi9-probe"]).one()) is Verdict.PASS
    absolute_only = pyrometry.SatLimit(limits["class1"].absolute_c, 0.0)
    assert pyrometry.sat_verdict(difference, pyrometry.sat_limit(845.0, absolute_only).one()) is Verdict.FAIL


def test_seams_of_the_example() -> None:
    limits = seam.Limits(24, 27)
    one_out = seam.procedure_compliance([25.246] * 39 + [27.4], limits)
    three_out = seam.procedure_compliance([25.246] * 37 + [27.4] * 3, limits)
    assert one_out.compliance.value == 0.975
    assert one_out.longest_excursion.value == pytest.approx(0.1)
    assert one_out.mean == pytest.approx(25.3, abs=0.001)
    assert (one_out.verdict, three_out.verdict) == (Verdict.PASS, Verdict.REVIEW)
    assert three_out.compliance.value == 0.925


def test_dosing_of_the_example_in_whole_shots() -> None:
    assert plating.dosing_shots(333, 50) == plating.Dose(6, 33)


def test_film_of_the_example_passes() -> None:
    check = surface_treatment.film_acceptance([118, 125, 131, 122, 109, 128, 140, 121, 126, 130], 120)
    assert (check.mean.value, check.thinnest.value, check.below_nominal) == (125, 109, 2)
    assert check.verdict is Verdict.PASS


def test_due_date_of_the_example() -> None:
    assert due_date(date(2026, 3, 31), MONTHLY) == date(2026, 4, 30)


def test_factor_of_the_example_is_the_one_in_force() -> None:
    assert energy.grid_factor(date(2026, 11, 22)) == energy.DEFAULT_GRID[-1]


def test_charts_of_the_example() -> None:
    x = [850.6, 851.2, 850.9, 852.0, 852.4, 851.8]
    smooth, sums = spc.ewma(x, 850, 1.5), spc.cusum(x, 850, 1.5)
    assert smooth.value == pytest.approx([850.12, 850.336, 850.4488, 850.75904, 851.087232, 851.2297856], rel=1e-9)
    assert smooth.upper[-1] == pytest.approx(851.4292, abs=5e-5)
    assert sums.upper == pytest.approx([0, 0.3, 0.4, 1.2333, 2.3333, 3.0333], abs=5e-5)
    assert not smooth.signal.any()
    assert not sums.signal.any()


def test_residual_eigenvalues_of_the_example_give_h0() -> None:
    values = np.array([0.8, 0.5, 0.3, 0.1])
    one, two, three = (np.sum(values**k) for k in (1, 2, 3))
    assert 1 - 2 * one * three / (3 * two**2) == pytest.approx(0.231031, abs=5e-7)


def test_floods_of_the_example() -> None:
    first, second = floods([2, 0, 12, 15, 7, 5, 4, 1, 11, 3, 0, 0])
    assert (first.first_bin + 1, first.minutes, first.alarms, first.peak) == (3, 40, 39, 15)
    assert (second.first_bin + 1, second.minutes, second.alarms) == (9, 10, 11)


def test_change_of_the_example_is_after_the_fifth_sample() -> None:
    assert PETTITT.position == 5
