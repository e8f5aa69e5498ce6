"""Batches: found by rules and by number, measured as they were, and the cases that must not become numbers."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from analytics.process import Flag, Segment
from analytics.processes.melting import MeltBatch
from analytics.result import Reason
from analytics.window import SECOND_NS, Series, Window
from simulators.faults import Fault
from tests.bench.segmentation_melting import BY_STATE, EVERY_S, RULES, TOLERANCE, errors, found, scenario
from tests.support.segmentation import assert_local, boundaries, measured
from tests.support.simulated import Simulated, simulated

BATCHES = 60
each = pytest.mark.parametrize("process", [RULES, BY_STATE], ids=["rules", "state"])


@pytest.fixture(scope="module")
def made() -> Simulated:
    return scenario(BATCHES)


@pytest.fixture(scope="module")
def short() -> Simulated:
    return simulated("melting", 60_000.0, every_s=EVERY_S)


def first_whole(made: Simulated, process: MeltBatch = RULES) -> Segment:
    return next(one for one in process.cycles(made.window) if one.end_ns is not None)


def with_series(window: Window, **series: Series) -> Window:
    return replace(window, series={**window.series, **{name.replace("__", "."): rows for name, rows in series.items()}})


def without(window: Window, *roles: str) -> Window:
    return replace(window, series={role: rows for role, rows in window.series.items() if role not in roles})


@each
def test_every_batch_is_found_and_none_invented(made: Simulated, process: MeltBatch) -> None:
    closed = [one for one in process.cycles(made.window) if one.end_ns is not None]
    pairs = found(made, process)
    assert len(closed) == len(pairs) == len(made.truth) >= BATCHES
    assert all(one.number == cycle.number for one, cycle in pairs)


@each
def test_phases_begin_within_a_sample(made: Simulated, process: MeltBatch) -> None:
    told = boundaries(found(made, process), EVERY_S)
    assert len(told) == 7
    assert all(b.p95 <= 1.0 for b in told), told


@each
def test_features_are_within_their_tolerances(made: Simulated, process: MeltBatch) -> None:
    wrong = errors(made, process, BATCHES)
    for name, tolerance in TOLERANCE.items():
        assert len(wrong[name]) >= 40, name
        assert max(wrong[name]) <= tolerance, name


@each
def test_cuts_change_nothing(made: Simulated, process: MeltBatch) -> None:
    assert_local(process, made, cuts=60, shortest_s=20_000.0)


def test_a_batch_that_runs_is_open(short: Simulated) -> None:
    one = first_whole(short)
    melt = one.phase("MELT")
    assert melt is not None
    running = RULES.cycles(short.window.cut(short.window.start_ns, melt.start_ns + 600 * SECOND_NS))[-1]
    assert running.start_ns == one.start_ns
    assert running.end_ns is None
    assert (running.phases[-1].name, running.phases[-1].end_ns) == ("MELT", None)


def test_without_a_scale_a_fall_of_the_bath_is_a_charge(short: Simulated) -> None:
    window = without(short.window, "charge.mass")
    pairs = found(Simulated(window, short.truth), RULES)
    assert len(pairs) == len(short.truth)
    assert all(abs(b.median) <= 8.0 for b in boundaries(pairs, EVERY_S) if b.phase == "CHARGE")
    assert "charged" not in measured(RULES, pairs[0][0], window).features


def test_a_second_charge_belongs_to_the_batch() -> None:
    state = np.repeat([0.0, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 0.0, 5.0, 6.0, 0.0, 1.0], 30)
    ts = np.arange(len(state)) * 10 * SECOND_NS
    rows = Series.of(ts, state, every_s=10.0)
    cycles = BY_STATE.cycles(Window("a", 0, int(ts[-1]) + 1, {"cycle.state": rows}))
    assert len(cycles) == 2
    assert [phase.name for phase in cycles[0].phases] == [
        "CHARGE", "MELT", "CHARGE", "MELT", "SUPERHEAT", "TREAT", "HOLD", "TAP", "CLEAN", "HOLD",
    ]  # fmt: skip


def test_a_batch_without_tap_is_aborted() -> None:
    state = np.repeat([0.0, 1.0, 2.0, 0.0, 1.0], 30)
    ts = np.arange(len(state)) * 10 * SECOND_NS
    rows = Series.of(ts, state, every_s=10.0)
    cycles = BY_STATE.cycles(Window("a", 0, int(ts[-1]) + 1, {"cycle.state": rows}))
    assert cycles[0].flags == {Flag.ABORTED}


def test_a_furnace_that_stands_by_ends_its_batch() -> None:
    state = np.repeat([0.0, 1.0, 2.0, 5.0, 0.0], [30, 30, 30, 30, 9000])
    ts = np.arange(len(state)) * 10 * SECOND_NS
    rows = Series.of(ts, state, every_s=10.0)
    (cycle,) = BY_STATE.cycles(Window("a", 0, int(ts[-1]) + 1, {"cycle.state": rows}))
    assert cycle.end_ns == cycle.start_ns + 43_200 * SECOND_NS


def test_a_gap_marks_the_batch() -> None:
    made = simulated("melting", 40_000.0, every_s=EVERY_S, faults=[Fault("gap", "", 15_000.0, 15_200.0, 1.0)])
    flagged = [one for one in RULES.cycles(made.window) if Flag.GAP in one.flags]
    assert len(flagged) == 1


def test_negative_loss_is_a_weighing_error(short: Simulated) -> None:
    one = first_whole(short)
    tap = short.window["tap.mass"]
    more = np.where(tap.ts_ns > (one.start_ns + (one.end_ns or 0)) // 2, 300.0, 0.0)
    window = with_series(short.window, tap__mass=Series.of(tap.ts_ns, tap.value + more, every_s=EVERY_S))
    assert measured(RULES, one, window).features["melt_loss"].reason is Reason.OUT_OF_VALID_RANGE


def test_nothing_tapped_has_no_specific_energy(short: Simulated) -> None:
    tap = short.window["tap.mass"]
    still = Series.of(tap.ts_ns, np.full(len(tap), 5.0), every_s=EVERY_S)
    one = first_whole(short)
    features = measured(RULES, one, with_series(short.window, tap__mass=still)).features
    assert features["specific_energy"].reason is Reason.ZERO_DENOM
    assert features["melting_efficiency"].value is None


def test_a_counter_reset_makes_the_energy_unknown(short: Simulated) -> None:
    one = first_whole(short)
    rows = short.window["energy.total"]
    middle = (one.start_ns + (one.end_ns or 0)) // 2
    value = np.where(rows.ts_ns < middle, rows.value, rows.value - rows.value[0])
    window = with_series(short.window, energy__total=Series.of(rows.ts_ns, value, every_s=EVERY_S))
    assert measured(RULES, one, window).features["energy"].reason is Reason.MISSING_INPUT


def test_laboratory_rows_become_features(short: Simulated) -> None:
    one = first_whole(short)
    at = [one.start_ns + 3600 * SECOND_NS]
    lab = {"oes.fe": 0.8, "oes.mn": 0.25, "oes.cr": 0.06, "rpt.density_atm": 2.68, "rpt.density_vac": 2.60}
    window = replace(
        short.window, series={**short.window.series, **{role: Series.of(at, [x]) for role, x in lab.items()}}
    )
    features = measured(RULES, one, window).features
    assert features["sludge_factor"].value == pytest.approx(1.48)
    assert features["density_index"].value == pytest.approx(2.98507, abs=1e-5)
    assert "carbon_equivalent" not in features


def test_gas_counts_by_its_calorific_value(short: Simulated) -> None:
    one = first_whole(short)
    when = short.window["energy.total"].ts_ns
    gas = Series.of(when, np.interp(when, [one.start_ns, one.end_ns or 0], [1000.0, 1140.0]), every_s=EVERY_S)
    process = MeltBatch(gas_mj_nm3=38.9)
    features = measured(process, one, with_series(without(short.window, "energy.total"), gas__total=gas)).features
    assert features["gas_energy"].value == pytest.approx(1512.78, abs=1.0)


@pytest.mark.parametrize("settings", [{"states": ["HOLD"]}, {"hold_share": 0.8}, {"nominal_kw": 0.0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MeltBatch.model_validate(settings)


def test_the_page_shows_all_settings_and_features(short: Simulated) -> None:
    page = (Path(__file__).parents[3] / "analytics" / "processes" / "melting.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (table,) = tomllib.loads(sample)["cycle"]
    process = MeltBatch.model_validate(table)
    assert set(table) | {"recipe_limit"} == set(MeltBatch.model_fields)
    features = measured(process, first_whole(short), short.window).features
    assert set(process.limit) <= set(features)
    assert all(f"`{name}`" in page for name in features if not name.startswith("time_"))
