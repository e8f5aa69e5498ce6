"""Life counters, checks and origins as the reader's role sees them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.front_door import DC1, Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain


def rows(shop: Shop, *arguments: str, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shop(*arguments, "--format", "json").out)[table]["rows"]
    return found


def test_life_counts_the_cycles_of_the_die(shop: Shop) -> None:
    (row,) = rows(shop, "life", table="life")
    ((shots,),) = ask(shop.dsn, "SELECT count(*) FROM rootdx.cycles WHERE context ? 'die' AND end_ts IS NOT NULL")
    assert (row["machine"], row["item"], row["value"], row["limit"]) == (DC1, "D-17", shots, 40.0)
    assert row["used"] == shots / 40
    assert row["state"] == "soon"
    assert "▲ soon" in shop("life", "--machine", "dc1").out
    assert "no machine file has a [[life]] table" in shop("life", "--machine", "ni1").out


def test_checks_are_judged_on_the_day_and_overdue_is_exit_code_1(shop: Shop, tmp_path: Path) -> None:
    on_time = shop("checks", "--day", "2026-05-29")
    assert (on_time.code, "● fine" in on_time.out) == (0, True), on_time.err
    late = shop("checks", "--day", "2027-06-01")
    assert (late.code, "✖ overdue" in late.out) == (1, True)
    assert "✖ 기한 초과" in Shop(shop.dsn, shop.config, "ko")("checks", "--day", "2027-06-01").out
    out = tmp_path / "checks.xlsx"
    assert shop("checks", "--day", "2027-06-01", "--out", str(out)).code == 1
    assert out.stat().st_size > 1000


def test_a_part_is_traced_to_its_origins_and_windows(shop: Shop) -> None:
    origins = rows(shop, "trace", "part", "P-9", table="origins")
    assert [(row["kind"], row["item"]) for row in origins] == [("part", "P-9"), ("lot", "L-2"), ("melt", "M-7")]
    windows = rows(shop, "trace", "part", "P-9", table="windows")
    stored = ask(shop.dsn, "SELECT cycle_id FROM rootdx.windows_of('part', 'P-9')")
    assert sorted(row["id"] for row in windows) == sorted({key for (key,) in stored}), "each once"
    lots = dict(ask(shop.dsn, "SELECT cycle_id, lot FROM rootdx.cycles"))
    assert {row["via_kind"] for row in windows if lots[row["id"]] == "L-2"} == {"lot"}, "by what is nearest"
    unknown = shop("trace", "part", "P-77")
    assert (unknown.code, "nothing is known of part 'P-77'" in unknown.err) == (1, True)
