"""CSV files as people really have them."""

import math
from pathlib import Path
from typing import Any

import pytest

from simulators.errors import InputError
from simulators.recording import Recording, read_recording

KOREAN = "일시,용탕온도,작업자,압력\n2026-01-01 08:00:00,665.2,김,10\n2026-01-01 08:00:01,,이,11.5\n"


def write(folder: Path, text: str, encoding: str = "utf-8", name: str = "r.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def times(recording: Recording) -> list[float]:
    assert recording.time_ms is not None
    return [float(time) for time in recording.time_ms]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_encodings_are_recognised(tmp_path: Path, encoding: str) -> None:
    recording = read_recording([write(tmp_path, KOREAN, encoding)])
    assert recording.columns == ("용탕온도", "압력")
    assert recording.left_out == ("작업자",)
    assert recording.values[0].tolist() == [665.2, 10.0]
    assert math.isnan(recording.values[1, 0])
    assert times(recording) == [
        1767222000000.0,
        1767222001000.0,
    ]  # 08:00 in Seoul is 23:00 UTC the day before


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_are_recognised(tmp_path: Path, separator: str) -> None:
    text = f"a{separator}b\n1{separator}2\n3{separator}4\n"
    assert read_recording([write(tmp_path, text)]).values.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("cell", "epoch_ms"),
    [
        ("2020-03-09 12:14:36", 1583756076000.0),
        ("2020-03-09T12:14:36.250Z", 1583756076250.0),
        ("2020-03-09T21:14:36+09:00", 1583756076000.0),
        ("2020/03/09 12:14:36", 1583756076000.0),
        ("20200309121436", 1583756076000.0),
        ("1583756076", 1583756076000.0),
        ("1583756076250", 1583756076250.0),
    ],
)
def test_time_is_exact(tmp_path: Path, cell: str, epoch_ms: float) -> None:
    recording = read_recording([write(tmp_path, f"timestamp,a\n{cell},1\n")], zone="UTC")
    assert times(recording) == [epoch_ms]
    assert recording.columns == ("a",)


def test_a_named_time_column_need_not_have_a_known_name(tmp_path: Path) -> None:
    path = write(tmp_path, "a,when\n1,2026-01-01\n")
    assert read_recording([path]).time_ms is None
    assert times(read_recording([path], "when", "UTC")) == [1767225600000.0]


def test_a_column_called_time_without_times_is_a_number(tmp_path: Path) -> None:
    recording = read_recording([write(tmp_path, "time,a\n0.5,1\n1.0,2\n")])
    assert recording.columns == ("time", "a")
    assert recording.time_ms is None


def test_files_follow_one_another_and_time_goes_on(tmp_path: Path) -> None:
    train = write(tmp_path, "datetime,a\n2026-01-02 00:00:00,1\n2026-01-02 00:00:10,2\n", name="train.csv")
    test = write(tmp_path, "datetime,a\n2026-01-01 00:00:00,3\n2026-01-01 00:00:10,4\n", name="test.csv")
    recording = read_recording([train, test])
    assert recording.values[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert recording.elapsed_s() == [0.0, 10.0, 20.0, 30.0]


def test_text_in_a_later_file_leaves_the_column_out(tmp_path: Path) -> None:
    one = write(tmp_path, "a,b\n1,2\n", name="one.csv")
    two = write(tmp_path, "a,b\n3,off\n", name="two.csv")
    assert read_recording([one, two]).left_out == ("b",)


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("a,b\n", (), "a heading line and at least one row are needed, found 1"),
        ("a,b\n1\n", (), "line 2 has 1 cells, the heading has 2"),
        ("a,b\nx,y\n", (), "no numeric column among a, b"),
        ("a,b\n1,2\n", ("when",), "time column 'when' is not there; the headings are a, b"),
        ("a,when\n1,2026-01-01\n2,soon\n", ("when",), "line 3, when = 'soon' is no date and time"),
        ("a,b\n1,2\n", (None, "Seoul"), "time zone 'Seoul' is unknown; give one such as Asia/Seoul"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, more: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recording([write(tmp_path, text)], *more)


def test_bytes_of_no_known_encoding_are_named(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"a,b\n1,\xff\xfe\xfd\n")
    with pytest.raises(InputError, match=r"r\.csv: neither UTF-8 nor CP949"):
        read_recording([path])


def test_different_headings_and_missing_files_are_named(tmp_path: Path) -> None:
    one, two = write(tmp_path, "a\n1\n", name="one.csv"), write(tmp_path, "b\n1\n", name="two.csv")
    with pytest.raises(InputError, match=r"two\.csv: headings \['b'\] differ from \['a'\]"):
        read_recording([one, two])
    with pytest.raises(InputError, match=r"none\.csv: cannot read the recording"):
        read_recording([tmp_path / "none.csv"])
    with pytest.raises(InputError, match="at least one CSV file"):
        read_recording([])
