"""Cycles: found, told apart and measured as they were, and the cases that must not become numbers."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from analytics.process import Flag, Segment
from analytics.processes.molding import MoldingCycle
from analytics.result import Reason
from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Waveform
from simulators.faults import Fault
from simulators.molding import PERIOD_S
from simulators.signals import Cycle
from tests.bench.segmentation_molding import CYCLES, PROCESS, TOLERANCE, errors, found, scenario
from tests.support.segmentation import assert_local, boundaries, measured
from tests.support.simulated import Simulated, simulated, to_ns

BITS = ("mold_closed", "inject", "hold", "mold_opened", "eject")


@pytest.fixture(scope="module")
def made() -> Simulated:
    return scenario(CYCLES)


@pytest.fixture(scope="module")
def pairs(made: Simulated) -> list[tuple[Segment, Cycle]]:
    return found(made)


@pytest.fixture(scope="module")
def short() -> Simulated:
    return simulated("molding", 640.0, bursts=True)


def first_whole(made: Simulated, process: MoldingCycle = PROCESS) -> Segment:
    return next(one for one in process.cycles(made.window)[1:] if one.end_ns is not None)


def without(window: Window, *roles: str) -> Window:
    series = {role: rows for role, rows in window.series.items() if role not in roles}
    bursts = {role: waves for role, waves in window.bursts.items() if role not in roles}
    return replace(window, series=series, bursts=bursts)


def test_every_cycle_is_found_and_none_invented(made: Simulated, pairs: list[tuple[Segment, Cycle]]) -> None:
    closed = [one for one in PROCESS.cycles(made.window) if one.end_ns is not None]
    assert len(pairs) == len(closed) == len(made.truth) >= CYCLES - 3
    assert all(one.number == cycle.number for one, cycle in pairs)


def test_phases_begin_within_a_sample(made: Simulated, pairs: list[tuple[Segment, Cycle]]) -> None:
    told = boundaries(pairs, 1.0)
    assert {b.phase for b in told} == {phase.name for phase in made.truth[0].phases}
    assert all(b.p95 <= 1.0 for b in told), told


def test_the_burst_tells_fill_and_packing_within_its_samples(short: Simulated) -> None:
    for b in boundaries(found(short), PERIOD_S):
        assert b.phase not in {"FILL", "PACK", "COOL"} or b.p95 <= 2.0, b


def test_features_are_within_their_tolerances(made: Simulated, pairs: list[tuple[Segment, Cycle]]) -> None:
    wrong = errors(made, CYCLES, pairs)
    for name, tolerance in TOLERANCE.items():
        assert len(wrong[name]) > 0.85 * CYCLES, name
        assert max(wrong[name]) <= tolerance, name


def test_cuts_change_nothing(made: Simulated) -> None:
    part = made.window.cut(to_ns(1_000.0), to_ns(6_000.0))
    assert_local(PROCESS, Simulated(part, made.truth), cuts=40, shortest_s=60.0)


def test_a_cycle_that_runs_is_open(short: Simulated) -> None:
    one = first_whole(short)
    cool = one.phase("COOL")
    assert cool is not None
    running = PROCESS.cycles(short.window.cut(short.window.start_ns, cool.start_ns + 5 * SECOND_NS))[-1]
    assert running.start_ns == one.start_ns
    assert (running.end_ns, running.phases[-1].name, running.phases[-1].end_ns) == (None, "COOL", None)


def test_bits_tell_the_same_cycles(short: Simulated) -> None:
    process = PROCESS.model_copy(update={"marker": "bits"})
    told = found(Simulated(without(short.window, "cycle.state"), short.truth), process)
    assert len(told) == len(short.truth)
    assert all(one.flags == frozenset() for one, _ in told)
    assert all(b.p95 <= 1.0 for b in boundaries(told, 1.0))
    assert {b.phase for b in boundaries(told, 1.0)} == {"CLOSE", "FILL", "PACK", "COOL", "OPEN", "EJECT", "IDLE"}


def test_without_roles_and_settings_features_are_left_out_by_name(short: Simulated) -> None:
    bare = MoldingCycle()
    window = without(short.window, "cavity.curve", "cycle.cushion", "energy.total", "mold.temp")
    features = measured(bare, first_whole(short, bare), window).features
    assert not {"reported_cushion", "energy", "mold_temp_mean", "cushion", "clamp_need", "cav_p1_peak"} & set(features)
    assert features["reported_fill_time"].value is not None


def test_a_burst_that_did_not_come_leaves_reasons(short: Simulated) -> None:
    window = replace(short.window, bursts={"cavity.curve": ()})
    assert measured(PROCESS, first_whole(short), window).features["cushion"].reason is Reason.MISSING_INPUT


def still(burst: Waveform) -> Waveform:
    value = burst.value.copy()
    value[:, 0] = 64.0
    return Waveform(burst.asset, burst.name, burst.ts_ns, burst.period_ns, burst.channels, value)


def test_a_screw_that_stands_still_is_an_aborted_cycle(short: Simulated) -> None:
    one = first_whole(short)
    burst = next(wave for wave in short.window.bursts["cavity.curve"] if wave.ts_ns > one.start_ns)
    window = replace(short.window, bursts={"cavity.curve": (still(burst),)})
    told = next(cycle for cycle in PROCESS.cycles(window) if cycle.start_ns == one.start_ns)
    assert Flag.ABORTED in told.flags
    features = measured(PROCESS, told, window).features
    for name in ("fill_time", "cushion", "cushion_fraction", "dosing_time"):
        assert features[name].value is None, name


def test_missing_pressures_switch_their_features_off(short: Simulated) -> None:
    waves = tuple(
        Waveform(w.asset, w.name, w.ts_ns, w.period_ns, w.channels[:1], w.value[:, :1].copy())
        for w in short.window.bursts["cavity.curve"]
    )
    window = replace(short.window, bursts={"cavity.curve": waves})
    features = measured(PROCESS, first_whole(short), window).features
    assert "cav_p1_peak" not in features
    assert features["fill_time"].value is not None
    assert features["inj_peak"].value is None


def test_registers_of_the_cycle_before_are_not_taken(short: Simulated) -> None:
    one = first_whole(short)
    count = short.window["shot.count"]
    stays = Series.of(count.ts_ns, np.full(len(count), float((one.number or 0) - 1)), every_s=1.0)
    window = replace(short.window, series={**short.window.series, "shot.count": stays})
    assert measured(PROCESS, one, window).features["reported_cushion"].reason is Reason.MISSING_INPUT


def test_all_bad_rows_find_nothing(short: Simulated) -> None:
    rows = short.window["cycle.state"]
    bad = Series.of(rows.ts_ns, np.full(len(rows), np.nan), 0x808C0000, every_s=1.0)
    assert PROCESS.cycles(replace(without(short.window, *BITS), series={"cycle.state": bad})) == ()


def test_a_gap_marks_the_cycle() -> None:
    made = simulated("molding", 400.0, faults=[Fault("gap", "", 205.0, 211.0, 1.0)])
    assert len([one for one in PROCESS.cycles(made.window) if Flag.GAP in one.flags]) == 1


@pytest.mark.parametrize(
    ("failure", "feature", "below"),
    [("check_ring_leak", "cushion", 3.6), ("short_shot", "cav_p2_peak", 10.0), ("flash", "cav_p1_peak", 42.0)],
)
def test_a_failure_shows_in_its_feature(failure: str, feature: str, below: float) -> None:
    sizes = {"check_ring_leak": 1.5, "short_shot": 0.95, "flash": 0.08}
    made = simulated("molding", 200.0, faults=[Fault(failure, "", 0.0, 400.0, sizes[failure])], bursts=True)
    value = measured(PROCESS, first_whole(made), made.window).features[feature].value
    assert value is not None
    assert value < below


@pytest.mark.parametrize("settings", [{"states": ["IDLE"]}, {"switch_share": 1.0}, {"projected_mm2": 0.0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MoldingCycle.model_validate(settings)


def test_the_page_shows_all_settings_and_features(short: Simulated) -> None:
    page = (Path(__file__).parents[3] / "analytics" / "processes" / "molding.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (table,) = tomllib.loads(sample)["cycle"]
    process = MoldingCycle.model_validate(table)
    assert set(table) | {"recipe_limit"} == set(MoldingCycle.model_fields)
    features = measured(process, first_whole(short), short.window).features
    assert set(process.limit) <= set(features)
    assert all(f"`{name}`" in page for name in features if not name.startswith(("time_", "barrel_")))
