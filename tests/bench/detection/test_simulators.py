"""The bench of simulated plants: its files load, and its counting counts what it says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from analytics.machines import load_machines
from analytics.table import Table
from simulators.faults import Fault
from tests.bench.detection.plants import DAY_S, PLANTS, ROOT, Run
from tests.bench.detection.ringing import Told, always, by_chance, grouped, told
from tests.bench.detection.simulators import CYCLE_S, FILES, detectors, measure, overall, score
from tests.support.simulated import ORIGIN_NS, to_ns


def test_every_plant_has_a_machine_file_that_loads(tmp_path: Path) -> None:
    assert FILES.keys() == PLANTS.keys() == CYCLE_S.keys()
    for name in ("plant", *FILES.values()):
        shutil.copy(ROOT / "deploy" / "plant" / f"{name}.toml", tmp_path)
    _, machines = load_machines(tmp_path)
    kinds = {one.processes[0].kind: one for one in machines}
    for name, plant in PLANTS.items():
        assert kinds[plant.process.kind].detectors == detectors(name)
        assert {signal.role for signal in plant.model.signals} <= kinds[plant.process.kind].roles, name


@pytest.mark.parametrize("name", sorted(PLANTS))
def test_detectors_look_at_what_there_is_and_on_the_grid_that_is_kept(name: str) -> None:
    plant = PLANTS[name]
    roles = {signal.role for signal in plant.model.signals}
    for one in detectors(name):
        if not one.is_of_cycles:
            assert set(one.view.of) <= roles, one.name
            assert one.view.every_s is not None
            assert one.view.every_s % plant.grid_s == 0, one.name


def belt(faults: tuple[Fault, ...] = (), days: int = 2) -> Run:
    """A mesh belt with a tray each quarter of an hour; between faults nothing moves, in them the belt is slow."""
    seconds = np.arange(-ORIGIN_NS // 10**9 % 30, days * DAY_S, 30.0)
    ends = np.arange(900.0, days * DAY_S, 900.0)
    slow = [any(one.active(at_s) for one in faults) for at_s in seconds.tolist()]
    roles = ("belt.speed", *(f"zone{n}.pv" for n in range(1, 6)))
    tags = np.tile([120.0, 840.0, 850.0, 860.0, 870.0, 870.0], (len(seconds), 1))
    tags[slow, 0] = 80.0
    names = (*(f"zone{n}_temp_mean" for n in range(1, 6)), "dwell", "belt_speed_mean")
    value = np.tile([840.0, 850.0, 860.0, 870.0, 870.0, 50.0, 120.0], (len(ends), 1))
    return Run(
        names=names,
        end_ns=np.array([to_ns(at_s) for at_s in ends]),
        value=value,
        normal=np.ones(len(ends), dtype=np.bool_),
        roles=roles,
        tick_ns=np.array([to_ns(at_s) for at_s in seconds]),
        tag=tags,
        faults=faults,
        seconds=days * DAY_S,
    )


def test_a_slow_belt_is_found_soon_and_named() -> None:
    made = belt((Fault("belt_slow", "belt.speed", DAY_S, DAY_S + 7200.0, 0.3),))
    found = score("mesh_belt", made, told(made, detectors("mesh_belt")))
    assert [(one.failure, one.resembles) for one in found.cases] == [("belt_slow", ("belt_slow",))]
    assert 60.0 <= found.cases[0].delay_s <= 120.0
    assert (found.false, found.alarms) == (0, 1)
    assert found.days == pytest.approx(2 - (7200 + 4 * 3000) / DAY_S)


def test_what_rings_elsewhere_is_false_and_after_two_cycles_too_late() -> None:
    made = belt((Fault("belt_slow", "belt.speed", DAY_S, DAY_S + 7200.0, 0.3),))
    early, late, recovering = DAY_S - 60.0, DAY_S + 7200.0 + 5 * 3000.0, DAY_S + 7200.0 + 3 * 3000.0
    found = score("mesh_belt", made, [alarm(at_s) for at_s in (early, recovering, late)])
    assert (found.false, found.alarms) == (2, 3)
    assert not found.cases[0].is_found
    assert score("mesh_belt", made, [alarm(DAY_S + 7200.0 + 5999.0)]).cases[0].is_found


def alarm(at_s: float, rank: int = 0, lasts_s: float = 600.0) -> Told:
    table = Table.of([0.0])
    return Told(to_ns(at_s), "x", rank, to_ns(at_s + lasts_s), table, 0, {"since": to_ns(at_s) // 1000})


def test_one_cause_rings_once() -> None:
    assert len(grouped([alarm(0.0), alarm(30.0)])) == 1
    assert len(grouped([alarm(0.0), alarm(61.0)])) == 2
    assert len(grouped([alarm(0.0, lasts_s=10.0), alarm(30.0)])) == 2
    assert [one.rank for one in grouped([alarm(0.0), alarm(30.0, rank=2)])] == [0, 2]
    assert [one.rank for one in grouped([alarm(0.0), alarm(0.0, rank=2)])] == [2]


def test_null_random_and_always() -> None:
    made = belt()
    assert len(always(made)) == len(made.end_ns)
    some = by_chance(made, 5, 1)
    assert [one.ts_ns for one in some] == sorted({one.ts_ns for one in some})
    assert all(one.ts_ns > ORIGIN_NS for one in some)


def test_reports_have_every_row() -> None:
    reports = measure(Path(), ["mesh_belt"], days=0.2, times=0, seed=5)  # kept in build/detection
    methods = [row.method for row in reports[0].rows]
    assert methods == ["ours", "3 sigma on every feature", "null", "random", "always"]
    assert [row.method for row in overall(reports).rows] == methods
