"""Entries of every kind by options and by file; a mistake names option, row and column."""

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.support.front_door import DC1, Shop, at
from tests.support.spine import ask

pytestmark = pytest.mark.plain
WHO = ("--machine", "dc1", "--author", "kim")
T = at(3).isoformat()
ENTRIES: dict[str, tuple[tuple[str, ...], str, tuple[Any, ...]]] = {
    "context": (
        (*WHO, "--kind", "operator", "--value", "김", "--at", "2026-05-29T05:29:40"),
        "SELECT asset, kind, value, valid_from, author FROM rootdx.context WHERE kind = 'operator'",
        (DC1, "operator", "김", at(3), "kim"),
    ),
    "stop": (
        (*WHO, "--kind", "setup", "--from", T, "--to", at(5).isoformat(), "--reason", "금형 교체"),
        "SELECT kind, from_ts, to_ts, reason FROM rootdx.stop_entry",
        ("setup", at(3), at(5), "금형 교체"),
    ),
    "quantity": (
        (*WHO, "--scrap", "-1.5", "--at", T, "--reason", "miscounted"),
        "SELECT scrap, rework, ts FROM rootdx.quantity_entry WHERE reason = 'miscounted'",
        (-1.5, 0.0, at(3)),
    ),
    "lab": (
        (*WHO, "--name", "thickness", "--value", "20.5", "--unit", "um", "--at", T, "--sample", "S-1"),
        "SELECT asset, name, value, unit, sample FROM rootdx.lab_results WHERE name = 'thickness'",
        (DC1, "thickness", 20.5, "um", "S-1"),
    ),
    "link": (
        ("--item-kind", "part", "--item", "P-8", "--of-kind", "lot", "--of-item", "L-1", "--author", "kim"),
        "SELECT item, of_item FROM rootdx.genealogy WHERE item = 'P-8'",
        ("P-8", "L-1"),
    ),
    "reset": (
        (*WHO, "--counter", "die_shots", "--item", "D-17", "--at", T, "--value", "2"),
        "SELECT counter, item, at, value FROM rootdx.life_reset",
        ("die_shots", "D-17", at(3), 2.0),
    ),
    "check": (
        (*WHO, "--kind", "sat", "--subject", "TC-7", "--done", "2026-05-28", "--days", "30", "--failed"),
        "SELECT kind, done::text, days, months, passed FROM rootdx.check_entry WHERE kind = 'sat'",
        ("sat", "2026-05-28", 30, 0, False),
    ),
}


def test_every_kind_is_entered_by_options(own_shop: Shop) -> None:
    for kind, (arguments, query, expected) in ENTRIES.items():
        done = own_shop("enter", kind, *arguments, role="analytics")
        assert (done.code, done.out.startswith("1 of 1 entries are new")) == (0, True), done.err
        assert ask(own_shop.dsn, query) == [expected]
    again = own_shop("enter", "link", *ENTRIES["link"][0], role="analytics")
    assert again.out.startswith("0 of 1 entries are new")


