"""Bursts on disk are whole, named by their time and told in the truth."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulators.casting import CastingCell
from simulators.errors import InputError
from simulators.faults import Faults
from simulators.run import Options, running, serve
from simulators.serve_bursts import as_csv, digest, file_name, period_ns
from tests.simulators.devices import truth_lines, until


async def test_bursts_are_dropped_whole_and_told(tmp_path: Path) -> None:
    drop, truth = tmp_path / "drop", tmp_path / "truth.jsonl"
    drop.mkdir()
    options = Options(port=0, seed=3, speed=200.0, drop=drop, truth=truth)
    async with running("casting", options):
        await until(lambda: len(truth_lines(truth, "burst")) >= 2 and len(list(drop.glob("*.csv"))) >= 2)
    told = truth_lines(truth, "burst")
    for line in told[:2]:
        when = datetime.fromtimestamp(line["ts_ns"] // 10**9, UTC)
        micro = line["ts_ns"] % 10**9 // 1000
        file = drop / f"shot_curve_{when:%Y%m%dT%H%M%S}.{micro:06d}Z.csv"
        rows = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
        assert rows[0] == ["time_s", *line["channels"]]
        assert len(rows) - 1 == line["samples"]
        assert round(float(rows[2][0]) * 1e9) == line["period_ns"]
    cycles = truth_lines(truth, "cycle")
    assert len(cycles) >= 1


def test_a_file_says_what_was_recorded(clock_at: Callable[[float], Any]) -> None:
    clock = clock_at(0.0).clock
    burst = next(CastingCell(3, Faults()).bursts(0.0, 200.0))
    table = np.genfromtxt(as_csv(burst, clock).decode().splitlines(), delimiter=",", skip_header=1)
    assert np.array_equal(table[:, 1:].astype(np.float32), burst.value.astype(np.float32)) or np.allclose(
        table[:, 1:], burst.value, rtol=1e-6, atol=1e-9
    )
    assert file_name(burst, clock).startswith("shot_curve_2023")
    assert period_ns(burst, clock) == 500_000
    assert len(digest(burst.value)) == 32


def test_the_curve_agrees_with_the_registers_of_its_shot() -> None:
    cell = CastingCell(3, Faults())
    shots, bursts = list(cell.cycles(0.0, 2000.0)), list(cell.bursts(0.0, 2000.0))
    assert len(shots) == len(bursts) > 20
    for shot, burst in zip(shots, bursts, strict=True):
        fast = next(phase for phase in shot.phases if phase.name == "FAST_SHOT")
        t = burst.start_s + burst.period_s * np.arange(len(burst.value))
        inside = (t > fast.start_s + 0.008) & (t < fast.end_s - 0.012)
        slope = np.polyfit(t[inside], burst.value[inside, 0], 1)[0] / 1e3
        assert slope == pytest.approx(shot.features["v_fast"], rel=0.01)
        assert shot.start_s < burst.start_s < shot.end_s


async def test_a_missing_folder_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        await serve("casting", Options(port=0, drop=tmp_path / "nowhere"))
