"""The tables of signatures: what they name exists, and who moves as they say is recognised."""

import re
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from analytics.cycles import measure, segments
from analytics.explanation import Move
from analytics.process import Process
from analytics.processes.batch_furnace import PitLoad, TemperLoad, VacuumLoad
from analytics.processes.casting import HpdcShot
from analytics.processes.forging import PressStroke
from analytics.processes.heat_treatment import SealedQuench
from analytics.processes.melting import MeltBatch
from analytics.processes.mesh_belt import ContinuousBatch
from analytics.processes.molding import MoldingCycle
from analytics.processes.oven_cure import OvenCure
from analytics.processes.spot_welding import SpotWeld
from analytics.processes.surface_treatment import AnodiseRack, EcoatRack, PlatingBarrel, PlatingRack
from analytics.processes.welding import ArcSeam
from analytics.signature import Kind, Signature, resembling, signatures
from analytics.window import SECOND_NS, Series, Window
from simulators import batch_furnace, coating
from simulators.run import Model
from tests.bench.detection.plants import BELT, GUN, PLANTS, SHOT, VACUUM
from tests.support.simulated import ORIGIN_NS, simulated

PAGE = Path(__file__).parents[2] / "analytics" / "signature.md"
PIT = Model("opcua", batch_furnace.pit, batch_furnace.SIGNALS, batch_furnace.FAILURES, 0)
TEMPERING = Model("opcua", batch_furnace.tempering, batch_furnace.SIGNALS, batch_furnace.FAILURES, 0)
COAT = Model("opcua", lambda seed, faults: coating.CoatLine(coating.ECOAT, seed, faults), coating.SIGNALS, (), 0)
OVEN = Model("opcua", coating.CureOven, coating.OVEN_SIGNALS, (), 0)
RACK = PlatingRack(rectifiers=2, area_dm2=120.0)

MACHINES: dict[Kind, tuple[str | Model, Process, float, float, bool]] = {
    "hpdc_shot": ("casting", SHOT, 300.0, 1.0, True),
    "melt_batch": ("melting", MeltBatch(), 30_000.0, 20.0, False),
    "sealed_quench": ("heat_treatment", SealedQuench(), 33_000.0, 20.0, False),
    "pit_load": (PIT, PitLoad(), 40_000.0, 20.0, False),
    "temper_load": (TEMPERING, TemperLoad(), 40_000.0, 20.0, False),
    "vacuum_load": (VACUUM, VacuumLoad(load_sensors=("load_tc.1",)), 30_000.0, 20.0, False),
    "continuous_batch": (BELT, ContinuousBatch(zone_lengths_m=(1.2,) * 5), 9_000.0, 10.0, False),
    "arc_seam": ("welding", ArcSeam(), 90.0, 0.1, True),
    "spot_weld": (GUN, SpotWeld(thinnest_mm=1.2), 30.0, 1.0, True),
    "plating_rack": ("surface_treatment", RACK, 9_000.0, 2.0, False),
    "ecoat_rack": (COAT, EcoatRack(area_dm2=400.0), 6_000.0, 2.0, False),
    "oven_cure": (OVEN, OvenCure(), 9_000.0, 5.0, False),
    "press_stroke": ("forging", PressStroke(), 30.0, 1.0, True),
    "molding_cycle": ("molding", MoldingCycle(projected_mm2=42_000.0), 200.0, 1.0, True),
}
"""What simulates a process, its settings, s, reading interval s, and whether it has bursts."""
ALIKE: dict[Kind, Kind] = {"plating_barrel": "plating_rack", "anodise_rack": "plating_rack"}
LABORATORY = ("rpt.density_atm", "rpt.density_vac")


def test_kinds_are_those_of_the_processes() -> None:
    processes = (
        HpdcShot, MeltBatch, SealedQuench, PitLoad, TemperLoad, VacuumLoad, ContinuousBatch, ArcSeam, SpotWeld,
        PlatingRack, PlatingBarrel, AnodiseRack, EcoatRack, OvenCure, PressStroke, MoldingCycle,
    )  # fmt: skip
    assert {one.model_fields["kind"].default for one in processes} == set(get_args(Kind))


