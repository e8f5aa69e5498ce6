"""Machines are pure functions of (seed, time) and live at the numbers of domain.md 6.9."""

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from simulators.casting import CastingCell
from simulators.faults import Faults
from simulators.furnace_load import STEPS
from simulators.heat_treatment import CarburisingFurnace, carbon, dew_point_c, probe_mv
from simulators.run import MODELS, Model
from simulators.signals import SCAN_COUNTER, Machine
from simulators.surface_treatment import PlatingLine
from simulators.welding import WeldingCell

each_machine = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
HOUR = 3600.0


def make(model: Model, seed: int = 1) -> Machine:
    return model.make(seed, Faults())


def spread(values: Sequence[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.pstdev(values)


@each_machine
def test_same_seed_and_time_give_the_same_values_in_any_order(model: Model) -> None:
    times = [5.0, 3000.4, 61.7, 20_000.0, 3000.4, 0.0]
    one, two = make(model), make(model)
    forward = {t: one.sample(t) for t in sorted(times)}
    assert [two.sample(t) for t in times] == [forward[t] for t in times]
    assert make(model, seed=2).sample(3000.4) != forward[3000.4]


@each_machine
def test_values_do_not_depend_on_the_sampling_rate(model: Model) -> None:
    slow, fast = make(model), make(model)
    by_second = [slow.sample(float(s)) for s in range(40)]
    by_tenth = [fast.sample(n * 0.1) for n in range(400)]
    assert by_tenth[::10] == by_second


@each_machine
def test_every_signal_is_sampled_and_plausible(model: Model) -> None:
    machine = make(model)
    samples = [machine.sample(t * 97.3) for t in range(300)]
    for signal in model.signals:
        if signal.name != SCAN_COUNTER:
            values = [sample[signal.name] for sample in samples]
            assert all(signal.low <= value <= signal.high for value in values), signal.name
            if signal.counter:
                assert values == sorted(values), signal.name
    assert samples[0].keys() == {signal.name for signal in model.signals} - {SCAN_COUNTER}


@each_machine
def test_cycles_are_numbered_told_once_and_made_of_their_phases(model: Model) -> None:
    machine = make(model)
    until_s = 32_000.0 if model is MODELS["heat_treatment"] else 6000.0
    whole = list(machine.cycles(0.0, until_s))
    parts = [cycle for start in range(0, int(until_s), 500) for cycle in machine.cycles(start, start + 500.0)]
    assert [c.number for c in parts] == [c.number for c in whole] == list(range(1, len(whole) + 1))
    for cycle in whole:
        assert cycle.phases[0].start_s == cycle.start_s
        assert math.isclose(cycle.phases[-1].end_s, cycle.end_s)
        assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(cycle.phases))


def test_casting_shots_have_the_nominal_means_and_scatter() -> None:
    shots = [cycle.features for cycle in CastingCell(7, Faults()).cycles(0.0, 40 * HOUR)]
    nominal = {
        "v_slow": (0.30, 0.008),
        "v_fast": (2.6, 0.04),
        "t_fill": (48.0, 1.5),
        "p_int": (65.0, 0.8),
        "t_rise": (22.0, 2.0),
        "biscuit": (25.0, 1.8),
        "t_cycle": (62.0, 1.2),
    }
    for name, (mean, sigma) in nominal.items():
        got_mean, got_sigma = spread([shot[name] for shot in shots])
        assert abs(got_mean - mean) < 4 * sigma / math.sqrt(len(shots)), name
        assert got_sigma == pytest.approx(sigma, rel=0.1), name


def test_casting_temperatures_saw_tooth_where_they_should() -> None:
    cell = CastingCell(1, Faults())
    samples = [cell.sample(2 * HOUR + s) for s in range(6000)]
    assert statistics.fmean(s["metal_temp"] for s in samples) == pytest.approx(665.0, abs=1.0)
    for zone in ("die_temp_fix1", "die_temp_mov2"):
        values = [s[zone] for s in samples]
        assert 190.0 < statistics.fmean(values) < 230.0
        assert 40.0 < max(values) - min(values) < 65.0


def test_casting_registers_show_the_last_shot_with_its_counter() -> None:
    cell = CastingCell(1, Faults())
    third = list(cell.cycles(0.0, 400.0))[2]
    before, after = cell.sample(third.end_s - 0.01), cell.sample(third.end_s + 0.01)
    assert (before["shot_counter"], after["shot_counter"]) == (2.0, 3.0)
    assert {name: after[name] for name in third.features} == third.features


def test_furnace_runs_the_whole_program_at_its_setpoints() -> None:
    furnace = CarburisingFurnace(1, Faults())
    load = next(furnace.cycles(0.0, 6 * HOUR))
    phases = {phase.name: phase for phase in load.phases}
    assert tuple(phases) == STEPS
    boost = [furnace.sample(phases["BOOST"].end_s - s) for s in range(1, 600)]
    mean, sigma = spread([s["zone2.pv"] for s in boost])
    assert mean == pytest.approx(925.0, abs=0.5)
    assert sigma == pytest.approx(0.6, rel=0.15)
    assert statistics.fmean(s["atm.cp"] for s in boost) == pytest.approx(1.05, abs=0.01)
    assert statistics.pstdev(s["atm.cp"] for s in boost) < 0.02
    diffused = [furnace.sample(phases["DIFFUSE"].end_s - s)["atm.cp"] for s in range(1, 300)]
    assert statistics.fmean(diffused) == pytest.approx(0.80, abs=0.01)
    quench = phases["QUENCH"]
    fall = furnace.sample(quench.start_s + 5.0)["load_tc.2"] - furnace.sample(quench.start_s + 6.0)["load_tc.2"]
    assert fall > 5.0
    assert load.features["oil_rise"] == pytest.approx(15.0, abs=1.0)
    assert load.features["ramp_s"] > 20 * 60


def test_furnace_probe_agrees_with_the_worked_examples() -> None:
    assert carbon(1120.0, 925.0) == pytest.approx(0.60904, abs=1e-5)
    assert probe_mv(0.60904, 925.0) == pytest.approx(1120.0, abs=0.01)
    assert dew_point_c(1120.0, 925.0) == pytest.approx(-2.944, abs=0.01)


def test_furnace_burns_its_probe_off_twice_a_day() -> None:
    furnace = CarburisingFurnace(1, Faults())
    burning, later = furnace.sample(6 * HOUR + 10.0), furnace.sample(6 * HOUR + 1000.0)
    assert burning["burn_off"] == 1.0
    assert burning["probe.mv"] < 200.0
    assert later["burn_off"] == 0.0
    assert later["probe.mv"] > 1000.0


def test_welding_has_the_nominal_means_and_scatter() -> None:
    cell = WeldingCell(1, Faults())
    welds = [s for n in range(20_000) if (s := cell.sample(n * 0.1))["state"] == 3.0]
    assert len(welds) > 5000
    for tag, mean, sigma in (("u", 24.5, 0.35), ("i", 230.0, 9.0), ("wfs", 8.5, 0.05), ("gas", 18.0, 0.3)):
        got_mean, got_sigma = spread([s[tag] for s in welds])
        assert got_mean == pytest.approx(mean, abs=5 * sigma / math.sqrt(len(welds))), tag
        assert got_sigma == pytest.approx(sigma, rel=0.06), tag
    seam = next(cell.cycles(0.0, 60.0))
    start = next(phase for phase in seam.phases if phase.name == "ARC_START").start_s
    assert cell.sample(start + 0.1)["i"] > cell.sample(start + 1.0)["i"] + 20.0


def near(mean: float, mean_within: float, sigma: float, sigma_within: float) -> Any:
    """What `spread` should give: the mean and its absolute tolerance, the scatter and its relative one."""
    return pytest.approx(mean, abs=mean_within), pytest.approx(sigma, rel=sigma_within)


def test_plating_has_the_nominal_means_and_scatter() -> None:
    line = PlatingLine(1, Faults())
    racks = list(line.cycles(0.0, 200 * HOUR))
    mean, sigma = spread([rack.features["amp"] / 120.0 for rack in racks])
    assert mean == pytest.approx(4.0, abs=0.005)
    assert sigma == pytest.approx(0.04, rel=0.15)
    assert all(19.0 < rack.features["thickness"] < 21.0 for rack in racks)
    samples = [line.sample(n * 61.0) for n in range(2000)]
    assert spread([s["bath_temp"] for s in samples]) == near(55.0, 0.05, 0.5, 0.1)
    assert spread([s["bath_ph"] for s in samples]) == near(4.0, 0.01, 0.03, 0.15)
    assert spread([s["bath_cond"] for s in samples]) == near(45.0, 0.05, 0.5, 0.1)
    volts = [s["rect1_volt"] for s in samples if s["rect1_amp"] > 450.0]
    assert spread(volts) == near(7.5, 0.03, 0.08, 0.3)


def test_plating_hoist_moves_carriers_tank_by_tank() -> None:
    line = PlatingLine(1, Faults())
    seen: dict[float, list[float]] = {}
    for s in range(6000):
        sample = line.sample(float(s))
        if sample["hoist_tank"]:
            tanks = seen.setdefault(sample["carrier_id"], [])
            if not tanks or tanks[-1] != sample["hoist_tank"]:
                tanks.append(sample["hoist_tank"])
    assert seen[5.0] == [float(tank) for tank in range(2, 14)]


def test_plating_rinse_jumps_with_each_dip_and_washes_out() -> None:
    line = PlatingLine(1, Faults())
    rack = next(line.cycles(0.0, HOUR))
    dip = next(phase for phase in rack.phases if phase.name == "RINSE_4").start_s + 900.0 * 3
    dips = [line.sample(dip + s)["rinse_cond"] for s in (-3.0, 3.0, 600.0)]
    assert 30.0 < dips[1] - dips[0] < 85.0
    assert dips[2] < dips[1]
