"""Strokes: found in bursts and by the counter, measured as they were, and the cases that must not become numbers."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from analytics.process import Flag, Measured, Segment
from analytics.processes.forging import PHASES, PressStroke
from analytics.result import Floats, Reason
from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Waveform
from simulators.faults import Fault
from simulators.forging import PERIOD_S
from tests.bench.segmentation_forging import PROCESS, STROKES, TOLERANCE, errors, found, scenario
from tests.support.segmentation import assert_local, boundaries, measured
from tests.support.simulated import Simulated, simulated, to_ns

COUNTER = PressStroke(marker="counter")


@pytest.fixture(scope="module")
def made() -> Simulated:
    return scenario(STROKES)


@pytest.fixture(scope="module")
def short() -> Simulated:
    return simulated("forging", 61.0, bursts=True)


def first_whole(made: Simulated, process: PressStroke = PROCESS) -> Segment:
    return next(one for one in process.cycles(made.window)[2:] if one.end_ns is not None)


def shown(made: Simulated, one: Segment, value: Floats, channels: tuple[str, ...]) -> tuple[Segment, Measured]:
    """The stroke and its features had its burst been this one."""
    wave = Waveform("a", "press_tonnage", one.start_ns, 1_000_000, channels, value.astype(np.float32))
    window = replace(made.window, bursts={"press.tonnage": (wave,)})
    (told,) = PROCESS.cycles(window)
    return told, measured(PROCESS, told, window)


def test_every_stroke_is_found_and_none_invented(made: Simulated) -> None:
    pairs = found(made)
    closed = [one for one in PROCESS.cycles(made.window) if one.start_ns >= to_ns(made.truth[0].start_s)]
    assert len(pairs) == len(closed) == len(made.truth) >= STROKES - 1


def test_phases_begin_within_a_sample_of_the_burst(made: Simulated) -> None:
    told = boundaries(found(made), PERIOD_S)
    assert {b.phase for b in told} == set(PHASES)
    assert all(b.p95 <= 1.0 for b in told), told


def test_features_are_within_their_tolerances(made: Simulated) -> None:
    wrong = errors(made)
    for name, tolerance in TOLERANCE.items():
        assert len(wrong[name]) > 250, name
        assert max(wrong[name]) <= tolerance, name


def test_strokes_have_their_numbers(short: Simulated) -> None:
    assert all(one.number == cycle.number for one, cycle in found(short))


def test_cuts_change_nothing(made: Simulated) -> None:
    assert_local(PROCESS, made, cuts=60, shortest_s=70.0)
    assert_local(COUNTER, made, cuts=60, shortest_s=70.0)


def test_the_counter_tells_strokes_without_bursts(short: Simulated) -> None:
    window = replace(short.window, bursts={})
    pairs = found(Simulated(window, short.truth), COUNTER)
    # The first rise that is seen begins the second stroke; the last stroke ends with the window.
    assert len(pairs) >= len(short.truth) - 2
    assert all(one.number == cycle.number and not one.flags for one, cycle in pairs)
    assert all(b.p95 <= 1.0 for b in boundaries(pairs, 1.0))
    features = measured(COUNTER, pairs[0][0], window).features
    assert features["reported_peak"].value == pytest.approx(pairs[0][1].features["peak"], abs=0.51)
    assert "peak" not in features


def test_a_jump_of_the_counter_is_a_gap_and_invents_nothing() -> None:
    made = simulated("forging", 61.0, faults=[Fault("gap", "", 20.0, 27.0, 1.0)])
    lost = [one for one in COUNTER.cycles(made.window) if Flag.GAP in one.flags]
    assert len(lost) == 1


def test_a_stop_is_no_stroke() -> None:
    ts = np.arange(0, 200) * SECOND_NS
    count = np.select([np.arange(200) < 10, np.arange(200) < 12, np.arange(200) < 150], [5.0, 6.0, 7.0], 8.0)
    window = Window(
        "a",
        0,
        200 * SECOND_NS,
        {
            "stroke.count": Series.of(ts, count, every_s=1.0),
            "press.spm": Series.of(ts, np.full(200, 30.0), every_s=1.0),
        },
    )
    told = [(one.number, one.start_ns // SECOND_NS, (one.end_ns or 0) // SECOND_NS) for one in COUNTER.cycles(window)]
    assert told == [(7, 10, 12), (8, 148, 150)]


def test_a_stroke_that_runs_is_open(short: Simulated) -> None:
    one = first_whole(short)
    form = one.phase("FORM")
    assert form is not None
    running = PROCESS.cycles(short.window.cut(short.window.start_ns, form.start_ns + 1_000_000))[-1]
    assert running.start_ns == one.start_ns
    assert (running.end_ns, running.phases[-1].name, running.phases[-1].end_ns) == (None, "FORM", None)


def test_an_empty_stroke_is_aborted_and_has_no_contact(short: Simulated) -> None:
    one = first_whole(short)
    wave = short.window.bursts["press.tonnage"][3]
    value = wave.value.astype(np.float64)
    value[:, :4] = 0.0
    told, features = shown(short, one, value, wave.channels)
    assert Flag.ABORTED in told.flags
    assert features.features["contact_angle"].reason is Reason.MISSING_INPUT
    assert features.features["imbalance"].reason is Reason.ZERO_DENOM


def test_a_missing_corner_leaves_reasons(short: Simulated) -> None:
    wave = short.window.bursts["press.tonnage"][3]
    told, features = shown(short, first_whole(short), wave.value[:, 1:].astype(np.float64), wave.channels[1:])
    assert Flag.GAP in told.flags
    assert features.features["peak"].reason is Reason.MISSING_INPUT


def test_the_worked_example_of_the_specification() -> None:
    wave = Waveform(
        "a",
        "press_tonnage",
        0,
        1_000_000_000,
        ("ton1", "ton2", "ton3", "ton4", "slide", "angle"),
        np.array([[0, 0, 0, 0, 60, 90], [820, 790, 870, 840, 5, 172], [0, 0, 0, 0, 0, 190]], dtype=np.float32),
    )
    features = measured(
        PROCESS, PROCESS.cycles(Window("a", 0, 9_000_000_000, {}, {"press.tonnage": (wave,)}))[0],
        Window("a", 0, 9_000_000_000, {}, {"press.tonnage": (wave,)}),
    ).features  # fmt: skip
    assert features["peak"].value == pytest.approx(3320.0)


def test_a_failure_shows_in_its_feature() -> None:
    sick = simulated("forging", 61.0, faults=[Fault("missing_part", "peak", 0.0, 100.0, 0.35)], bursts=True)
    peak = measured(PROCESS, first_whole(sick), sick.window).features["peak"].value
    assert peak is not None
    assert peak < 0.7 * 3300.0


@pytest.mark.parametrize("settings", [{"contact_share": 0.2}, {"left": []}, {"left": [0, 7]}, {"rated_kn": 0.0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PressStroke.model_validate(settings)


def test_the_page_shows_all_settings_and_features(short: Simulated) -> None:
    page = (Path(__file__).parents[3] / "analytics" / "processes" / "forging.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (table,) = tomllib.loads(sample)["cycle"]
    process = PressStroke.model_validate(table)
    assert set(table) | {"recipe_limit"} == set(PressStroke.model_fields)
    features = measured(process, first_whole(short), short.window).features
    assert set(process.limit) <= set(features)
    assert all(f"`{name}`" in page for name in features if not re.match(r"(reported_)?ton\d", name))
