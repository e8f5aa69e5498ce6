"""Pit, tempering and vacuum furnaces and the mesh belt: cycles, phases and features against their simulators."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from analytics.process import Flag
from analytics.processes.batch_furnace import PitLoad, TemperLoad, VacuumLoad
from analytics.processes.mesh_belt import ContinuousBatch
from analytics.window import SECOND_NS, Series, Window
from simulators import batch_furnace
from simulators.faults import Fault, Faults
from simulators.mesh_belt import ZONE_M, MeshBelt
from simulators.signals import Machine
from tests.bench.segmentation_heat_treatment import BATCH, BELT, VACUUM, batch, batches, belt, trays
from tests.support.scored import around, assert_local
from tests.support.simulated import simulated

PAGES = Path(__file__).parents[3] / "analytics" / "processes"
LOADS, EVERY_S = 40, 20.0
BY_TRAY = ContinuousBatch(zone_lengths_m=(ZONE_M,) * 5, begin_by="tray")


@pytest.mark.parametrize("kind", BATCH)
def test_every_load_is_found_and_measured_under_faults(kind: str) -> None:
    _, process, _, wanted = BATCH[kind]
    found = batch(kind, process, LOADS, EVERY_S)
    assert found.produced >= LOADS - 2
    assert (found.missed, found.invented) == ((), ())
    assert found.p95() <= 1.0
    assert found.outside(wanted | {"soak_in_band": ("soak_s", 45.0)}) == {}


@pytest.mark.parametrize("kind", ["pit_load", "temper_load"])
def test_rules_find_the_same_loads(kind: str) -> None:
    process = (PitLoad if kind == "pit_load" else TemperLoad)(segment_by="rules", cold_below=158.0)
    found = batch(kind, process, LOADS, EVERY_S)
    assert (found.missed, found.invented) == ((), ())
    assert found.p95("RAMP", "SOAK") <= 1.0


@pytest.mark.parametrize("kind", BATCH)
def test_loads_are_the_same_under_any_cut(kind: str) -> None:
    made, _ = batches(kind, LOADS, EVERY_S)
    assert assert_local(BATCH[kind][1], made.window, cuts=20) > 50
    if kind != "vacuum_load":
        assert assert_local(PitLoad(segment_by="rules", cold_below=158.0), made.window, cuts=20) > 50


def test_vacuum_leak_and_pump_down_are_told() -> None:
    leak = Fault("vacuum_leak", "vac.pressure", 0.0, 1e9, 40.0)
    made = simulated(VACUUM, 30_000.0, every_s=5.0, faults=[leak])
    process = VacuumLoad(volume_l=2000.0)
    segment = process.cycles(made.window)[0]
    features = process.features(segment, around(process, segment, made.window)).features
    assert features["leak_up_rate"].value == pytest.approx(40.0, abs=1.0)
    assert features["leak_flow"].formula_id == "F-HT-17"
    assert features["pumped_after"].value == pytest.approx(90.0 * np.log(1013.0 / 0.1), abs=15.0)


def test_load_that_lags_and_thermocouple_that_reads_low_differ_in_sign() -> None:
    process, apart = VacuumLoad(), []
    for faults in (
        [],
        [Fault("overload", "load_tc.1", 0.0, 1e9, 0.5)],
        [Fault("tc_drift", "zone1.pv", 0.0, 12_500.0, 6.0)],
    ):
        window = simulated(VACUUM, 15_000.0, every_s=10.0, faults=faults).window
        segment = process.cycles(window)[0]
        found = process.features(segment, around(process, segment, window)).features["load_difference"].value
        apart.append(found or 0.0)
    assert apart[1] < apart[0] - 5.0
    assert apart[2] > apart[0] + 3.0


def test_every_tray_is_found_and_measured_while_the_belt_stops() -> None:
    found = trays(120, EVERY_S)
    assert (found.missed, found.invented) == ((), ())
    assert found.p95() <= 1.0
    assert found.outside(BELT) == {}


def test_slots_and_trays_are_the_same_under_any_cut() -> None:
    window = belt(120, EVERY_S).window
    assert assert_local(BY_TRAY, window) > 100
    assert assert_local(ContinuousBatch(zone_lengths_m=(ZONE_M,) * 5), window) > 100


def test_batch_still_inside_is_open_and_a_blind_belt_is_a_gap() -> None:
    window = belt(120, EVERY_S).window
    last = BY_TRAY.cycles(window)[-1]
    assert last.end_ns is None
    first = BY_TRAY.cycles(window)[1]
    rows = window["belt.speed"]
    seen = (rows.ts_ns < first.start_ns + 300 * SECOND_NS) | (rows.ts_ns > first.start_ns + 500 * SECOND_NS)
    holed = Series(rows.ts_ns[seen], rows.value[seen], rows.quality[seen], rows.every_s)
    blind = Window(window.asset, window.start_ns, window.end_ns, {**window.series, "belt.speed": holed})
    found = next(s for s in BY_TRAY.cycles(blind) if s.start_ns == first.start_ns)
    assert found.flags == {Flag.GAP}
    assert first.flags == frozenset()


@pytest.mark.parametrize("page", ["batch_furnace.md", "mesh_belt.md"])
def test_page_samples_are_settings(page: str) -> None:
    text = (PAGES / page).read_text(encoding="utf-8")
    kinds: TypeAdapter[PitLoad | TemperLoad | VacuumLoad | ContinuousBatch] = TypeAdapter(
        PitLoad | TemperLoad | VacuumLoad | ContinuousBatch
    )
    for table in tomllib.loads(text.split("```toml\n")[1].split("```")[0])["cycle"]:
        assert kinds.validate_python(table).kind == table["kind"]


@pytest.mark.parametrize("make", [batch_furnace.pit, batch_furnace.tempering, batch_furnace.vacuum, MeshBelt])
def test_simulators_are_pure_functions_of_time(make: "type[MeshBelt]") -> None:
    one: Machine = make(1, Faults())
    other: Machine = make(1, Faults())
    times = [5.0, 3000.4, 61.7, 60_000.0, 3000.4, 0.0]
    forward = {t: one.sample(t) for t in sorted(times)}
    assert [other.sample(t) for t in times] == [forward[t] for t in times]
    whole = [cycle.number for cycle in one.cycles(0.0, 60_000.0)]
    assert [c.number for s in range(0, 60_000, 2500) for c in other.cycles(s, s + 2500.0)] == whole
