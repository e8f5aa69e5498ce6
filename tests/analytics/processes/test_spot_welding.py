"""Spot welds against the simulator, and the cases of sections 3.3 and 6.11."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from analytics.process import Flag
from analytics.processes.spot_welding import SpotWeld
from analytics.result import Reason
from analytics.window import Window
from pipeline.model import Waveform
from simulators.spot_welding import PERIOD_S
from tests.bench.segmentation_welding import SPOT, spot_weld, spots
from tests.support.scored import around, assert_local

WELDS = 500
PROCESS = SpotWeld(thinnest_mm=1.2)


def with_waves(window: Window, *waves: Waveform) -> Window:
    return Window(window.asset, window.start_ns, window.end_ns, window.series, {"spot.curve": waves})


def test_every_weld_is_found_and_measured_under_faults() -> None:
    found = spot_weld(PROCESS, WELDS)
    assert found.produced >= WELDS
    assert (found.missed, found.invented) == ((), ())
    assert found.p95() <= 1.0
    assert found.outside(SPOT) == {}


def test_welds_are_numbered_by_the_counter_and_the_same_under_any_cut() -> None:
    made = spots(WELDS)
    found = PROCESS.cycles(made.window)
    assert [s.number for s in found] == [cycle.number for cycle in made.truth]
    assert assert_local(PROCESS, made.window, cuts=20) > 1000


def test_expulsion_is_told_with_its_time() -> None:
    made = spots(WELDS)
    expelled = [cycle.number for cycle in made.truth if cycle.features["expelled"]]
    assert expelled
    segment = next(s for s in PROCESS.cycles(made.window) if s.number == expelled[0])
    features = PROCESS.features(segment, around(PROCESS, segment, made.window)).features
    assert features["expulsion_time"].value == pytest.approx(0.150, abs=0.004)
    assert (features["expulsion_drop"].value or 0.0) > 0.06


def test_a_step_without_force_drop_is_not_confirmed() -> None:
    made = spots(WELDS)
    expelled = next(cycle.number for cycle in made.truth if cycle.features["expelled"])
    wave = made.window.bursts["spot.curve"][expelled - 1]
    steady = wave.value.copy()
    steady[:, 2] = 3.2
    window = with_waves(made.window, Waveform("a", "c", wave.ts_ns, wave.period_ns, wave.channels, steady))
    segment = PROCESS.cycles(window)[0]
    assert PROCESS.features(segment, window).features["expelled"].value == 0.0
    blind = Waveform("a", "c", wave.ts_ns, wave.period_ns, wave.channels[:2], wave.value[:, :2].copy())
    window = with_waves(made.window, blind)
    segment = PROCESS.cycles(window)[0]
    features = PROCESS.features(segment, window).features
    assert features["expelled"].value == 1.0
    assert "force_mean" not in features
    assert [phase.name for phase in segment.phases] == ["SQUEEZE", "PULSE_1", "COOL_1", "PULSE_2", "HOLD"]


def test_squeeze_without_current_is_aborted() -> None:
    made = spots(WELDS)
    wave = made.window.bursts["spot.curve"][3]
    dead = wave.value.copy()
    dead[:, :2] = 0.0
    window = with_waves(made.window, Waveform("a", "c", wave.ts_ns, wave.period_ns, wave.channels, dead))
    segment = PROCESS.cycles(window)[0]
    assert segment.flags == {Flag.ABORTED}
    features = PROCESS.features(segment, window).features
    assert features["current_rms"].value is None
    assert features["resistance_beta"].reason is Reason.MISSING_INPUT
    assert features["expelled"].value is None
    assert all(result.value is None or np.isfinite(result.value) for result in features.values())


def test_weld_that_is_still_running_is_open() -> None:
    made = spots(WELDS)
    wave = made.window.bursts["spot.curve"][3]
    cut = made.window.cut(made.window.start_ns, wave.ts_ns + round(400 * PERIOD_S * 1e9))
    segment = PROCESS.cycles(cut)[-1]
    assert (segment.end_ns, segment.phases[-1].name, segment.phases[-1].end_ns) == (None, "PULSE_2", None)


def test_twice_the_sampling_rate_tells_the_same() -> None:
    made = spots(WELDS)
    wave = made.window.bursts["spot.curve"][10]
    double = Waveform("a", "c", wave.ts_ns, wave.period_ns // 2, wave.channels, np.repeat(wave.value, 2, axis=0))
    slow, fast = (with_waves(made.window, w) for w in (wave, double))
    one, two = (PROCESS.features(PROCESS.cycles(w)[0], w).features for w in (slow, fast))
    assert PROCESS.cycles(slow)[0].phases == PROCESS.cycles(fast)[0].phases
    for name in ("current_rms", "resistance_beta", "resistance_end", "expelled", "force_mean"):
        assert two[name].value == pytest.approx(one[name].value, rel=0.01)
    assert two["weld_energy"].value == pytest.approx(one["weld_energy"].value, rel=0.01)


def test_page_sample_is_a_setting() -> None:
    page = Path(__file__).parents[3] / "analytics" / "processes" / "spot_welding.md"
    sample = page.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert SpotWeld.model_validate(tomllib.loads(sample)["cycle"][0]).limit["expelled"].high == 0.0
