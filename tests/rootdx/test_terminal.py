"""What a terminal shows is short, says what it leaves out, and moves when something takes long."""

from zoneinfo import ZoneInfo

import pytest

from rootdx import terminal
from rootdx.export import Column, Missing, Table
from rootdx.terminal import number, print_tables, progress, shown

SEOUL = ZoneInfo("Asia/Seoul")


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTDX_LANG", "en")


def table(columns: int, cell: str = "x") -> Table:
    heads = [Column("machine", "machine"), *(Column(f"c{n}", f"heading{n}") for n in range(columns))]
    rows = [[f"a/b/line{n}/dc1", *([cell] * columns)] for n in (1, 2)]
    return Table("t", "title [not markup]", heads, rows, "Asia/Seoul", notes=["a note"])


def test_machines_lose_the_path_they_share_and_empty_columns_go(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([table(2), table(2, "")])
    first, second = capsys.readouterr().out.split("title [not markup]")[1:]
    assert "│ line1/dc1 │ x" in first
    assert "a note" in first
    assert "heading0" in first
    assert "heading0" not in second


def test_what_has_no_room_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_PIPE", 60)
    print_tables([table(9)])
    said = capsys.readouterr().out
    assert "5 more columns have no room here" in said
    assert all(len(line) <= 61 for line in said.splitlines() if line.startswith("│"))


def test_one_row_of_many_columns_stands_upright(capsys: pytest.CaptureFixture[str]) -> None:
    whole = table(12)
    print_tables([Table("t", "one", whole.columns, whole.rows[:1], "Asia/Seoul")])
    assert "│ heading3  │ x" in capsys.readouterr().out


def test_cells_as_people_read_them() -> None:
    share, plain = Column("s", "s", "share", "1"), Column("n", "n", "number")
    assert shown(0.768444, share, SEOUL).plain == "76.8 %"
    assert shown(Missing("ZERO_DENOM"), plain, SEOUL).plain == "– nothing to divide by"
    assert shown("fail", Column("v", "v"), SEOUL).plain == "✖ fail"
    assert shown("lane-7", Column("v", "v"), SEOUL).plain == "lane-7"
    assert [number(value) for value in (-0.5, 123456.7, 0.0)] == ["-0.5", "123,457", "0"]


def test_progress_is_silent_at_first_and_then_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress("computing") as advance:
        advance(1, 4)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(terminal, "PATIENCE_S", 0.0)
    with progress("computing") as advance:
        advance(1, 4)
        advance(2, 4)
    assert capsys.readouterr().err == "computing 25 %\n"
