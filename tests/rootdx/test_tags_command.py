"""The tags of a machine through a spreadsheet and back, as people treat them there."""

import io
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from openpyxl import Workbook, load_workbook
from typer.testing import CliRunner

from collectors.protocols import MachineFile
from pipeline.errors import BadData, ConfigError
from pipeline.plant import load
from rootdx import tag_file
from rootdx.cli import app
from rootdx.tag_change import changed, differences, tags_in
from rootdx.tag_file import MOST_COLUMNS, MOST_ROWS
from rootdx.tag_table import COLUMNS, columns, has_head, rows_of, table_of

MACHINE = """\
# 2호 열처리로 / furnace 2
path = "heattreat/line1/iq2"
name = "열처리로 2호"
process = "heat_treatment"

[source]
protocol = "modbus"   # over TCP
host = "192.168.10.31"

# temperatures
[[tag]]
name = "zone1.pv"            # left of the door
address = "holding:100:int16"
unit = "Cel"
range = [0.0, 1200.0]
scale = 0.10
text = "1존 온도 (°C), \\"좌\\""

[[tag]]
name = "zone2.pv"
address = "holding:101:int16"
unit = "Cel"
sentinels = [32767, -32768]
deadband = "1 %"
range = [0, 1200]

[[tag]]
name = "state"
address = "holding:7"
unit = "1"
values = { 0 = "정지", 1 = "운전" }

[[waveform]]
name = "curve"
  [[waveform.channel]]
  name = "v"
  unit = "m/s"

[waveform_source]
protocol = "files"
folder = "/drop"
# the end
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "iq2.toml"
    made.write_text(MACHINE, encoding="utf-8")
    return made


def run(*arguments: object, language: str = "en") -> tuple[int, str]:
    result = CliRunner().invoke(app, ["tags", *map(str, arguments)], env={"ROOTDX_LANG": language, "COLUMNS": "200"})
    if isinstance(result.exception, ConfigError):
        return 78, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def exported(file: Path, suffix: str = ".xlsx") -> Path:
    made = file.with_suffix(suffix)
    assert run("export", file, "--to", made)[0] == 0
    return made


def edited(book: Path, cells: Mapping[str, Any]) -> None:
    """What a person enters in cells, with a number format where it is a pair."""
    workbook = load_workbook(book)
    page: Any = workbook.active
    for place, value in cells.items():
        page[place].value, page[place].number_format = value if isinstance(value, tuple) else (value, "General")
    workbook.save(book)


def column(name: str) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[list(COLUMNS).index(name)]


def tags(file: Path) -> dict[str, dict[str, Any]]:
    return {tag["name"]: tag for tag in tags_in(file)}


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_out_and_back_in_changes_not_a_byte(file: Path, suffix: str) -> None:
    table = exported(file, suffix)
    code, said = run("import", table, "--into", file)
    assert (code, said) == (0, "tags added: 0, changed: 0, removed: 0, as they were: 3\n")
    assert file.read_text(encoding="utf-8") == MACHINE


def test_what_is_exported_is_for_people(file: Path) -> None:
    assert exported(file, ".csv").read_bytes().startswith(b"\xef\xbb\xbfname,address,unit")
    page: Any = load_workbook(exported(file)).active
    assert [cell.value for cell in page[1]] == list(COLUMNS)
    assert page["A2"].number_format == "@"
    assert page[f"{column('text')}2"].value == '1존 온도 (°C), "좌"'
    assert page[f"{column('values')}4"].value == "0=정지; 1=운전"
    assert "UCUM" in page["C1"].comment.text
    assert page.column_dimensions["B"].number_format == "@"


def test_a_change_touches_its_key_and_nothing_else(file: Path) -> None:
    table = exported(file)
    edited(table, {f"{column('scale')}2": "0.5", f"{column('text')}4": "상태 ", f"{column('sentinels')}3": None})
    code, said = run("import", table, "--into", file, "--dry-run")
    assert (code, file.read_text(encoding="utf-8")) == (0, MACHINE)
    assert "changed" in said
    assert "as it was" in said
    code, said = run("import", table, "--into", file, language="ko")
    assert code == 0
    assert "추가된 태그: 0, 변경: 3, 삭제: 0, 그대로: 0" in said
    wanted = MACHINE.replace("scale = 0.10", "scale = 0.5").replace("sentinels = [32767, -32768]\n", "")
    wanted = wanted.replace('1 = "운전" }\n', '1 = "운전" }\ntext = "상태"\n')
    assert file.read_text(encoding="utf-8") == wanted
    assert load(file, MachineFile).tag[2].text == "상태"


def test_rows_that_come_and_go(file: Path) -> None:
    table = exported(file)
    workbook = load_workbook(table)
    page: Any = workbook.active
    page.delete_rows(3)
    page.append([])
    page.append(["  "])
    page.append(["zone3.pv", "holding:102:int16", "Cel", None, 0, "1,200", 0.1])
    workbook.save(table)
    code, said = run("import", table, "--into", file)
    assert code == 0
    assert "tags added: 1, changed: 0, removed: 1, as they were: 2" in said
    text = file.read_text(encoding="utf-8")
    assert list(tags(file)) == ["zone1.pv", "state", "zone3.pv"]
    assert tags(file)["zone3.pv"]["range"] == [0, 1200]
    for kept in ("# 2호 열처리로 / furnace 2", "# left of the door", "# temperatures", "# the end", "scale = 0.10\n"):
        assert kept in text
    assert '\n\n[[tag]]\nname = "zone3.pv"\n' in text
    assert file.stat().st_mode == file.with_suffix(".xlsx").stat().st_mode
    assert sorted(one.name for one in file.parent.iterdir()) == ["iq2.toml", "iq2.xlsx"]


@pytest.mark.parametrize(
    ("key", "entered", "expected"),
    [
        ("scale", "1,234.5", 1234.5),
        ("scale", " 0.1\u00a0", 0.1),
        ("scale", (0.1, "0%"), 0.1),
        ("scale", "１２", 12),
        ("scale", (1.5e-7, "0.00E+00"), 1.5e-7),
        ("deadband", (0.01, "0%"), "1 %"),
        ("deadband", "0.5", 0.5),
        ("deadband", "1.5%", "1.5%"),
        ("unit", 1, "1"),
        ("unit", (1.0, "0"), "1"),
        ("text", (12, "0000"), "0012"),
        ("text", "'00123", "'00123"),
        ("text", True, "TRUE"),
        ("sentinels", 32767, [32767]),
        ("sentinels", "32767;  -32768 ", [32767, -32768]),
        ("every_s", "1e3", 1000.0),
    ],
)
def test_a_cell_means_what_is_seen(file: Path, key: str, entered: Any, expected: Any) -> None:
    table = exported(file)
    edited(table, {f"{column(key)}3": entered})
    assert run("import", table, "--into", file)[0] == 0
    assert tags(file)["zone2.pv"][key] == expected


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"scale": "12,5"}, "row 3, column G (scale): '12,5' is no number"),
        ({"scale": (date(2026, 1, 2), "yyyy-mm-dd")}, "row 3, column G (scale): the spreadsheet"),
        ({"name": (4e5, "0.00E+00")}, "column A (name): 400000 is shown with an exponent"),
        ({"name": "Zone 2"}, "column A (name): 'Zone 2' is no name"),
        ({"name": "zone1.pv"}, "column A (name): zone1.pv stands in row 2 already"),
        ({"address": None}, "row 3, column B (address): is empty"),
        ({"address": "holding:x"}, "row 3, column B (address): tag 'zone2.pv': address 'holding:x' is not of the form"),
        ({"unit": "degC"}, "row 3, column C (unit): 'degC' is no UCUM unit"),
        ({"unit": None}, "row 3, column C (unit): Field required"),
        ({"low": None}, "row 3, column E (low): is empty or wrong; low goes with its neighbour"),
        ({"high": -5}, "row 3, column F (high): must be above low"),
        ({"scale": 0}, "row 3, column G (scale): scale = 0 would turn every value"),
        ({"address": "holding:99999:int16"}, "row 3, column B (address): "),
        ({"deadband": (1.0, "0%")}, "column J (deadband): 100 % is no dead band"),
        ({"scale": "10²"}, "column G (scale): '10²' is no number"),
        ({"values": "0:off"}, "column O (values): '0:off' does not say"),
        ({"sentinels": "32767,32768"}, "column N (sentinels): '32767,32768' is no list of whole numbers"),
        ({"text": "#REF!"}, "column Q (text): the cell holds an error"),
        ({"text": "=A1"}, "column Q (text): the formula was never computed"),
        ({"every_s": -1}, "column I (every_s): Input should be greater than 0"),
    ],
)
def test_a_fault_names_row_column_and_remedy(file: Path, cells: Mapping[str, Any], words: str) -> None:
    table = exported(file)
    edited(table, {f"{column(key)}3": value for key, value in cells.items()})
    code, said = run("import", table, "--into", file)
    assert code == 78
    assert words in said
    assert file.read_text(encoding="utf-8") == MACHINE


def test_all_faults_are_told_at_once_in_both_languages(file: Path) -> None:
    table = exported(file)
    edited(table, {"A2": "X", "C3": "furlong", f"{column('scale')}4": "half"})
    code, said = run("import", table, "--into", file, language="ko")
    assert code == 78
    assert [line.split(":")[0] for line in said.splitlines()[1:]] == [
        "2행 A (name)열",
        "3행 C (unit)열",
        "4행 G (scale)열",
    ]
    assert "고쳐야 할 칸 또는 행이 3개" in said


def test_a_fault_of_a_cell_hides_none_of_an_address(file: Path) -> None:
    table = exported(file)
    edited(table, {f"{column('scale')}2": "x", f"{column('address')}3": "holding:99999:int16"})
    code, said = run("import", table, "--into", file)
    assert code == 78
    assert [line.split(":")[0] for line in said.splitlines()[1:]] == [
        "row 2, column G (scale)",
        "row 3, column B (address)",
    ]


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_what_a_spreadsheet_cannot_show_comes_back_as_it_was(file: Path, suffix: str) -> None:
    odd = MACHINE.replace("sentinels = [32767, -32768]", "sentinels = []").replace('text = "1존', "text = \"'=1존")
    odd = odd.replace('unit = "1"\n', 'unit = "1"\ntext = " padded "\n')
    file.write_text(odd, encoding="utf-8")
    table = file.with_suffix(suffix)
    assert run("export", file, "--to", table)[0] == 0
    assert run("import", table, "--into", file)[0] == 0
    assert file.read_text(encoding="utf-8") == odd


def test_a_cover_sheet_before_the_table_is_passed_over(file: Path) -> None:
    table = exported(file)
    workbook = load_workbook(table)
    workbook.create_sheet("표지", 0).append(["설비 태그 목록"])
    workbook.save(table)
    code, said = run("import", table, "--into", file)
    assert code == 0, said


def written(rows: Sequence[Sequence[Any]], **more: Any) -> bytes:
    workbook = Workbook()
    page: Any = workbook.active
    for row in rows:
        page.append(row)
    for name, value in more.items():
        getattr(page, name)(value)
    out = io.BytesIO()
    workbook.save(out)
    return out.getvalue()


def test_titles_merged_cells_foreign_columns_and_korean_headings(tmp_path: Path, file: Path) -> None:
    table = tmp_path / "t.xlsx"
    rows: list[list[Any]] = [
        ["태그 목록", None, None, None], [], ["비고", "이름", "주소", "단위"],
        ["!", "a", "holding:1", "Cel"], [None, "b", "holding:2", None], ["x", None, None, None],
    ]  # fmt: skip
    table.write_bytes(written(rows, merge_cells="D4:D5"))
    code, said = run("import", table, "--into", file)
    assert code == 0
    assert "column '비고' means nothing here" in said
    assert [(tag["name"], tag["unit"]) for tag in tags_in(file)] == [("a", "Cel"), ("b", "Cel")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_as_programs_and_excel_write_it(file: Path, encoding: str, delimiter: str) -> None:
    table = file.with_suffix(".CSV")
    lines = [["name", "address", "unit", "text"], ["a", "holding:1", '="1"', "용탕 온도"], ["", "", "", " "]]
    table.write_bytes("\r\n".join(delimiter.join(line) for line in lines).encode(encoding))
    assert run("import", table, "--into", file)[0] == 0
    assert tags_in(file) == [{"name": "a", "address": "holding:1", "unit": "1", "text": "용탕 온도"}]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.xlsx", b"PK not a zip", "not a workbook that can be read (BadZipFile)"),
        ("t.csv", b"\xff\xff\xff\xff", "neither UTF-8 nor Korean Windows text"),
        ("t.csv", b"", "no row of headings found; one of the first rows must hold name, address"),
        ("t.csv", b"name,address,name\na,b,c", "row 1, column C (name): this heading stands twice"),
        ("t.csv", b"name,address\n" * (MOST_ROWS + 1), f"more than {MOST_ROWS} rows"),
        ("t.csv", b"," * MOST_COLUMNS, f"or {MOST_COLUMNS} columns"),
        ("t.ods", b"", "expected a file ending with .xlsx or .csv"),
        ("t.csv", b"a" * (tag_file.LARGEST + 1), "larger than 16 MB"),
    ],
)
def test_a_file_that_is_no_table_is_told_so(file: Path, name: str, content: bytes, words: str) -> None:
    (file.parent / name).write_bytes(content)
    code, said = run("import", file.parent / name, "--into", file)
    assert (code, file.read_text(encoding="utf-8")) == (78, MACHINE)
    assert words in said


def test_files_that_are_not_there_or_not_ours(file: Path) -> None:
    assert "no such file" in run("import", "x.csv", "--into", file.parent / "no.toml")[1]
    assert "cannot be read" in run("import", file.parent / "no.csv", "--into", file)[1]
    assert "expected a file ending with .xlsx" in run("export", file, "--to", "x.json")[1]
    table = exported(file)
    file.write_text(MACHINE.replace('host = "192.168.10.31"', ""), encoding="utf-8")
    assert run("export", file, "--to", "x.csv")[0] == 78
    assert "host is missing" in run("import", table, "--into", file)[1]
    inline = MACHINE.partition("# temperatures")[0].replace(
        'path = "', 'tag = [{name="a",address="coil:0",unit="1"}]\npath = "'
    )
    file.write_text(inline, encoding="utf-8")
    assert "do not stand as [[tag]] tables" in run("import", table, "--into", file)[1]


def test_line_ends_of_windows_stay(file: Path) -> None:
    file.write_bytes(MACHINE.replace("\n", "\r\n").encode())
    table = exported(file)
    edited(table, {f"{column('scale')}2": 7, "A5": "new", "B5": "coil:1", "C5": "1"})
    assert run("import", table, "--into", file)[0] == 0
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n") > 40


# ---- properties ----

words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12).filter(
    lambda text: not text.startswith(("'", "#", "=")) and ";" not in text and "=" not in text
)
numbers = st.integers(-(10**9), 10**9) | st.floats(-1e9, 1e9, allow_subnormal=False)
some_tags = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,20}", fullmatch=True), "address": words},
    optional={
        "unit": st.sampled_from(["Cel", "1", "%", "[pH]"]), "role": words, "text": words, "scale": numbers,
        "range": st.tuples(st.floats(-1e6, 0), st.floats(1, 1e6)).map(list), "offset": numbers,
        "deadband": st.floats(0.1, 9) | st.sampled_from(["1 %", "0.5%"]),
        "loop": st.lists(numbers, min_size=2, max_size=2),
        "sentinels": st.lists(st.integers(-40000, 70000), min_size=1, max_size=3),
        "values": st.dictionaries(st.integers(-9, 99).map(str), words, min_size=1, max_size=3),
    },
)  # fmt: skip
lists = st.lists(some_tags, min_size=1, max_size=5, unique_by=lambda tag: str(tag["name"]))


@settings(max_examples=25, deadline=None)
@given(lists, st.sampled_from([".xlsx", ".csv"]))
def test_any_tags_survive_a_spreadsheet(given_tags: list[dict[str, Any]], suffix: str) -> None:
    table = table_of(tag_file.read(tag_file.write(columns(), rows_of(given_tags), suffix), suffix, has_head))
    assert table.faults == []
    assert differences(given_tags, table.tags) == []
    assert suffix == ".xlsx" or table.tags == given_tags


@settings(max_examples=25, deadline=None)
@given(lists, lists)
def test_a_difference_applied_gives_the_new_tags(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    head = MACHINE.partition("# temperatures")[0]
    old = tomllib.loads(changed(head, before))["tag"]
    assert differences(before, old) == []
    new = tomllib.loads(changed(changed(head, before), after))["tag"]
    assert differences(after, new) == []
    assert sorted(tag["name"] for tag in new) == sorted(tag["name"] for tag in after)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode), st.sampled_from([".xlsx", ".csv"]))
def test_any_bytes_give_cells_or_a_reason(content: bytes, suffix: str) -> None:
    try:
        table = table_of(tag_file.read(content, suffix, has_head))
    except BadData:
        return
    assert table.faults or all("name" in tag for tag in table.tags)
    assert all(str(fault) for fault in table.faults)


GOOD = written([["name", "address", "unit"], ["a", "holding:1", "Cel"], ["b", 5, None]])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_a_damaged_workbook_gives_cells_or_a_reason(place: int, noise: bytes) -> None:
    try:
        table = table_of(tag_file.read(GOOD[:place] + noise + GOOD[place + len(noise) :], ".xlsx", has_head))
    except BadData:
        return
    assert table.faults or all("name" in tag for tag in table.tags)


cells = st.none() | st.booleans() | st.integers() | st.floats() | st.datetimes() | st.text(max_size=20)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(cells, max_size=5), max_size=6))
def test_any_cells_give_tags_or_faults(rows: list[list[Any]]) -> None:
    clean = [[None if isinstance(v, str) and not v.isprintable() else v for v in row] for row in rows]
    heads = ["name", "address", "scale", "values", "deadband"]
    table = table_of(tag_file.read(written([heads, *clean]), ".xlsx", has_head))
    told = {fault.row for fault in table.faults}
    for tag, row in zip(table.tags, table.rows, strict=True):
        assert row in told or (tag["name"] and tag["address"])
