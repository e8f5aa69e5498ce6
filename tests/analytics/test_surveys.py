"""A survey is entered from what was read, and its verdict is computed."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.surveys import AccuracySheet, UniformitySheet, corrections_of, read_scans
from pipeline.errors import ConfigError

WHO: dict[str, Any] = {
    "asset": "acme/ansan1/heat/iq2/f03", "subject": "IQ-2", "done": date(2026, 11, 20), "months": 1, "author": "kim",
}  # fmt: skip


def scans(file: Path, *, minutes: int = 61, spread: float = 3.0, encoding: str = "utf-8") -> Path:
    rows = ["시간,T1,T2,T3"]
    for minute in range(minutes):
        level = min(780.0 + 10 * minute, 850.0)
        rows.append(f"2026-11-20 {9 + minute // 60:02}:{minute % 60:02}:00,{level},{level + 2},{level - spread}")
    file.write_bytes("\n".join(rows).encode(encoding))
    return file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_a_whole_recording_is_judged_and_keeps_what_it_rests_on(tmp_path: Path, encoding: str) -> None:
    sheet = UniformitySheet(**WHO, setpoint_c=850.0, tolerance_c=6.0, correction_c={"T3": 0.5})
    check = sheet.check(scans(tmp_path / "tus.csv", encoding=encoding))
    assert (check.kind, check.passed, check.months) == ("tus", True, 1)
    assert check.result["verdict"] == "pass"
    assert check.result["sensors"] == {"T1": 0.0, "T2": 0.0, "T3": 0.5}
    assert check.result["above"]["value"] == pytest.approx(2.0)
    assert check.result["below"]["value"] == pytest.approx(-2.5)
    assert check.result["above"]["formula"] == "F-HT-03"


def test_one_outside_has_not_passed_and_one_that_lacks_time_neither(tmp_path: Path) -> None:
    wide = UniformitySheet(**WHO, setpoint_c=850.0, tolerance_c=2.5).check(scans(tmp_path / "a.csv"))
    assert (wide.passed, wide.result["verdict"]) == (False, "incomplete"), "T3 never came into tolerance"
    failed = UniformitySheet(**WHO, setpoint_c=850.0, tolerance_c=1.9)
    assert not failed.check(scans(tmp_path / "b.csv", spread=0.0)).passed
    short = UniformitySheet(**WHO, setpoint_c=850.0, tolerance_c=6.0).check(scans(tmp_path / "c.csv", minutes=20))
    assert (short.passed, short.result["shortfalls"]) == (False, ["ended_early"])


def test_the_worked_accuracy_test() -> None:
    """Section 2.3: control 845.0, test 842.6 + 0.8 + 0.1: +1.5 Cel."""
    told = {"control_c": 845.0, "test_c": 842.6, "test_sensor_correction_c": 0.8, "test_instrument_correction_c": 0.1}
    check = AccuracySheet(**WHO, **told, limit_c=1.7).check()
    assert check.passed
    assert check.result["difference"]["value"] == pytest.approx(1.5)
    assert not AccuracySheet(**WHO, **told, limit_c=1.1).check().passed
    assert AccuracySheet(**WHO, **told, limit_c=1.1, limit_percent=0.2).check().passed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "expected a heading with one of time"),
        ("time,T1\n0,850\nx,851\n", r"row 3, time = 'x'"),
        ("time,T1\n0,850\n60,hot\n", r"row 3, column T1 = 'hot'"),
        ("time,T1\n60,850\n0,851\n", r"row 3: time does not rise"),
    ],
)
def test_a_file_that_is_wrong_is_told_by_row_and_column(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tus.csv").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_scans(tmp_path / "tus.csv")


def test_empty_cells_are_sensors_that_gave_nothing(tmp_path: Path) -> None:
    (tmp_path / "tus.csv").write_text("time_s,T1,T2\n0,850,\n60,851,849\n")
    sensors, when, readings = read_scans(tmp_path / "tus.csv")
    assert (sensors, when.tolist()) == (["T1", "T2"], [0.0, 60.0])
    assert np.isnan(readings[0, 1])
    assert corrections_of(["T1=-0.3", "T2=0.1"]) == {"T1": -0.3, "T2": 0.1}
    with pytest.raises(ConfigError, match="expected sensor=number"):
        corrections_of(["T1"])
