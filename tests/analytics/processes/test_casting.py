"""Shots: found, told apart and measured as they were, and the cases that must not become numbers."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from analytics.process import Flag, Segment
from analytics.processes.casting import HpdcShot
from analytics.result import Reason
from analytics.verdict import Verdict
from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Waveform
from simulators.faults import Fault
from simulators.signals import Cycle
from tests.bench.segmentation_casting import PROCESS, TOLERANCE, errors, found, scenario
from tests.support.segmentation import assert_local, boundaries, measured
from tests.support.simulated import Simulated, simulated, to_ns

SHOTS = 500


@pytest.fixture(scope="module")
def made() -> Simulated:
    return scenario(SHOTS)


@pytest.fixture(scope="module")
def short() -> Simulated:
    return simulated("casting", 620.0, bursts=True)


def first_whole(made: Simulated, process: HpdcShot = PROCESS) -> Segment:
    return next(one for one in process.cycles(made.window)[1:] if one.end_ns is not None)


def without(window: Window, *roles: str) -> Window:
    series = {role: rows for role, rows in window.series.items() if role not in roles}
    bursts = {role: waves for role, waves in window.bursts.items() if role not in roles}
    return replace(window, series=series, bursts=bursts)


@pytest.fixture(scope="module")
def pairs(made: Simulated) -> list[tuple[Segment, Cycle]]:
    return found(made)


def test_every_shot_is_found_and_none_invented(made: Simulated, pairs: list[tuple[Segment, Cycle]]) -> None:
    closed = [one for one in PROCESS.cycles(made.window) if one.end_ns is not None]
    assert len(pairs) == len(closed) == len(made.truth) >= SHOTS - 3
    assert all(one.number == cycle.number for one, cycle in pairs)


def test_phases_begin_within_a_sample(made: Simulated, pairs: list[tuple[Segment, Cycle]]) -> None:
    found_phases = boundaries(pairs, 1.0)
    assert {b.phase for b in found_phases} == {phase.name for phase in made.truth[0].phases}
    assert all(b.p95 <= 1.0 for b in found_phases), found_phases


def test_stages_of_the_shot_begin_within_a_sample_of_the_burst(short: Simulated) -> None:
    stages = {"SLOW_SHOT", "FAST_SHOT", "INTENSIFY", "COOL"}
    for b in boundaries(found(short), 0.0005):
        assert b.phase not in stages or b.p95 <= 2.0, b


def test_features_are_within_their_tolerances(made: Simulated, pairs: list[tuple[Segment, Cycle]]) -> None:
    wrong = errors(made, SHOTS, pairs)
    assert set(wrong) >= set(TOLERANCE)
    for name, tolerance in TOLERANCE.items():
        assert len(wrong[name]) > 0.9 * SHOTS, name
        assert max(wrong[name]) <= tolerance, name


def test_cuts_change_nothing(made: Simulated) -> None:
    part = made.window.cut(to_ns(5_000.0), to_ns(11_000.0))
    assert_local(PROCESS, Simulated(part, made.truth), cuts=30, shortest_s=100.0)


def test_a_cycle_that_runs_is_open(short: Simulated) -> None:
    one = first_whole(short)
    pour = one.phase("POUR")
    assert pour is not None
    running = PROCESS.cycles(short.window.cut(short.window.start_ns, pour.start_ns + 2 * SECOND_NS))[-1]
    assert running.start_ns == one.start_ns
    assert running.end_ns is None
    assert running.phases[-1].name == "POUR"
    assert running.phases[-1].end_ns is None


def test_bits_tell_the_same_shots() -> None:
    process = PROCESS.model_copy(update={"marker": "bits"})
    clean = simulated("casting", 2480.0, bursts=True)
    pairs = found(Simulated(without(clean.window, "cycle.state"), clean.truth), process)
    assert len(pairs) == len(clean.truth)
    assert all(one.flags == frozenset() for one, _ in pairs)
    for b in boundaries(pairs, 1.0):
        assert b.p95 <= 1.0, b
        assert b.n == len(pairs), b


def test_bits_alone_keep_the_shot_as_one_phase(short: Simulated) -> None:
    process = HpdcShot(marker="bits")
    one = first_whole(replace(short, window=without(short.window, "cycle.state", "shot.curve")), process)
    assert [phase.name for phase in one.phases] == [
        "DIE_CLOSE", "POUR", "SLOW_SHOT", "COOL", "DIE_OPEN", "EJECT", "SPRAY", "IDLE",
    ]  # fmt: skip


def test_without_roles_and_settings_features_are_left_out_by_name(short: Simulated) -> None:
    bare = HpdcShot()
    window = without(short.window, "shot.curve", "cycle.biscuit", "energy.total", "metal.temp")
    features = measured(bare, first_whole(short, bare), window).features
    gone = {"biscuit", "energy", "metal_temp_at_pour", "gate_velocity", "fill_time", "metal_pressure", "opening_force"}
    assert not gone & set(features)
    assert features["v_fast"].value is not None


def test_registers_stand_in_for_a_missing_curve(short: Simulated) -> None:
    one = first_whole(short)
    features = measured(PROCESS, one, without(short.window, "shot.curve")).features
    speed = features["v_fast"].value
    assert speed is not None
    assert features["gate_velocity"].value == pytest.approx(speed * np.pi / 4 * 75.0**2 / 260.0)
    assert "fill_time" not in features
    assert features["clamp_utilisation"].value is not None


def test_a_burst_that_did_not_come_leaves_reasons(short: Simulated) -> None:
    window = replace(short.window, bursts={"shot.curve": ()})
    features = measured(PROCESS, first_whole(short), window).features
    assert features["fill_time"].reason is Reason.MISSING_INPUT
    assert features["fill_time"].value is None


def test_registers_of_the_shot_before_are_not_taken(short: Simulated) -> None:
    one = first_whole(short)
    assert one.end_ns is not None
    count = short.window["shot.count"]
    stays = Series.of(count.ts_ns, np.full(len(count), float((one.number or 0) - 1)), every_s=1.0)
    window = replace(short.window, series={**short.window.series, "shot.count": stays})
    features = measured(PROCESS, one, window).features
    assert features["v_fast"].reason is Reason.MISSING_INPUT


def dry(short: Simulated, burst: Waveform, speed_mm_s: float) -> Window:
    value = burst.value.copy()
    value[:, 0] = np.maximum(0.0, np.arange(len(value)) * 0.0005 - 0.1) * speed_mm_s
    waves = (Waveform(burst.asset, burst.name, burst.ts_ns, burst.period_ns, burst.channels, value),)
    return replace(short.window, bursts={"shot.curve": waves})


@pytest.mark.parametrize("speed_mm_s", [0.0, 300.0])
def test_a_shot_without_end_of_fill_is_aborted(short: Simulated, speed_mm_s: float) -> None:
    one = first_whole(short)
    burst = next(wave for wave in short.window.bursts["shot.curve"] if wave.ts_ns > one.start_ns)
    window = dry(short, burst, speed_mm_s)
    told = next(found for found in PROCESS.cycles(window) if found.start_ns == one.start_ns)
    assert Flag.ABORTED in told.flags
    features = measured(PROCESS, told, window).features
    for name in ("fill_time", "fill_end_position", "rise_time", "biscuit_thickness"):
        assert features[name].value is None
    assert features["fill_time"].reason is Reason.NOT_REACHED


def test_a_gate_without_area_is_refused_and_a_zero_speed_has_no_fill_time(short: Simulated) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        HpdcShot(gate_mm2=0.0)
    rows = short.window["cycle.v_fast"]
    still = Series.of(rows.ts_ns, np.zeros(len(rows)), every_s=1.0)
    window = without(short.window, "shot.curve")
    window = replace(window, series={**window.series, "cycle.v_fast": still})
    features = measured(PROCESS, first_whole(short), window).features
    assert features["fill_time_theoretical"].reason is Reason.ZERO_DENOM
    assert features["fill_time_ratio"].reason is Reason.MISSING_INPUT


def test_all_bad_rows_find_nothing(short: Simulated) -> None:
    rows = short.window["cycle.state"]
    bad = Series.of(rows.ts_ns, np.full(len(rows), np.nan), 0x808C0000, every_s=1.0)
    bits = ("die_closed", "ladle_pour", "shot_start", "die_open", "eject", "spray_on")
    window = replace(without(short.window, *bits), series={"cycle.state": bad})
    assert PROCESS.cycles(window) == ()


def test_a_counter_reset_makes_the_energy_unknown(short: Simulated) -> None:
    one = first_whole(short)
    rows = short.window["energy.total"]
    middle = (one.start_ns + (one.end_ns or 0)) // 2
    value = np.where(rows.ts_ns < middle, rows.value, rows.value - rows.value[0])
    window = replace(
        short.window, series={**short.window.series, "energy.total": Series.of(rows.ts_ns, value, every_s=1.0)}
    )
    assert measured(PROCESS, one, window).features["energy"].reason is Reason.MISSING_INPUT


def test_a_rollover_of_the_energy_counter_counts_on(short: Simulated) -> None:
    one = first_whole(short)
    rows = short.window["energy.total"]
    grown = rows.value - rows.value[0]
    middle = float(np.interp((one.start_ns + (one.end_ns or 0)) // 2, rows.ts_ns, grown))
    value = (2.0**32 - middle + grown) % 2.0**32
    window = replace(
        short.window, series={**short.window.series, "energy.total": Series.of(rows.ts_ns, value, every_s=1.0)}
    )
    energy = measured(PROCESS, one, window).features["energy"]
    assert energy.value == pytest.approx(measured(PROCESS, one, short.window).features["energy"].value, abs=1e-5)


def test_a_gap_marks_the_shot_and_keeps_what_is_known() -> None:
    made = simulated("casting", 620.0, faults=[Fault("gap", "", 200.0, 212.0, 1.0)])
    flagged = [one for one in PROCESS.cycles(made.window) if Flag.GAP in one.flags]
    assert len(flagged) == 1
    assert flagged[0].phase("DIE_CLOSE") is not None


def test_a_shot_lost_in_a_gap_is_not_glued_to_the_next() -> None:
    made = simulated("casting", 620.0, faults=[Fault("gap", "", 220.0, 284.0, 1.0)])
    cycles = PROCESS.cycles(made.window)
    assert [one.number for one in cycles] == [*range(2, len(made.truth) + 3)]
    assert [one.number for one in cycles if Flag.GAP in one.flags] == [4, 5]


def test_a_standing_machine_ends_its_shot() -> None:
    ts = np.arange(0, 2000) * SECOND_NS
    state = np.zeros(2000)
    for begin in (100, 160, 1500):
        state[begin : begin + 4], state[begin + 4 : begin + 10], state[begin + 10 : begin + 14] = 1, 2, 5
        state[begin + 14 : begin + 30], state[begin + 30 : begin + 50] = 6, 9
    window = Window("a", 0, 2000 * SECOND_NS, {"cycle.state": Series.of(ts, state, every_s=1.0)})
    process = HpdcShot()
    cycles = process.cycles(window)
    assert [(one.start_ns // SECOND_NS, (one.end_ns or 0) // SECOND_NS) for one in cycles] == [
        (100, 160), (160, 340), (1500, 1680),
    ]  # fmt: skip
    assert cycles[1].phases[-1].end_ns == cycles[1].end_ns


def test_an_interrupted_shot_is_aborted() -> None:
    ts = np.arange(0, 200) * SECOND_NS
    state = np.zeros(200)
    state[50:54], state[54:60], state[60:80] = 1, 2, 7
    state[100:104], state[104:110], state[110:130] = 1, 2, 6
    window = Window("a", 0, 200 * SECOND_NS, {"cycle.state": Series.of(ts, state, every_s=1.0)})
    assert Flag.ABORTED in HpdcShot().cycles(window)[0].flags


def test_limits_judge_by_recipe(short: Simulated) -> None:
    process = PROCESS.model_validate(
        PROCESS.model_dump() | {"limit": {"v_fast": {"low": 2.0}}, "recipe_limit": {"x": {"v_fast": {"low": 9.0}}}}
    )
    found_features = measured(process, first_whole(short), short.window)
    assert process.judge(found_features, process.limits({})) is Verdict.PASS
    assert process.judge(found_features, process.limits({"recipe": "x"})) is Verdict.FAIL


@pytest.mark.parametrize(
    "settings",
    [
        {"states": ["IDLE", "POUR"]},
        {"states": ["DIE_CLOSE", "SING"]},
        {"counts_at": "NOWHERE"},
        {"bore_mm": 100.0, "rod_mm": 120.0},
        {"smoothing_points": 12},
        {"colour": "red"},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HpdcShot.model_validate(settings)


def test_the_page_shows_all_settings_and_features(short: Simulated) -> None:
    page = (Path(__file__).parents[3] / "analytics" / "processes" / "casting.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (table,) = tomllib.loads(sample)["cycle"]
    process = HpdcShot.model_validate(table)
    assert set(table) == set(HpdcShot.model_fields)
    assert process.warm_up_cycles == 10
    features = measured(process, first_whole(short), short.window).features
    assert set(process.limit) <= set(features)
    groups = ("die_temp_", "cool_flow", "time_", "tiebar")
    assert all(f"`{name}`" in page for name in features if not name.startswith(groups))


def test_its_deployed_table_decodes() -> None:
    machine = tomllib.loads((Path(__file__).parents[3] / "deploy" / "plant" / "dc1.toml").read_text(encoding="utf-8"))
    (table,) = machine["cycle"]
    process = HpdcShot.model_validate(table)
    roles = {tag["role"] for tag in machine["tag"]}
    assert not process.roles().missing(roles)
