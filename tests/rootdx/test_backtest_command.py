"""`rootdx backtest` over stored cycles, stored tags and files: the figures are those of the rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.front_door import Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain
ALL = ("--from", "2026-05-01", "--to", "2026-06-30")
SETTINGS = """
[[detector]]
kind = "limits"
name = "narrow"
on = "hpdc_shot"
of = ["biscuit"]
low = 24.0

[[detector]]
kind = "limits"
name = "metal"
of = ["metal.temp"]
high = 664.0
alarm = { on_delay_s = 30.0 }
"""


def figures(shop: Shop, *arguments: str, table: str = "summary") -> list[dict[str, Any]]:
    done = shop("backtest", *arguments, "--only", table, "--format", "json")
    assert done.code == 0, done.err
    found: list[dict[str, Any]] = json.loads(done.out)[table]["rows"]
    return found


def test_stored_shots_ring_as_often_as_they_did(shop: Shop) -> None:
    rows = figures(shop, "--machine", "dc1", "--detector", "biscuit", *ALL)
    raised = ask(shop.dsn, "SELECT count(*) FROM rootdx.alarm_journal WHERE kind = 'raised'")[0][0]
    assert {row["figure"]: row["biscuit"] for row in rows}["alarms"] == raised > 0


def test_two_settings_stand_side_by_side_with_a_plot(shop: Shop, tmp_path: Path) -> None:
    settings, plot = tmp_path / "try.toml", tmp_path / "plot.png"
    settings.write_text(SETTINGS)
    names = ("--settings", str(settings), "--detector", "biscuit", "--detector", "narrow")
    rows = figures(shop, "--machine", "dc1", *names, "--budget", "1", "--plot", str(plot), *ALL)
    told = {row["figure"]: (row["biscuit"], row["narrow"]) for row in rows}
    assert min(told["alarms"]) > 0
    assert told["alarms"][0] != told["alarms"][1]
    assert told["raise the limit by this factor to meet it"][1] > 1
    assert plot.read_bytes().startswith(b"\x89PNG")
    tags = figures(shop, "--machine", "dc1", "--settings", str(settings), "--detector", "metal", *ALL, table="episodes")
    assert {row["subject"] for row in tags} == {"metal.temp"}


def test_a_file_with_labels_is_scored(shop: Shop, tmp_path: Path) -> None:
    settings, file = tmp_path / "try.toml", tmp_path / "shots.csv"
    settings.write_text('[[detector]]\nkind = "limits"\nname = "weight"\nof = ["weight"]\nhigh = 10.0\n')
    lines = [f"2026-11-01 06:{n:02d}:00;{20 if n in (5, 6, 30) else 5};{int(n in (5, 6, 50))};A" for n in range(60)]
    file.write_bytes("\n".join(["시각;weight;bad;mold", *lines]).encode("cp949"))
    done = ("--file", str(file), "--settings", str(settings), "--time", "시각", "--label", "bad", "--by", "mold")
    told = {row["figure"]: row["weight"] for row in figures(shop, *done)}
    assert (told["labelled ranges"], told["found"], told["alarms"], told["false alarms"]) == (2, 1, 2, 1)
    (missed,) = figures(shop, *done, table="missed")
    assert missed["start"].startswith("2026-11-01T06:50")
    assert figures(shop, *done, table="contexts") == [{"context": "mold=A", "weight": 2}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("time,x\n2026-11-01,1,2\n", "row 2 has 3 cells"),
        ("time,x\nyesterday,1\n", "row 2: 'yesterday' is no time"),
        ("when,x\n2026-11-01,1\n", "no column of time"),
        ("time,x\n2026-11-01,none\n", "no column holds numbers"),
        ("time,x\n", "at least one row"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_to_do(shop: Shop, tmp_path: Path, content: str, said: str) -> None:
    settings, file = tmp_path / "try.toml", tmp_path / "shots.csv"
    settings.write_text('[[detector]]\nkind = "limits"\nhigh = 1.0\n')
    file.write_text(content)
    done = shop("backtest", "--file", str(file), "--settings", str(settings))
    assert done.code == 1
    assert said in done.err


def test_a_name_nobody_knows_tells_those_that_are(shop: Shop) -> None:
    done = shop("backtest", "--machine", "dc1", "--detector", "shots", *ALL)
    assert done.code == 78
    assert "there are: biscuit" in done.err
    assert shop("backtest", *ALL).code == 78
