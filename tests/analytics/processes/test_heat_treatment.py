"""Sealed quench: loads, phases and features against the simulator, and the cases of section 6.11."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from analytics.process import Flag
from analytics.processes.heat_treatment import STATES, SealedQuench
from analytics.result import Reason
from analytics.verdict import Verdict
from analytics.window import SECOND_NS, Series, Window
from simulators.faults import Fault
from tests.bench.segmentation_heat_treatment import QUENCH, loads, sealed_quench
from tests.support.scored import around, assert_local, score
from tests.support.simulated import Simulated, simulated

LOADS, EVERY_S = 42, 20.0
PAGE = Path(__file__).parents[3] / "analytics" / "processes" / "heat_treatment.md"


@pytest.fixture(scope="module")
def clean() -> Simulated:
    return simulated("heat_treatment", 60_000.0, every_s=5.0)


def without(window: Window, role: str, start_ns: int, end_ns: int) -> Window:
    """The window without the rows of a role over a span."""
    rows = window[role]
    kept = (rows.ts_ns < start_ns) | (rows.ts_ns >= end_ns)
    cut = Series(rows.ts_ns[kept], rows.value[kept], rows.quality[kept], rows.every_s)
    return Window(window.asset, window.start_ns, window.end_ns, {**window.series, role: cut})


def test_every_load_is_found_and_measured_under_faults() -> None:
    found = sealed_quench(SealedQuench(), LOADS, EVERY_S)
    assert found.produced >= 40
    assert found.missed == ()
    assert found.invented == ()
    assert found.p95() <= 1.0
    coarse = QUENCH | {"cooling_time": ("cooling_time_s", 10.0), "quench_delay": ("transfer_delay_s", EVERY_S)}
    assert found.outside(coarse) == {}


def test_loads_are_the_same_under_any_cut() -> None:
    made, _ = loads(LOADS, EVERY_S)
    assert assert_local(SealedQuench(), made.window) > 100
    assert assert_local(SealedQuench(segment_by="rules"), made.window, cuts=10) > 20


def test_features_at_five_seconds(clean: Simulated) -> None:
    found = score(SealedQuench(), clean, 5.0, QUENCH)
    assert found.outside(QUENCH | {"quench_delay": ("transfer_delay_s", 5.0), "cooling_time": ("x", 2.0)}) == {}


def test_rules_find_the_same_loads_where_the_signals_tell(clean: Simulated) -> None:
    found = score(SealedQuench(segment_by="rules"), clean, 5.0, {})
    assert (found.missed, found.invented) == ((), ())
    assert found.p95("PURGE", "RAMP", "SOAK", "BOOST", "QUENCH", "DRAIN") <= 1.0
    # The ramp ends where noise lets it: 0.6 K over 3 K a minute is 12 s either way.
    assert float(found.boundary["SOAK"].max()) <= 6.0


def test_number_and_phases(clean: Simulated) -> None:
    segment = SealedQuench().cycles(clean.window)[0]
    assert segment.number == clean.truth[0].number
    assert tuple(phase.name for phase in segment.phases) == STATES
    assert segment.flags == frozenset()


def test_running_load_is_open(clean: Simulated) -> None:
    whole = SealedQuench().cycles(clean.window)[0]
    boost = whole.phase("BOOST")
    assert boost is not None
    cut = SealedQuench().cycles(clean.window.cut(clean.window.start_ns, boost.start_ns + 60 * SECOND_NS))[0]
    assert cut.end_ns is None
    assert cut.phases[-1].name == "BOOST"
    assert cut.phases[-1].end_ns is None
    assert cut.phases[:-1] == whole.phases[: len(cut.phases) - 1]


def test_program_step_counts_from_one(clean: Simulated) -> None:
    by_step = SealedQuench(state_role="program.step", states=("", *STATES))
    assert by_step.roles().markers == ("program.step",)
    assert by_step.cycles(clean.window) == SealedQuench().cycles(clean.window)


def test_rows_that_come_on_change_are_no_gaps(clean: Simulated) -> None:
    series = {}
    for role, rows in clean.window.series.items():
        turned = np.append(True, np.diff(rows.value) != 0)
        series[role] = Series(rows.ts_ns[turned], rows.value[turned], rows.quality[turned], rows.every_s)
    window = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, series)
    process = SealedQuench()
    polled, pushed = process.cycles(clean.window), process.cycles(window)
    assert [s.phases for s in pushed] == [s.phases for s in polled]
    assert all(s.flags == frozenset() for s in pushed)
    assert [s.number for s in pushed] == [s.number for s in polled]
    features = [process.features(polled[0], around(process, polled[0], w)).features for w in (clean.window, window)]
    for name in ("boost_soak", "quench_delay", "diffuse_carbon_mean", "energy", "oil_rise", "ramp_rate"):
        one, other = (found[name].value for found in features)
        assert other == pytest.approx(one, rel=0.02), name


def test_soak_across_a_gap_is_low_coverage(clean: Simulated) -> None:
    process = SealedQuench()
    segment = process.cycles(clean.window)[0]
    boost = segment.phase("BOOST")
    assert boost is not None
    broken = without(clean.window, "zone2.pv", boost.start_ns, boost.start_ns + 900 * SECOND_NS)
    features = process.features(segment, around(process, segment, broken)).features
    assert features["boost_soak"].reason is Reason.LOW_COVERAGE
    assert features["boost_soak"].value is None
    assert features["diffuse_soak"].reason is Reason.OK


def test_gap_over_a_boundary_is_flagged(clean: Simulated) -> None:
    process = SealedQuench()
    diffuse = process.cycles(clean.window)[0].phase("DIFFUSE")
    assert diffuse is not None
    middle = diffuse.start_ns
    broken = without(clean.window, "program.state", middle - 100 * SECOND_NS, middle + 100 * SECOND_NS)
    segment = process.cycles(broken)[0]
    assert Flag.GAP in segment.flags
    boost = segment.phase("BOOST")
    assert boost is not None
    assert boost.end_ns is not None
    assert boost.end_ns <= middle - 95 * SECOND_NS


@pytest.mark.parametrize("bit", [True, False])
def test_burn_off_is_masked(bit: bool, clean: Simulated) -> None:
    # The probe is burnt off at 6 h, while the second load is carburised.
    window = clean.window
    if not bit:
        window = Window(
            window.asset,
            window.start_ns,
            window.end_ns,
            {role: rows for role, rows in window.series.items() if role != "burn_off"},
        )
    process = SealedQuench()
    segment = process.cycles(window)[0]
    features = process.features(segment, around(process, segment, window)).features
    burnt = float(np.nanmin(window["atm.cp"].between(segment.start_ns, segment.end_ns or 0).value))
    assert burnt < 0.01
    lowest = min(features[f"{name}_carbon_min"].value or 0.0 for name in ("boost", "diffuse"))
    assert lowest > 0.4
    assert abs(features["carbon_difference"].value or 1.0) < 0.005


def test_whole_phase_burnt_off_has_no_carbon(clean: Simulated) -> None:
    process = SealedQuench()
    segment = process.cycles(clean.window)[0]
    boost = segment.phase("BOOST")
    assert boost is not None
    rows = clean.window["burn_off"]
    burning = (rows.ts_ns >= boost.start_ns) & (rows.ts_ns < (boost.end_ns or 0))
    series = {
        **clean.window.series,
        "burn_off": Series(rows.ts_ns, np.asarray(burning, np.float64), rows.quality, rows.every_s),
    }
    window = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, series)
    features = process.features(segment, around(process, segment, window)).features
    assert features["boost_carbon_mean"].value is None
    assert features["boost_carbon_mean"].reason is not Reason.OK
    assert features["diffuse_carbon_mean"].reason is Reason.OK


def test_counter_reset_leaves_energy_undefined(clean: Simulated) -> None:
    process = SealedQuench(load_kg=600.0)
    segment = process.cycles(clean.window)[0]
    rows = clean.window["energy"]
    since = rows.ts_ns >= segment.start_ns + 3600 * SECOND_NS
    reset = Series(rows.ts_ns, rows.value - since * rows.value[since][0], rows.quality, rows.every_s)
    series = {**clean.window.series, "energy": reset}
    window = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, series)
    features = process.features(segment, around(process, segment, window)).features
    assert features["energy"].reason is Reason.MISSING_INPUT
    assert features["specific_energy"].reason is Reason.MISSING_INPUT


def test_masses_come_from_the_context_first(clean: Simulated) -> None:
    process = SealedQuench(load_kg=600.0, fixture_kg=200.0, bath_m3=8.0)
    segment = process.cycles(clean.window)[0]
    window = around(process, segment, clean.window)
    lot = Window(window.asset, window.start_ns, window.end_ns, window.series, context={"load_kg": "300"})
    by_setting, by_lot = (process.features(segment, w).features for w in (window, lot))
    assert by_lot["specific_energy"].value == pytest.approx(2 * (by_setting["specific_energy"].value or 0))
    assert by_setting["fixture_fraction"].value == pytest.approx(0.25)
    assert by_setting["oil_rise_expected"].formula_id == "F-HT-16"


def test_features_without_a_role_are_left_out_by_name(clean: Simulated) -> None:
    few = {role: clean.window[role] for role in SealedQuench().roles().mandatory}
    few["program.state"] = clean.window["program.state"]
    window = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, few)
    process = SealedQuench()
    segment = process.cycles(window)[0]
    assert segment.number is None
    features = process.features(segment, around(process, segment, window)).features
    assert {"boost_soak", "ramp_rate", "zone_spread", "quench_time"} <= set(features)
    assert not {"quench_delay", "oil_rise", "probe_carbon", "energy", "overtemp_difference"} & set(features)


def test_late_transfer_fails_its_limit() -> None:
    late = Fault("late_transfer", "elevator_down", 20_000.0, 30_000.0, 15.0)
    made = simulated("heat_treatment", 33_000.0, every_s=5.0, faults=[late])
    process = SealedQuench.model_validate({"limit": {"quench_delay": {"high": 25.0}}})
    segment = process.cycles(made.window)[0]
    measured = process.features(segment, around(process, segment, made.window))
    assert measured.features["quench_delay"].value == pytest.approx(35.0, abs=5.0)
    assert process.judge(measured, process.limits({})) is Verdict.FAIL


def test_zone_that_reads_low_runs_hot_and_its_neighbours_rest() -> None:
    process, found = SealedQuench(), []
    for faults in ([], [Fault("tc_drift", "zone2.pv", 15_000.0, 30_000.0, 8.0)]):
        made = simulated("heat_treatment", 33_000.0, every_s=10.0, faults=faults)
        segment = process.cycles(made.window)[0]
        values = process.features(segment, around(process, segment, made.window)).features
        found.append({name: result.value or 0.0 for name, result in values.items()})
    good, bad = found
    assert good["load_difference"] == pytest.approx(0.0, abs=0.3)
    assert 0.5 < bad["load_difference"] < 3.0
    assert bad["zone2_output_mean"] > good["zone2_output_mean"] + 0.1
    assert max(bad[f"zone{n}_output_mean"] - good[f"zone{n}_output_mean"] for n in (1, 3)) < 0.0


def test_gas_is_told_beside_the_probe(clean: Simulated) -> None:
    process = SealedQuench()
    segment = process.cycles(clean.window)[0]
    found = process.features(segment, around(process, segment, clean.window)).features
    assert found["probe_mv_mean"].value == pytest.approx(1145.0, abs=4.0)
    assert found["probe_impedance"].value == pytest.approx(4.58, abs=0.05)
    assert found["enrich_mean"].value == pytest.approx(7.4, abs=1.5)
    assert found["dew_point_mean"].value == pytest.approx(-9.4, abs=0.6)


def test_page_sample_is_a_setting() -> None:
    sample = PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    process = SealedQuench.model_validate(tomllib.loads(sample)["cycle"][0])
    assert process.limits({"recipe": "shaft20"})["diffuse_carbon_mean"].low == 0.77
