"""Reports of a shift and a month say the figures of the commands, in both languages, and say when there is nothing."""

import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pypdf
import pytest

from pipeline.errors import BadData
from rootdx.invocation import site_of
from rootdx.paper.energy_report import month_of
from rootdx.paper.shift_report import shift_at, span_of
from rootdx.terminal import number
from tests.support.front_door import DC1, NI1, Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain
SHIFT = ("report", "shift", "--at", "2026-05-29", "--shift", "day")
NIGHT = ("report", "shift", "--at", "2026-05-28", "--shift", "night")
MONTH = ("report", "energy", "--month", "2026-05")


def text_of(file: Path) -> str:
    reader = pypdf.PdfReader(io.BytesIO(file.read_bytes()))
    return " ".join(page.extract_text().replace("\u200b", "") for page in reader.pages)


def printed(shop: Shop, folder: Path, *arguments: str) -> str:
    file = folder / "report.pdf"
    done = shop(*arguments, "--out", str(file))
    assert done.code == 0, done.err
    return text_of(file)


@pytest.mark.parametrize(("language", "title"), [("en", "Shift report"), ("ko", "교대 보고서")])
def test_a_shift_has_the_figures_of_the_commands(shop: Shop, tmp_path: Path, language: str, title: str) -> None:
    text = printed(shop, tmp_path, *NIGHT, "--lang", language)
    assert title in text
    assert "2026-05-28 night" in text
    said = json.loads(shop("kpi", "--from", "2026-05-28 18:00", "--to", "2026-05-28 18:01", "--by", "machine",
                           "--format", "json").out)["kpi"]["rows"]  # fmt: skip
    assert {row["machine"] for row in said} == {DC1, NI1}
    for row in said:
        assert number(row["energy_kwh"]) in text
        assert f"{100 * row['availability']:.1f} %" in text
    (scrap,) = ask(shop.dsn, "SELECT scrap, reason FROM rootdx.quantity_entry")
    assert scrap[1] in text
    assert ("보통" if language == "ko" else "biscuit thickness") in text


