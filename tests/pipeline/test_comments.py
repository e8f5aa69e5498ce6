"""Who looks into the database with psql is told what every column of the published views means, with its unit."""

import re
from typing import Final

import pytest

from tests.support.spine import ask, one

COLUMNS: Final = """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL), coalesce(col_description(c.oid, a.attnum), '')
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'rootdx'::regnamespace AND (c.relkind = 'v' OR c.relname = 'tally_1h')
      AND has_table_privilege('rootdx_reader', c.oid, 'SELECT') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY 1, a.attnum"""
NUMBERS: Final = {"double precision", "real", "numeric", "bigint", "integer", "smallint"}
NO_QUANTITY: Final = re.compile(r"\b([Kk]ey|[Cc]ode)\b")
"""What numbers without a unit say that they are."""
UNITS: Final = {
    "s", "1", "kW", "kWh", "kWh/item", "By", "rows", "items", "cycles", "stops", "samples", "phases", "alarms",
    "requests", "versions", "as unit says", "unit of the tag",
}  # fmt: skip


@pytest.fixture
def columns(engine_dsn: str) -> list[tuple[str, str, str, str]]:
    found: list[tuple[str, str, str, str]] = ask(engine_dsn, COLUMNS)
    return found


def test_every_column_that_the_reader_may_read_says_what_it_is(columns: list[tuple[str, str, str, str]]) -> None:
    views = {view for view, *_ in columns}
    assert {"measurement_1m", "measurement_1h", "tally_1h", "cycles", "alarm_bins", "kpis_by_line"} <= views
    assert [f"{view}.{name}" for view, name, _, text in columns if not text.endswith(".")] == []


def test_every_number_says_its_unit(columns: list[tuple[str, str, str, str]]) -> None:
    numbers = [(f"{view}.{name}", text) for view, name, kind, text in columns if kind in NUMBERS]
    assert len(numbers) > 100
    units = {place: re.findall(r"\[([^\]]+)\]", text) for place, text in numbers if not NO_QUANTITY.search(text)}
    assert {place: said for place, said in units.items() if len(said) != 1 or said[0] not in UNITS} == {}


def test_unit_in_the_name_is_the_one_that_is_said(columns: list[tuple[str, str, str, str]]) -> None:
    endings = {"_s": "[s]", "_kwh": "[kWh]", "seconds": "[s]"}
    wrong = [
        f"{view}.{name}"
        for view, name, kind, text in columns
        for ending, unit in endings.items()
        if kind in NUMBERS and name.endswith(ending) and unit not in text
    ]
    assert wrong == []


def test_every_view_says_what_it_is(engine_dsn: str) -> None:
    silent = "SELECT array_agg(relname) FROM pg_class WHERE relnamespace = 'rootdx'::regnamespace AND relkind = 'v' "
    assert one(engine_dsn, silent + "AND obj_description(oid, 'pg_class') IS NULL") is None


def test_one_name_means_one_thing_or_says_otherwise(columns: list[tuple[str, str, str, str]]) -> None:
    """A view that a later file adds is told of by that file: its columns have no words of another view's."""
    said = {(view, name): text for view, name, _, text in columns}
    assert said["events", "kind"] != said["cycles", "kind"] != said["context", "kind"]
    assert said["kpis", "oee"] == said["kpis_by_day", "oee"] == said["kpis_by_line", "oee"]
