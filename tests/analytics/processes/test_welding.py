"""Arc seams against the simulator, and the cases of sections 3.1, 3.2 and 6.11."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.process import Flag, Measured
from analytics.processes.welding import ArcSeam
from analytics.result import Reason
from analytics.verdict import Verdict
from analytics.window import SECOND_NS, Series, Window
from simulators.faults import Fault
from simulators.signals import Cycle
from tests.bench.segmentation_welding import SEAM, arc_seam, seams
from tests.support.scored import around, assert_local, score
from tests.support.simulated import Simulated, simulated, to_ns

SEAMS = 180
ROOT = Path(__file__).parents[3]
WPS: dict[str, Any] = {
    "wps": {
        "voltage": {"low": 22.5, "high": 26.5},
        "current": {"low": 205.0, "high": 255.0},
        "gas_flow": {"low": 15.0, "high": 21.0},
        "heat_input": {"low": 0.5, "high": 0.9},
        "interpass": {"high": 180.0},
    }
}


@pytest.fixture(scope="module")
def clean() -> Simulated:
    return simulated("welding", 300.0, every_s=0.1, bursts=True)


def measured(process: ArcSeam, window: Window, place: int = 1) -> Measured:
    segment = process.cycles(window)[place]
    return process.features(segment, around(process, segment, window))


def with_series(window: Window, **changed: Series) -> Window:
    series = {**window.series, **{role.replace("__", "."): rows for role, rows in changed.items()}}
    return Window(window.asset, window.start_ns, window.end_ns, series, window.bursts, window.context)


def thinned(made: Simulated) -> Window:
    """What the device sends: the cell once a second, the arc once a second while nothing is welded."""
    idle = made.window["cycle.state"].value == 0.0
    series = {}
    for role, rows in made.window.series.items():
        kept = np.arange(len(rows)) % 10 == 0
        if role not in {"cycle.state", "part.count", "job_no", "interpass.temp", "feeder.motor", "wire.total"}:
            kept |= ~idle
        series[role] = Series(rows.ts_ns[kept], rows.value[kept], rows.quality[kept], 1.0)
    return Window(made.window.asset, made.window.start_ns, made.window.end_ns, series, made.window.bursts)


@pytest.mark.parametrize("by", ["current", "state"])
def test_every_seam_is_found_and_measured_under_faults(by: str) -> None:
    found = arc_seam(ArcSeam.model_validate({"segment_by": by}), SEAMS)
    assert found.produced >= SEAMS - 5
    assert (found.missed, found.invented) == ((), ())
    assert found.p95() <= 1.0
    assert found.outside(SEAM) == {}


@pytest.mark.parametrize("by", ["current", "state"])
def test_seams_are_the_same_under_any_cut(by: str) -> None:
    assert assert_local(ArcSeam.model_validate({"segment_by": by}), seams(SEAMS)[0].window, cuts=15) > 300


def test_seams_at_the_pace_of_the_device(clean: Simulated) -> None:
    made = Simulated(thinned(clean), clean.truth)
    slow = SEAM | {"interpass": ("interpass_start", 5.0), "wire_used": ("wire_kg", 0.02)}
    found = score(ArcSeam(), made, 0.1, slow)
    assert (found.missed, found.invented) == ((), ())
    assert found.p95() <= 1.0
    assert found.outside(slow) == {}
    assert all(segment.flags == frozenset() for segment in ArcSeam().cycles(made.window))


def test_a_spike_while_idle_is_no_seam(clean: Simulated) -> None:
    window = thinned(clean)
    rows = window["arc.i"]
    found = ArcSeam().cycles(window)
    idle = int(np.searchsorted(rows.ts_ns, (found[0].end_ns or 0) + SECOND_NS))
    value = rows.value.copy()
    value[idle] = 150.0
    assert ArcSeam().cycles(with_series(window, arc__i=Series(rows.ts_ns, value, rows.quality, 1.0))) == found


def test_without_gas_and_travel_the_seam_is_its_arc(clean: Simulated) -> None:
    few = {role: clean.window[role] for role in ("arc.i", "arc.u")}
    window = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, few)
    found = [segment for segment in ArcSeam().cycles(window) if segment.end_ns is not None]
    weld = [next(p for p in cycle.phases if p.name == "ARC_START") for cycle in clean.truth]
    assert len(found) - len(clean.truth) in {0, 1}  # the arc of the last seam may have ended before its idle time
    assert all(abs(s.start_ns - to_ns(p.start_s)) < 0.1 * SECOND_NS for s, p in zip(found, weld, strict=False))
    assert {phase.name for segment in found for phase in segment.phases} == {"ARC_START", "WELD"}
    assert all(segment.flags == frozenset() for segment in found)
    assert "arc_energy" not in measured(ArcSeam(), window).features


def test_dropouts_are_interruptions_not_seams() -> None:
    fault = Fault("arc_dropout", "i", 0.0, 1e9, 1.0)
    made = simulated("welding", 120.0, every_s=0.1, faults=[fault])
    process = ArcSeam()
    found = process.cycles(made.window)
    assert [s.number for s in found if s.end_ns is not None] == [cycle.number for cycle in made.truth]
    for cycle, segment in zip(made.truth, found, strict=False):
        features = process.features(segment, around(process, segment, made.window)).features
        assert features["arc_interruptions"].value == int((cycle.features["weld_s"] + 1e-6) // 3.0)


def test_slipping_wire_takes_twice_the_feeder_current() -> None:
    fault = Fault("wire_slip", "i", 0.0, 1e9, 0.1)
    currents = [
        measured(ArcSeam(), simulated("welding", 60.0, every_s=0.1, faults=faults).window)
        .features["feeder_current_mean"]
        .value
        for faults in ([], [fault])
    ]
    assert currents == [pytest.approx(2.1, abs=0.02), pytest.approx(4.2, abs=0.02)]


def test_gas_without_an_arc_is_no_seam(clean: Simulated) -> None:
    rows = clean.window["gas.flow"]
    first = ArcSeam().cycles(clean.window)[0]
    at_ns = (first.end_ns or 0) + SECOND_NS
    purge = np.where((rows.ts_ns > at_ns) & (rows.ts_ns < at_ns + SECOND_NS), 18.0, rows.value)
    window = with_series(clean.window, gas__flow=Series(rows.ts_ns, purge, rows.quality, rows.every_s))
    assert ArcSeam().cycles(window) == ArcSeam().cycles(clean.window)


def test_procedure_passes_and_reviews(clean: Simulated) -> None:
    process = ArcSeam.model_validate(WPS)
    good = measured(process, clean.window)
    assert good.verdicts == {"wps": Verdict.PASS}
    assert good.features["wps_voltage_compliance"].value == pytest.approx(1.0)
    assert process.judge(good, {}) is Verdict.PASS
    lost = simulated("welding", 60.0, every_s=0.1, faults=[Fault("gas_loss", "gas", 0.0, 1e9, 0.5)])
    assert measured(process, lost.window).verdicts == {"wps": Verdict.REVIEW}


def test_recipe_procedure_goes_first() -> None:
    wrong = simulated("welding", 60.0, every_s=0.1, faults=[Fault("wrong_job", "job", 0.0, 1e9, 1.0)])
    recipe = {
        "recipe_wps": {"job2": {"voltage": {"low": 25.5, "high": 29.5}, "current": {"low": 245.0, "high": 295.0}}}
    }
    process = ArcSeam.model_validate({"wps": {"voltage": WPS["wps"]["voltage"]}} | recipe)
    assert measured(process, wrong.window).verdicts == {"wps": Verdict.REVIEW}
    told = Window(
        wrong.window.asset, wrong.window.start_ns, wrong.window.end_ns, wrong.window.series, context={"recipe": "job2"}
    )
    segment = process.cycles(told)[1]
    window = told.cut(segment.start_ns - 30 * SECOND_NS, (segment.end_ns or 0) + 5 * SECOND_NS)
    assert process.features(segment, window).verdicts == {"wps": Verdict.PASS}


def test_missing_variable_or_bundles_never_pass(clean: Simulated) -> None:
    process = ArcSeam.model_validate(WPS)
    without_gas = {role: rows for role, rows in clean.window.series.items() if role != "gas.flow"}
    window = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, without_gas)
    assert measured(process, window).verdicts == {"wps": Verdict.INCOMPLETE}
    rows = clean.window["arc.u"]
    weld = process.cycles(clean.window)[1].phase("WELD")
    assert weld is not None
    blind = (rows.ts_ns > weld.start_ns + 2 * SECOND_NS) & (rows.ts_ns < weld.start_ns + 4 * SECOND_NS)
    bad = Series(rows.ts_ns, np.where(blind, np.nan, rows.value), rows.quality, rows.every_s)
    assert measured(process, with_series(clean.window, arc__u=bad)).verdicts == {"wps": Verdict.INCOMPLETE}


def test_travel_zero_has_no_energy_and_hot_preheat_no_cooling_time(clean: Simulated) -> None:
    rows = clean.window["travel"]
    still = Series(rows.ts_ns, np.zeros(len(rows)), rows.quality, rows.every_s)
    features = measured(ArcSeam(), with_series(clean.window, travel=still)).features
    assert features["arc_energy"].reason is Reason.ZERO_DENOM
    assert features["heat_input"].value is None
    hot = clean.window["interpass.temp"]
    oven = Series(hot.ts_ns, np.full(len(hot), 510.0), hot.quality, hot.every_s)
    features = measured(ArcSeam(thickness_mm=6.0), with_series(clean.window, interpass__temp=oven)).features
    assert features["cooling_time"].value is None
    assert features["cooling_time"].reason is not Reason.OK


def test_gap_inside_a_seam_is_flagged(clean: Simulated) -> None:
    process = ArcSeam()
    weld = process.cycles(clean.window)[1].phase("WELD")
    assert weld is not None
    series = {}
    for role, rows in clean.window.series.items():
        kept = (rows.ts_ns < weld.start_ns + 2 * SECOND_NS) | (rows.ts_ns > weld.start_ns + 4 * SECOND_NS)
        series[role] = Series(rows.ts_ns[kept], rows.value[kept], rows.quality[kept], rows.every_s)
    window = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, series)
    segment = process.cycles(window)[1]
    assert segment.flags == {Flag.GAP}
    assert segment.end_ns == process.cycles(clean.window)[1].end_ns
    assert Flag.GAP in process.features(segment, around(process, segment, window)).flags


def test_burst_tells_less_power_than_the_means(clean: Simulated) -> None:
    features = measured(ArcSeam(), clean.window).features
    energy, instant = features["arc_energy"].value or 0.0, features["arc_energy_instant"].value or 0.0
    assert instant < 0.96 * energy
    assert features["voltage_variation"].value == pytest.approx(0.35, abs=0.05)
    without = Window(clean.window.asset, clean.window.start_ns, clean.window.end_ns, clean.window.series)
    assert "arc_power" not in measured(ArcSeam(), without).features
    lost = Window(
        clean.window.asset, clean.window.start_ns, clean.window.end_ns, clean.window.series, {"arc.burst": ()}
    )
    assert measured(ArcSeam(), lost).features["arc_power"].reason is Reason.MISSING_INPUT


def test_seam_that_still_burns_is_open(clean: Simulated) -> None:
    process = ArcSeam()
    weld = process.cycles(clean.window)[1].phase("WELD")
    assert weld is not None
    segment = process.cycles(clean.window.cut(clean.window.start_ns, weld.start_ns + 3 * SECOND_NS))[-1]
    assert (segment.end_ns, segment.phases[-1].name, segment.phases[-1].end_ns) == (None, "WELD", None)


def test_page_and_machine_file_are_settings() -> None:
    page = (ROOT / "analytics" / "processes" / "welding.md").read_text(encoding="utf-8")
    sample = tomllib.loads(page.split("```toml\n")[1].split("```")[0])["cycle"][0]
    machine = tomllib.loads((ROOT / "deploy" / "plant" / "weld1.toml").read_text(encoding="utf-8"))["cycle"][0]
    for table in (sample, machine):
        assert ArcSeam.model_validate(table).wps["interpass"].high == 180.0


def test_cycle_means_lie_where_the_truth_does(clean: Simulated) -> None:
    def first(cycle: Cycle) -> bool:
        return cycle.number < 4

    assert score(ArcSeam(), clean, 0.1, SEAM, measured=first).outside(SEAM) == {}