def test_a_shift_counts_its_cycles_and_rows(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "shift.xlsx"
    assert shop(*NIGHT, "--out", str(file)).code == 0
    book = openpyxl.load_workbook(file)
    verdicts = [[cell.value for cell in row] for row in book["verdicts"].iter_rows(min_row=3)]
    site = site_of(shop.config)
    span = span_of(shift_at(site, datetime(2026, 5, 28, tzinfo=site.zone), "night"))
    stored = ask(
        shop.dsn,
        "SELECT asset, kind, count(*) FROM rootdx.cycles WHERE start_ts >= %s AND start_ts < %s GROUP BY 1, 2",
        span.first, span.last,
    )  # fmt: skip
    assert sorted((row[0], row[1], row[2]) for row in verdicts) == sorted(stored)
    complete = {row[0].value: row for row in book["completeness"].iter_rows(min_row=3)}
    ((due, there),) = ask(
        shop.dsn,
        "SELECT sum(expected), sum(stored) FROM rootdx.completeness_by_asset "
        "WHERE asset = %s AND minute >= %s AND minute < %s", DC1, span.first, span.last,
    )  # fmt: skip
    assert (complete[DC1][1].value, complete[DC1][2].value) == (due, there)


def test_one_machine_has_a_report_of_its_own(shop: Shop, tmp_path: Path) -> None:
    text = printed(shop, tmp_path, *NIGHT, "--machine", "ni1")
    assert NI1 in text
    assert DC1 not in text
    assert "machine 'dc9' is unknown" in shop(*NIGHT, "--machine", "dc9", "--out", str(tmp_path / "a.pdf")).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("report", "shift", "--at", "2026-03-02", "--shift", "day"),
            ("Nothing is stored of this shift", "rootdx doctor"),
        ),
        (("report", "energy", "--month", "2026-03"), ("No quarter hour of this month", "energy.total")),
    ],
)
def test_nothing_is_told_as_nothing(
    shop: Shop, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    text = printed(shop, tmp_path, *arguments)
    assert all(word in text for word in words)
    assert " 0 " not in text
    for form in ("html", "xlsx"):
        file = tmp_path / f"nothing.{form}"
        assert shop(*arguments, "--out", str(file)).code == 0
        assert file.stat().st_size > 1000


def test_a_month_adds_up_to_its_quarter_hours(shop: Shop, tmp_path: Path) -> None:
    text = printed(shop, tmp_path, *MONTH, "--lang", "ko")
    assert "에너지 보고서" in text
    for (kwh,) in ask(shop.dsn, "SELECT sum(kwh) FROM rootdx.demands GROUP BY asset"):
        assert number(kwh) in text
    ((peak,),) = ask(shop.dsn, "SELECT max(kw) FROM (SELECT sum(kw) AS kw FROM rootdx.demand GROUP BY quarter "
                     "HAVING count(kw) = 2) q")  # fmt: skip
    assert number(peak) in text
    assert f"{peak / 500:.1%}" in text
    file = tmp_path / "month.xlsx"
    assert shop(*MONTH, "--out", str(file)).code == 0
    book = openpyxl.load_workbook(file)
    assert book.sheetnames[:3] == ["machines", "days", "peaks"]
    days: list[Any] = [row[2].value for row in book["days"].iter_rows(min_row=3)]
    assert sum(days) == pytest.approx(float(ask(shop.dsn, "SELECT sum(kwh) FROM rootdx.demands")[0][0]))


def test_a_month_is_set_against_the_one_before(own_shop: Shop, tmp_path: Path) -> None:
    ask(
        own_shop.dsn,
        "INSERT INTO rootdx.demand SELECT asset_id, quarter + INTERVAL '1 month', kw * 2, reason FROM rootdx.demand",
    )
    text = printed(own_shop, tmp_path, "report", "energy", "--month", "2026-06")
    ((before,),) = ask(own_shop.dsn, "SELECT sum(kwh) FROM rootdx.demands WHERE quarter < '2026-06-01'")
    assert f"{number(before)} kWh (+100.0%)" in text
    assert "100.0 %" in text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_a_file_the_report_names_its_own(shop: Shop, here: Path) -> None:
    assert shop(*SHIFT, "--format", "html").code == 0
    page = (here / "shift-2026-05-29-day.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "http" not in page
    assert shop("report", "energy", "--month", "2026-05").code == 0
    assert (here / "energy-2026-05.pdf").read_bytes().startswith(b"%PDF-1.7")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("report", "energy", "--month", "May"), "expected a month as 2026-11"),
        (("report", "shift", "--at", "2026-05-29", "--shift", "noon"), "plant.toml has day, night on that day"),
        (("report", "shift", "--out", "a.docx"), "expected a file that ends in one of .pdf, .html, .xlsx"),
    ],
)
def test_what_cannot_be_made_says_what_can(shop: Shop, arguments: tuple[str, ...], words: str) -> None:
    done = shop(*arguments)
    assert done.code in (1, 78)
    assert words in done.err


def test_a_shift_is_found_by_its_day_and_its_name(shop: Shop) -> None:
    site = site_of(shop.config)
    past_midnight = datetime(2026, 5, 29, 2, 0, tzinfo=site.zone)
    run = shift_at(site, past_midnight)
    assert (run.day, run.name) == (date(2026, 5, 28), "night")
    assert shift_at(site, past_midnight, "night").day == date(2026, 5, 29)
    assert span_of(run).last - span_of(run).first == timedelta(hours=12)
    with pytest.raises(BadData, match=r"plant\.toml has"):
        shift_at(site, past_midnight, "noon")


def test_the_last_whole_month_is_meant_where_none_is_named() -> None:
    assert month_of(None, datetime(2026, 3, 31, tzinfo=UTC).date()) == date(2026, 2, 1)