@cache
def measured(kind: Kind) -> frozenset[str]:
    """Features of the cycles of a simulated machine, and roles of its tags."""
    model, process, until_s, every_s, bursts = MACHINES[ALIKE.get(kind, kind)]
    window = simulated(model, until_s, every_s=every_s, bursts=bursts).window
    if kind == "melt_batch":
        when = np.arange(ORIGIN_NS, window.end_ns, 600 * SECOND_NS)
        laboratory = {role: Series.of(when, np.full(len(when), 2.6)) for role in LABORATORY}
        window = Window(window.asset, window.start_ns, window.end_ns, {**window.series, **laboratory})
    closed = next(one for one in segments(process, window) if one.end_ns is not None)
    end_ns = closed.end_ns or 0
    lead, settle = (round(s * SECOND_NS) for s in (process.lead_s, process.settle_s))
    part = window.cut(closed.start_ns - lead, end_ns + settle + 1000)
    found = frozenset(measure(process, closed, part, [], [], 0).features) | frozenset(window.series)
    # The simulated electrocoating line has few of the tags that all plating lines may have.
    return found | measured("plating_rack") if kind == "ecoat_rack" else found


@pytest.mark.parametrize("signature", signatures(), ids=lambda one: f"{one.name}-{one.kinds[0]}")
def test_every_variable_is_measured(signature: Signature) -> None:
    """Everywhere one that makes the failure, and each somewhere."""
    left = set(signature.moves)
    for kind in signature.kinds:
        there = {name for name in signature.moves if any(fits(name, one) for one in measured(kind))}
        assert any(abs(signature.moves[name]) >= 1 for name in there), kind
        left -= there
    assert left == set()


def fits(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern.rpartition(":")[2])


def test_the_sample_of_the_page_is_from_the_table() -> None:
    (sample,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    told = [Signature.model_validate(table) for table in tomllib.loads(sample)["failure"]]
    assert {one.name for one in told} == {"flash", "anode_passivation"}
    assert set(told[0].moves.items()) <= {pair for one in signatures() for pair in one.moves.items()}
    assert told[1] in signatures()


def test_bounds_are_of_variables_that_move() -> None:
    for one in signatures():
        assert one.share.keys() <= one.moves.keys(), one.name
        assert all(low < high for low, high in one.share.values()), one.name
        assert all(0 < abs(weight) <= 1 for weight in one.moves.values()), one.name


def test_every_failure_of_the_simulators_has_a_signature() -> None:
    for plant in PLANTS.values():
        known = {one.name for one in signatures() if plant.process.kind in one.kinds}
        assert {failure.name for failure in plant.model.failures} <= known, plant.name


@pytest.mark.parametrize("signature", signatures(), ids=lambda one: f"{one.name}-{one.kinds[0]}")
def test_who_moves_as_the_table_says_is_recognised(signature: Signature) -> None:
    kind = signature.kinds[0]
    found = resembling(kind, moved(signature, sorted(measured(kind))))
    assert found[0]["failure"] == signature.name or found[0]["likeness"] == found[1]["likeness"]
    assert [one["likeness"] for one in found] == sorted((one["likeness"] for one in found), reverse=True)
    assert len(found) <= 3


def moved(signature: Signature, names: Sequence[str]) -> list[Move]:
    """As the table says, in full: relative moves in the middle of their bounds."""
    sigma: dict[str, float] = dict.fromkeys(names, 0.0)
    for pattern, weight in signature.moves.items():
        fitting = [name for name in names if fits(pattern, name)]
        all_of_them = (pattern.startswith("max:") and weight < 0) or (pattern.startswith("min:") and weight > 0)
        which = fitting if all_of_them else fitting[-1:] if pattern.startswith("min:") else fitting[:1]
        for name in which:
            sigma[name] = 2.0 * np.sign(weight) + 6.0 * weight
    share = {name: float(np.mean(bounds)) for name, bounds in signature.share.items()}
    return [Move(name, far, 1.0, 1.0 + share.get(name, 0.01 * far)) for name, far in sigma.items()]


def test_small_moves_and_unknown_variables_say_nothing() -> None:
    assert resembling("hpdc_shot", [Move("biscuit", -1.9, 25.0, 22.0), Move("cycle_time", 40.0, 62.0, 99.0)]) == []
    assert resembling("no such process", [Move("biscuit", -9.0, 25.0, 5.0)]) == []


def test_what_rings_has_moved_however_slowly() -> None:
    told = {"subject": "v_fast", "value": 2.5, "centre": 2.6}
    assert resembling("hpdc_shot", [Move("v_fast", 0.3, 2.5, 2.51)], told)[0]["failure"] == "plunger_wear"
    assert resembling("hpdc_shot", [Move("v_fast", 0.3, 2.5, 2.51)], told | {"value": 2.7}) == []
    assert resembling("hpdc_shot", [], {"subject": "", "score": 3.0}) == []
