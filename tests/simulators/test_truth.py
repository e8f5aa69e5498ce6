"""The truth file says what happened, a line at a time."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from simulators.casting import CastingCell
from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.faults import Fault, Faults
from simulators.truth import Truth, open_truth

CLOCK = SimClock(lambda: 0, 1_000_000_000, speed=2.0)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_are_there_at_once_and_complete(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    shot = next(CastingCell(1, Faults()).cycles(0.0, 100.0))
    with open_truth("casting", path) as truth:
        assert truth.wanted
        truth.faults(Faults((Fault("gap", "metal_temp", 10.0, 20.0, 1.0),)), CLOCK)
        assert len(lines(path)) == 1
        truth.cycle(shot, CLOCK)
        truth.served(5, {"a": 1.5, "b": math.nan, "c": math.inf})
        fault, cycle, served = lines(path)
    assert fault == {
        "kind": "fault", "machine": "casting", "type": "gap", "tag": "metal_temp", "start_s": 10.0, "end_s": 20.0,
        "start_ns": 6_000_000_000, "end_ns": 11_000_000_000, "magnitude": 1.0,
    }  # fmt: skip
    assert (cycle["kind"], cycle["number"], cycle["start_ns"]) == ("cycle", 1, 1_000_000_000)
    assert cycle["features"] == shot.features
    assert [phase["name"] for phase in cycle["phases"]][:3] == ["DIE_CLOSE", "POUR", "SLOW_SHOT"]
    assert cycle["phases"][-1]["end_ns"] == cycle["end_ns"]
    assert served == {"kind": "served", "machine": "casting", "t_ns": 5, "values": {"a": 1.5, "b": None, "c": None}}


def test_a_second_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    for t_ns in (1, 2):
        with open_truth("m", path) as truth:
            truth.served(t_ns, {})
    assert [line["t_ns"] for line in lines(path)] == [1, 2]


def test_without_a_file_nothing_is_written() -> None:
    truth = Truth("m")
    truth.served(1, {"a": 1.0})
    assert not truth.wanted


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write the truth file"), open_truth("m", tmp_path / "no" / "t.jsonl"):
        pass


def test_clock_goes_both_ways() -> None:
    clock = SimClock(lambda: 3_000_000_000, 1_000_000_000, speed=10.0, start_s=100.0)
    assert clock.now_s() == 120.0
    assert clock.wall_ns(120.0) == 3_000_000_000
