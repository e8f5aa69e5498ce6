"""What `rootdx cycles` lists is what the store has, in every form and as the reader's role."""

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from tests.support.front_door import DC1, NI1, Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain
ALL = ("--from", "2026-05-01")


def rows(shop: Shop, *arguments: str) -> list[dict[str, Any]]:
    done = shop("cycles", *arguments, "--format", "json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)["cycles"]["rows"]
    return found


def test_every_form_has_the_same_numbers(shop: Shop, tmp_path: Path) -> None:
    files = {form: tmp_path / f"shots.{form}" for form in ("csv", "xlsx", "json", "parquet")}
    for out in files.values():
        done = shop("cycles", "--machine", "dc1", *ALL, "--features", "--out", str(out))
        assert done.code == 0, done.err
    stored = ask(shop.dsn, "SELECT cycle_id, value FROM rootdx.features WHERE feature = 'v_fast' ORDER BY start_ts")
    json_rows = json.loads(files["json"].read_text())["cycles"]["rows"]
    table = pq.read_table(files["parquet"]).to_pydict()
    with files["csv"].open(encoding="utf-8-sig", newline="") as file:
        head, *lines = csv.reader(file)
    page = openpyxl.load_workbook(files["xlsx"]).worksheets[0]
    place = [cell.value for cell in page[1]].index("v_fast")
    excel: list[Any] = [row[place] for row in page.iter_rows(min_row=3, values_only=True)]
    for found in (
        [(row["id"], row["v_fast"]) for row in json_rows],
        list(zip(table["id"], table["v_fast"], strict=True)),
        [(int(line[0]), float(line[place]) if line[place] else None) for line in lines],
        list(zip(table["id"], [value and round(value, 12) for value in excel], strict=True)),  # Excel has 15 digits
    ):
        assert [pair for pair in found if pair[1] is not None] in (stored, [(n, round(v, 12)) for n, v in stored])
    assert head[place] == "v_fast [m/s]"
    assert page[2][place].value == "m/s"
    assert lines[3][head.index("recipe")] == "'=ADC12 r7"
    assert page[6][head.index("recipe")].value == "=ADC12 r7"
    start = head.index("start [Asia/Seoul]")
    assert datetime.fromisoformat(lines[3][start]).replace(tzinfo=None) == page[6][start].value


def test_a_missing_feature_tells_why(shop: Shop) -> None:
    first = rows(shop, "--machine", "dc1", *ALL, "--features")[0]
    assert first["cycle_time"] is None
    assert "cycle_time: MISSING_INPUT" in first["undefined"]


def test_filters_and_limit(shop: Shop) -> None:
    every = rows(shop, *ALL)
    assert {row["machine"] for row in every} == {DC1, NI1}
    assert [row["id"] for row in rows(shop, "--lot", "L-2")] == [row["id"] for row in every if row["lot"] == "L-2"]
    assert {row["part"] for row in rows(shop, "--part", "P-1")} == {"P-1"}
    assert rows(shop, *ALL, "--verdict", "fail") == []
    assert {row["machine"] for row in rows(shop, *ALL, "--kind", "plating_rack")} == {NI1}
    assert rows(shop, *ALL, "--limit", "3") == every[-3:]
    cut = rows(shop, "--from", "2026-05-29T05:40", "--to", "2026-05-29T05:50+09:00")
    assert all("T05:4" in row["start"] for row in cut)
    assert len(cut) == len([row for row in every if "T05:4" in row["start"]])
    assert rows(shop) == [], "without --from the last seven days"


def test_the_screen_names_the_zone_the_cut_and_the_machine(shop: Shop) -> None:
    done = shop("cycles", *ALL, "--limit", "3")
    assert "times in Asia/Seoul as plant.toml says" in done.out
    assert "the newest 3 of 46 cycles" in done.out
    assert "│ ni1 " in done.out
    korean = Shop(shop.dsn, shop.config, "ko")("cycles", *ALL, "--machine", "dc1", "--verdict", "pass")
    assert "● 합격" in korean.out
    assert "사이클" in korean.out


def test_one_cycle_with_everything(shop: Shop, tmp_path: Path) -> None:
    ((number,),) = ask(shop.dsn, "SELECT cycle_id FROM rootdx.cycles WHERE part = 'P-1' ORDER BY start_ts LIMIT 1")
    said = json.loads(shop("cycles", "show", str(number), "--format", "json").out)
    assert said["cycle"]["rows"][0]["id"] == number
    assert said["phases"]["rows"][0]["phase"] == "DIE_CLOSE"
    fast = next(row for row in said["features"]["rows"] if row["feature"] == "v_fast")
    assert (fast["low"], fast["high"], fast["verdict"]) == (2.0, 3.2, "pass")
    assert {"name": "lot", "text": "L-1"} in said["context"]["rows"]
    assert said["waveforms"]["rows"] == []
    screen = shop("cycles", "show", str(number)).out
    assert "DIE_CLOSE" in screen
    refused = shop("cycles", "show", str(number), "--format", "csv")
    assert (refused.code, "--only cycle, phases, features" in refused.err) == (78, True)
    out = tmp_path / "features.csv"
    assert shop("cycles", "show", str(number), "--only", "features", "--out", str(out)).code == 0
    assert "v_fast" in out.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--machine", "dc7"), 1, f"machine 'dc7' is unknown; those there are: {DC1}, {NI1}"),
        (("--from", "soon"), 78, "--from 'soon': expected a time"),
        (("--format", "xlsx"), 78, "name the file with --out"),
        (("--out", "x.pdf"), 78, "expected a file that ends in one of"),
        (("show", "999999"), 1, "there is no cycle 999999"),
    ],
)
def test_a_mistake_says_what_to_do(shop: Shop, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = shop("cycles", *arguments)
    assert (done.code, words in done.err) == (code, True), done.err
