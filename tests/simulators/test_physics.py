"""Noise is a function of time, not of who asked before; timelines can be asked for any time."""

import statistics
from dataclasses import dataclass

import pytest

from simulators.physics import Noise, Timeline, ramp, relax


@dataclass(frozen=True)
class Beat:
    number: int
    start_s: float
    end_s: float


def beats(keep: int = 4) -> Timeline[Beat]:
    return Timeline(lambda: Beat(1, 0.0, 2.0), lambda b: Beat(b.number + 1, b.end_s, b.end_s + 2.0), keep)


def test_noise_is_standard_normal_and_differs_between_signals_and_seeds() -> None:
    draws = [Noise(1).normal("a", t) for t in range(4000)]
    other = [Noise(1).normal("b", t) for t in range(4000)]
    assert abs(statistics.fmean(draws)) < 0.05
    assert abs(statistics.stdev(draws) - 1.0) < 0.04
    assert abs(statistics.correlation(draws, other)) < 0.06
    assert Noise(2).normal("a", 5.0) != Noise(1).normal("a", 5.0)


def test_noise_holds_within_its_quantum() -> None:
    noise = Noise(3)
    assert noise.normal("a", 0.31) == noise.normal("a", 0.1 * 3) == noise.normal("a", 0.3)
    assert noise.normal("a", 0.3) != noise.normal("a", 0.41)
    assert noise.normal("a", 4.0, every_s=5.0) == noise.normal("a", 0.0, every_s=5.0)


def test_lag_and_ramp_start_and_end_where_they_should() -> None:
    assert relax(10.0, 20.0, 0.0, 5.0) == 10.0
    assert relax(10.0, 20.0, 5.0, 5.0) == pytest.approx(16.3212, abs=1e-4)
    assert [ramp(t, 1.0, 3.0) for t in (0.0, 2.0, 9.0)] == [0.0, 0.5, 1.0]
    assert ramp(1.0, 1.0, 1.0) == 1.0


def test_timeline_answers_any_time_in_any_order() -> None:
    timeline = beats()
    assert timeline.at(101.0).number == 51
    assert timeline.at(0.5).number == 1
    assert timeline.at(-3.0).number == 1
    assert timeline.number(30).start_s == 58.0
    assert timeline.at(57.9).number == 29


def test_timeline_tells_each_completed_cycle_once() -> None:
    timeline = beats()
    assert [b.number for b in timeline.completed(0.0, 6.0)] == [1, 2, 3]
    assert [b.number for b in timeline.completed(6.0, 6.5)] == []
    assert [b.number for b in timeline.completed(6.0, 100.0)][:2] == [4, 5]