@pytest.mark.parametrize("kind", sorted(ENTRIES))
def test_the_template_is_a_file_that_can_be_entered(own_shop: Shop, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"{kind}.csv"
    assert own_shop("enter", kind, "--template", str(file)).code == 0
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert own_shop("enter", kind, "--template", str(file)).code == 78, "never over a file with work in it"
    done = own_shop("enter", kind, "--csv", str(file), role="analytics")
    assert (done.code, done.out.startswith("1 of 1 entries are new")) == (0, True), done.err


def test_a_file_is_taken_whole_or_not_at_all(own_shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "bath.csv"

    def lines(*rows: tuple[str, ...]) -> None:
        with file.open("w", newline="", encoding="cp949") as out:
            csv.writer(out, delimiter=";").writerows([("asset", "sampled", "name", "value", "unit", "note"), *rows])

    good = ("ni1", "2026-05-28T12:00+09:00", "ni", "80.5", "g/L", "도금액 분석")
    for wrong, code, words in (
        (("ni1", "2026-05-28T12:00", "ni", "80.5", "g/L", "x"), 78, "row 3, column sampled = '2026-05-28T12:00'"),
        (("ni1", "2026-05-28T12:00Z", "ni", "eighty", "g/L", "x"), 78, "row 3, column value = 'eighty'"),
        (("ni7", "2026-05-28T12:00Z", "ni", "80.5", "g/L", "x"), 1, "machine 'ni7' is unknown"),
        ((*good, "more"), 78, "row 3: more cells than headings"),
    ):
        lines(good, wrong)
        done = own_shop("enter", "lab", "--csv", str(file), "--author", "park", role="analytics")
        assert (done.code, words in done.err) == (code, True), done.err
    assert ask(own_shop.dsn, "SELECT count(*) FROM rootdx.lab_result WHERE name = 'ni'") == [(0,)]
    lines(good)
    nobody = own_shop("enter", "lab", "--csv", str(file), role="analytics")
    assert (nobody.code, "column author" in nobody.err) == (78, True)
    assert own_shop("enter", "lab", "--csv", str(file), "--author", "park", role="analytics").code == 0
    assert ask(own_shop.dsn, "SELECT note, author FROM rootdx.lab_result WHERE name = 'ni'") == [
        ("도금액 분석", "park")
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("stop", "--machine", "dc1", "--kind", "setup", "--author", "kim"), 78, "enter stop: --from is missing"),
        (("context", *WHO, "--kind", "Lot No", "--value", "x", "--at", "now"), 78, "enter context --kind Lot No:"),
        (("context", *WHO, "--kind", "lot", "--value", "x", "--at", "noon"), 78, "--at 'noon': expected a time"),
        (("stop", *WHO, "--kind", "setup", "--from", "now", "--to", "2h"), 78, "to_ts must be after from_ts"),
        (("check", *WHO, "--kind", "sat", "--subject", "x", "--done", "today", "--passed"), 78, "give months or days"),
        (("reset", *WHO, "--csv", "x.csv", "--counter", "n"), 78, "leave out --machine, --counter"),
        (("reset", "--csv", "x.csv"), 78, "x.csv: cannot be read"),
        (("quantity", "--machine", "dc7", "--author", "kim", "--at", "now"), 1, "machine 'dc7' is unknown"),
    ],
)
def test_a_mistake_names_the_option(shop: Shop, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = shop("enter", *arguments, role="analytics")
    assert (done.code, words in done.err) == (code, True), done.err


def test_a_reader_may_not_enter(shop: Shop) -> None:
    done = shop("enter", "link", *ENTRIES["link"][0])
    assert (done.code, "use its roles" in done.err) == (78, True), done.err


def test_surveys_are_judged_from_what_was_read(own_shop: Shop, tmp_path: Path) -> None:
    rows = ["time_s,T1,T2", *(f"{60 * m},{min(780 + 10 * m, 850)},{min(781 + 10 * m, 852)}" for m in range(61))]
    (tmp_path / "tus.csv").write_text("\n".join(rows))
    sheet = ("--machine", "dc1", "--author", "kim", "--subject", "IQ-2", "--months", "1")
    scans = ("--csv", str(tmp_path / "tus.csv"), "--setpoint", "850", "--correction", "T1=-0.5")
    done = own_shop("enter", "tus", *sheet, *scans, "--tolerance", "6", role="analytics")
    assert (done.code, "IQ-2" in done.out) == (0, True), done.err
    control = ("--control", "845", "--test", "842.6", "--sensor-correction", "0.8", "--instrument-correction", "0.1")
    done = own_shop("enter", "sat", *sheet, *control, "--limit", "1.1", role="analytics")
    assert done.code == 0, done.err
    entered = ask(own_shop.dsn, "SELECT kind, passed, result->>'verdict' FROM rootdx.check_entry "
                  "WHERE subject = 'IQ-2' ORDER BY id")  # fmt: skip
    assert entered == [("tus", True, "pass"), ("sat", False, "fail")]
    wrong = own_shop("enter", "tus", *sheet, *scans, "--tolerance", "6", "--correction", "T9=1", role="analytics")
    assert (wrong.code, "no column 'T9'" in wrong.err) == (78, True)
