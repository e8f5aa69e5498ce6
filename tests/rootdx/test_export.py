"""Every file says what the table says, and no cell becomes a formula."""

import csv
import io
import json
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import openpyxl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from pipeline.errors import ConfigError
from rootdx import export, workbook
from rootdx.export import Cell, Column, Missing, Table, encoded, form_of

SEOUL = ZoneInfo("Asia/Seoul")
AT = datetime(2026, 5, 29, 5, 26, 40, 250_000, SEOUL)
DANGER = ('=HYPERLINK("http://x")', "+1", "-2", "@SUM(A1)", "\t=1", "도금액 <분석>\n둘째 줄")
COLUMNS = (
    Column("name", "이름"), Column("v", "속도", "number", "m/s"), Column("share", "비율", "share", "1"),
    Column("n", "수", "whole"), Column("ok", "정상", "flag"), Column("at", "시각", "time"), Column("on", "날짜", "day"),
)  # fmt: skip
VALUES: list[Cell] = [1 / 3, 0.25, 7.0, True, AT.astimezone(ZoneInfo("UTC")), date(2026, 5, 29)]
ROWS: list[list[Cell]] = [
    [DANGER[0], *VALUES], [DANGER[1], *VALUES], [DANGER[2], *VALUES], [DANGER[3], *VALUES], [DANGER[4], *VALUES],
    [DANGER[5], *VALUES], ["none", Missing("ZERO_DENOM"), float("nan"), None, None, None, None],
]  # fmt: skip
TABLE = Table("shots", "샷", COLUMNS, ROWS, "Asia/Seoul", reasons=True)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTDX_LANG", "en")


def test_csv_is_read_by_excel_and_holds_no_formula() -> None:
    raw = encoded([TABLE], "csv")
    assert raw.startswith(b"\xef\xbb\xbf")
    head, *rows = csv.reader(io.StringIO(raw.decode("utf-8-sig")))
    assert head == ["이름", "속도 [m/s]", "비율 [1]", "수", "정상", "시각 [Asia/Seoul]", "날짜", "undefined because"]
    assert [row[0] for row in rows] == [*(f"'{text}" for text in DANGER[:5]), DANGER[5], "none"]
    assert float(rows[0][1]) == 1 / 3
    assert rows[0][3:7] == ["7", "true", "2026-05-29T05:26:40.250000+09:00", "2026-05-29"]
    assert rows[-1][1:] == ["", "", "", "", "", "", "v: ZERO_DENOM"]


def test_workbook_has_numbers_dates_units_and_text_that_stays_text() -> None:
    book = openpyxl.load_workbook(io.BytesIO(encoded([TABLE, TABLE], "xlsx")))
    page = book.worksheets[0]
    assert (page.title, page.freeze_panes, len(book.worksheets)) == ("shots", "A3", 2)
    assert [cell.value for cell in page[1]][:2] == ["이름", "속도"]
    assert [cell.value for cell in page[2]][:6] == [None, "m/s", "1", None, None, "Asia/Seoul"]
    first = page[3]
    assert [cell.data_type for cell in first[:2]] == ["s", "n"]
    assert first[0].value == DANGER[0]
    assert first[1].value == pytest.approx(1 / 3, rel=1e-15)
    assert (first[2].value, first[2].number_format) == (0.25, "0.0%")
    assert first[5].value == AT.replace(tzinfo=None)
    assert first[6].value == datetime(2026, 5, 29)  # noqa: DTZ001  # Excel knows no zones
    assert all(cell.data_type != "f" for row in page.iter_rows() for cell in row)
    assert [cell.value for cell in page[9]][1:] == [None] * 6 + ["v: ZERO_DENOM"]


def test_json_and_parquet_keep_types_units_and_zone() -> None:
    said = json.loads(encoded([TABLE], "json"))["shots"]
    assert said["units"] == {"v": "m/s", "share": "1", "at": "Asia/Seoul"}
    assert said["rows"][0] == {
        "name": DANGER[0], "v": 1 / 3, "share": 0.25, "n": 7, "ok": True, "at": AT.isoformat(), "on": "2026-05-29",
        "undefined": "",
    }  # fmt: skip
    assert said["rows"][-1]["v"] is None
    table = pq.read_table(io.BytesIO(encoded([TABLE], "parquet")))
    assert [str(one.type) for one in table.schema][:7] == [
        "string", "double", "double", "int64", "bool", "timestamp[us, tz=Asia/Seoul]", "date32[day]",
    ]  # fmt: skip
    assert table.schema.field("v").metadata[b"unit"] == b"m/s"
    assert table.column("v").to_pylist() == [1 / 3] * 6 + [None]
    assert table.column("at").to_pylist()[0] == AT


def test_what_cannot_be_written_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="choose one with --only shots, shots"):
        encoded([TABLE, TABLE], "csv")
    monkeypatch.setattr(workbook, "MOST_ROWS", 3)
    with pytest.raises(ConfigError, match="take csv or parquet"):
        encoded([TABLE], "xlsx")
    monkeypatch.setattr(export, "parquet", None)
    with pytest.raises(ConfigError, match=r"pip install 'rootdx\[parquet\]'"):
        encoded([TABLE], "parquet")


def test_the_form_follows_the_file() -> None:
    assert form_of(None, None) == "table"
    assert form_of(None, Path("a.XLSX")) == "xlsx"
    assert form_of("csv", Path("a.txt")) == "csv"
    with pytest.raises(ConfigError, match=r"\.csv, \.xlsx, \.json, \.parquet"):
        form_of(None, Path("a.pdf"))
    with pytest.raises(ConfigError, match="name the file with --out"):
        form_of("xlsx", None)
