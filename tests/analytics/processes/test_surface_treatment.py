"""Carriers of plating, anodising and electrocoating lines, and cures, against their simulators."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from analytics.process import Flag, Measured
from analytics.processes.oven_cure import OvenCure
from analytics.processes.surface_treatment import AnodiseRack, EcoatRack, PlatingBarrel, PlatingRack
from analytics.result import Reason
from analytics.verdict import Verdict
from analytics.window import SECOND_NS, Series, Window
from simulators import coating
from simulators.faults import Fault, Faults
from simulators.run import Model
from simulators.signals import Machine
from tests.bench.segmentation_surface_treatment import COATED, RACK, coated, coating_score, line, plating_rack
from tests.support.scored import around, assert_local
from tests.support.simulated import simulated

RACKS, EVERY_S = 60, 2.0
PROCESS = PlatingRack(rectifiers=2, area_dm2=120.0)
ROOT = Path(__file__).parents[3]
HOIST = ("hoist.tank_id", "hoist.carrier_id")
Events = list[tuple[float, int, int]]


def hoisted(events: Events, until_s: float = 8000.0, every_s: float = 2.0) -> Window:
    """A line whose hoist shows (from when on, tank, carrier)."""
    seconds = np.arange(0.0, until_s, every_s)
    shown = np.searchsorted([at_s for at_s, _, _ in events], seconds, side="right") - 1
    series = {
        role: Series.of(seconds * SECOND_NS, [float(events[n][column]) for n in shown], every_s=every_s)
        for role, column in zip(HOIST, (1, 2), strict=True)
    }
    return Window("test", 0, round(until_s * SECOND_NS), series)


def passage(start_s: float, carrier: int, tanks: tuple[int, ...] = (2, 3, 4, 8, 13)) -> Events:
    """A carrier that is 100 s in each tank and 10 s in the air."""
    found: Events = []
    for place, tank in enumerate(tanks):
        found += [(start_s + 110.0 * place, 0, carrier), (start_s + 110.0 * place + 10.0, tank, carrier)]
    return found


def measured(window: Window, process: PlatingRack = PROCESS, place: int = 3) -> Measured:
    segment = process.cycles(window)[place]
    return process.features(segment, around(process, segment, window))


def changed(window: Window, **series: Series | None) -> Window:
    table = {**window.series, **{role.replace("__", "."): rows for role, rows in series.items()}}
    kept = {role: rows for role, rows in table.items() if rows is not None}
    return Window(window.asset, window.start_ns, window.end_ns, kept)


def test_every_carrier_is_found_and_measured_under_faults() -> None:
    found = plating_rack(PROCESS, RACKS, EVERY_S)
    assert found.produced >= RACKS - 4
    assert (found.missed, found.invented) == ((), ())
    assert found.p95() <= 1.0
    assert found.outside(RACK) == {}


def test_carriers_are_the_same_under_any_cut() -> None:
    assert assert_local(PROCESS, line(RACKS, EVERY_S)[0].window) > 200


@pytest.mark.parametrize("kind", COATED)
def test_every_rack_and_cure_is_found_and_measured(kind: str) -> None:
    found = coating_score(kind, 40)
    assert found.produced >= 39
    assert (found.missed, found.invented) == ((), ())
    assert found.p95() <= 1.0
    assert found.outside(COATED[kind][4]) == {}
    assert assert_local(COATED[kind][1], coated(kind, 40).window, cuts=15) > 50


def test_two_carriers_at_a_time_keep_their_own_tanks() -> None:
    both = sorted(passage(100.0, 7) + passage(155.0, 8))
    found = PlatingRack().cycles(hoisted(both))
    assert [segment.lane for segment in found] == ["7", "8"]
    for segment, start_s in zip(found, (100.0, 155.0), strict=True):
        assert segment.start_ns == start_s * SECOND_NS or segment.start_ns == (start_s + 1) * SECOND_NS
        assert [phase.name for phase in segment.phases] == ["DEGREASE", "RINSE_1", "PICKLE", "PLATE"]
        assert segment.flags == frozenset()


def test_carrier_used_again_is_another_cycle_and_one_left_behind_is_aborted() -> None:
    again = PlatingRack().cycles(hoisted(passage(100.0, 7) + passage(1000.0, 7)))
    assert [segment.flags for segment in again] == [frozenset(), frozenset()]
    lost = PlatingRack().cycles(hoisted(passage(100.0, 7, (2, 3, 4, 8)) + passage(1000.0, 7)))
    assert [segment.flags for segment in lost] == [{Flag.ABORTED}, frozenset()]
    assert lost[0].end_ns is not None


def test_second_dip_in_the_first_tank_is_the_same_cycle() -> None:
    found = PlatingRack().cycles(hoisted(passage(100.0, 7, (2, 2, 3, 8, 13))))
    assert len(found) == 1
    assert [phase.name for phase in found[0].phases] == ["DEGREASE", "DEGREASE", "RINSE_1", "PLATE"]


def test_wrong_order_is_counted() -> None:
    process = PlatingRack()
    window = hoisted(passage(100.0, 7, (2, 4, 3, 8, 13)))
    segment = process.cycles(window)[0]
    assert process.features(segment, window).features["out_of_order"].value == 1


def test_carrier_still_in_a_tank_is_open() -> None:
    segment = PlatingRack().cycles(hoisted(passage(100.0, 7, (2, 3, 4, 8)), until_s=600.0))[0]
    assert (segment.end_ns, segment.phases[-1].name, segment.phases[-1].end_ns) == (None, "PLATE", None)


def test_first_tank_lost_in_a_gap_leaves_the_rest() -> None:
    made, _ = line(RACKS, EVERY_S)
    whole = PROCESS.cycles(made.window)[20]
    degrease = whole.phase("DEGREASE")
    assert degrease is not None
    series = {}
    for role in HOIST:
        rows = made.window[role]
        kept = (rows.ts_ns < degrease.start_ns - 30 * SECOND_NS) | (rows.ts_ns > degrease.start_ns + 60 * SECOND_NS)
        series[role.replace(".", "__")] = Series(rows.ts_ns[kept], rows.value[kept], rows.quality[kept], rows.every_s)
    found = [s for s in PROCESS.cycles(changed(made.window, **series)) if s.lane == whole.lane]
    assert len(found) == 1
    assert Flag.GAP in found[0].flags
    assert found[0].phase("PLATE") == whole.phase("PLATE")


def test_charge_without_counter_is_the_integral_and_reset_falls_back() -> None:
    window = line(RACKS, EVERY_S)[0].window
    with_counter = measured(window).features
    without = measured(changed(window, rect1__ah=None, rect2__ah=None)).features
    assert without["charge"].value == pytest.approx(with_counter["charge"].value, rel=0.01)
    assert "charge_deviation" not in without
    segment = PROCESS.cycles(window)[3]
    plate = segment.phase("PLATE")
    assert plate is not None
    reset = {}
    for n in (1, 2):
        rows = window[f"rect{n}.ah"]
        late = rows.ts_ns > plate.start_ns + 600 * SECOND_NS
        reset[f"rect{n}__ah"] = Series(rows.ts_ns, np.where(late, rows.value - 4.0e4, rows.value), rows.quality, 2.0)
    found = measured(changed(window, **reset)).features
    assert found["charge_deviation"].reason is Reason.MISSING_INPUT
    assert found["charge"].value == pytest.approx(with_counter["charge"].value, rel=0.01)


def test_area_zero_and_no_area() -> None:
    window = line(RACKS, EVERY_S)[0].window
    assert "thickness" not in measured(window, PlatingRack(rectifiers=2)).features
    segment = PROCESS.cycles(window)[3]
    told = replace(around(PROCESS, segment, window), context={"area_dm2": "0"})
    features = PROCESS.features(segment, told).features
    assert features["current_density"].reason is Reason.ZERO_DENOM
    assert features["thickness"].value is None
    double = replace(told, context={"area_dm2": "240"})
    thin = PROCESS.features(segment, double).features["thickness"].value or 0.0
    assert thin == pytest.approx((measured(window).features["thickness"].value or 0.0) / 2)


def test_dosing_follows_the_charge_and_stops_with_the_pump() -> None:
    stopped = Fault("brightener_stop", "dose_shots", 5_000.0, 1e9, 1.0)
    shots = []
    for faults in ([], [stopped]):
        found = measured(simulated("surface_treatment", 16_000.0, every_s=2.0, faults=faults).window, place=10)
        shots.append(found.features["dosing_per_ah"].value)
    assert shots == [pytest.approx(1 / 7.5, abs=0.004), 0.0]


def test_bath_is_told_while_the_carrier_is_in_it() -> None:
    window = line(RACKS, EVERY_S)[0].window
    found = measured(window).features
    assert found["filter_dp_mean"].value == pytest.approx(18.0, abs=1.0)
    assert found["rinse_flow_mean"].value == pytest.approx(20.0, abs=0.1)
    assert found["bath_level_mean"].value == pytest.approx(1207.0, abs=3.0)
    assert found["heater_mean"].value == pytest.approx(45.0, abs=6.0)
    assert "dosing_per_ah" not in measured(changed(window, **{"dose.pump_shots": None})).features


def test_rinse_without_compensation_is_taken_to_25() -> None:
    window = line(RACKS, EVERY_S)[0].window
    rows = window["rinse1.cond"]
    warm = changed(window, rinse1__temp=Series(rows.ts_ns, np.full(len(rows), 32.0), rows.quality, rows.every_s))
    raw = measured(window).features["rinse_peak"].value or 0.0
    process = PlatingRack(rectifiers=2, rinse_compensated=False)
    assert measured(warm, process).features["rinse_peak"].value == pytest.approx(raw / 1.14)
    drag = measured(window, PlatingRack(rectifiers=2, rinse_g_l=0.0006, bath_g_l=80.0)).features["drag_out"]
    assert drag.formula_id == "F-SUR-08"
    assert 0.5 < (drag.value or 0.0) < 2.0


def test_bake_is_late_after_four_hours() -> None:
    tanks = ("LOAD", "DEGREASE", "PLATE", "DRY", "BAKE", "UNLOAD")
    process = PlatingBarrel(tanks=tanks, rinse_tank="DRY")
    events = [*passage(100.0, 3, (2, 3, 4)), (15500.0, 0, 3), (15510.0, 5, 3), (16000.0, 0, 3), (16010.0, 6, 3)]
    window = hoisted(events, 17_000.0)
    segment = process.cycles(window)[0]
    late = process.features(segment, window).features["bake_delay"]
    assert late.value == pytest.approx((15_510 - 320) / 3600, abs=0.01)
    assert late.reason is Reason.OUT_OF_VALID_RANGE


def test_bare_contact_keeps_the_ecoat_current_up() -> None:
    model = COATED["ecoat_rack"][0]
    process = EcoatRack(area_dm2=400.0)
    decays = []
    for faults in ([], [Fault("bare_contact", "rect1.amp", 0.0, 1e9, 25.0)]):
        window = simulated(model, 2200.0, every_s=1.0, faults=faults).window
        segment = process.cycles(window)[0]
        decays.append(process.features(segment, around(process, segment, window)).features["current_decay"].value)
    assert decays == [pytest.approx(0.034, abs=0.01), pytest.approx(0.16, abs=0.02)]


def test_cold_oven_fails_the_cure() -> None:
    model, process = COATED["oven_cure"][0], OvenCure(least_s=1000.0)
    verdicts = []
    for faults in ([], [Fault("oven_cold", "oven.zone.temp", 0.0, 1e9, 25.0)]):
        window = simulated(model, 3600.0, every_s=5.0, faults=faults).window
        segment = process.cycles(window)[0]
        verdicts.append(process.features(segment, around(process, segment, window)).verdicts["cure"])
    assert verdicts[0] is Verdict.PASS
    assert verdicts[1] is not Verdict.PASS


def test_unknown_tank_is_refused() -> None:
    with pytest.raises(ValidationError, match="'TIN' is not in tanks"):
        PlatingRack(main_tank="TIN")


def test_pages_and_machine_file_are_settings() -> None:
    kinds: TypeAdapter[PlatingRack | PlatingBarrel | AnodiseRack | EcoatRack | OvenCure] = TypeAdapter(
        PlatingRack | PlatingBarrel | AnodiseRack | EcoatRack | OvenCure
    )
    for page in ("surface_treatment.md", "oven_cure.md"):
        text = (ROOT / "analytics" / "processes" / page).read_text(encoding="utf-8")
        for table in tomllib.loads(text.split("```toml\n")[1].split("```")[0])["cycle"]:
            assert kinds.validate_python(table).kind == table["kind"]
    machine = tomllib.loads((ROOT / "deploy" / "plant" / "ni1.toml").read_text(encoding="utf-8"))
    assert PlatingRack.model_validate(machine["cycle"][0]).rectifiers == 2


@pytest.mark.parametrize("model", [model for model, *_ in COATED.values()], ids=list(COATED))
def test_simulators_are_pure_functions_of_time(model: Model) -> None:
    one: Machine = model.make(1, Faults())
    other: Machine = model.make(1, Faults())
    times = [5.0, 3000.4, 61.7, 20_000.0, 3000.4, 0.0]
    forward = {t: one.sample(t) for t in sorted(times)}
    assert [other.sample(t) for t in times] == [forward[t] for t in times]
    whole = [cycle.number for cycle in one.cycles(0.0, 20_000.0)]
    assert [c.number for s in range(0, 20_000, 500) for c in other.cycles(s, s + 500.0)] == whole
    assert coating.ECOAT.main == "ECOAT"
