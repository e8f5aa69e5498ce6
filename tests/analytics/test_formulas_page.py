"""The list of formulas agrees with the docstrings, and every formula of the specification is there."""

import ast
import importlib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.units import is_unit

ANALYTICS = Path(__file__).parents[2] / "analytics"
FAMILIES = {
    "HPDC": range(1, 12),
    "MELT": range(1, 9),
    "HT": range(19),
    "WLD": [*range(1, 8), *range(10, 14)],
    "SUR": range(1, 16),
    "FRG": range(1, 5),
    "INJ": range(1, 4),
    "KPI": range(1, 13),
    "CAP": range(1, 3),
    "SPC": range(1, 3),
    "MSPC": range(1, 4),
    "CP": range(1, 2),
    "PRF": range(1, 4),
    "DQ": range(1, 8),
    "ENE": range(1, 6),
}
NOT_A_COLUMN = {"verdict", "flag", "date", "state", "index", "sigma", "that of x", "that of the profile"}


@dataclass(frozen=True)
class Row:
    id: str
    name: str
    function: str
    unit: str
    valid: str
    source: str

    def __str__(self) -> str:
        return f"| {self.id} | {self.name} | `{self.function}` | {self.unit} | {self.valid} | {self.source} |"


def _rows(path: Path) -> list[Row]:
    module = ".".join(path.relative_to(ANALYTICS.parent).with_suffix("").parts)
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        text = ast.get_docstring(node) or ""
        if not text.startswith("F-"):
            continue
        formula, title = text.splitlines()[0].split(": ", 1)
        terms = " ".join(text[text.index("\nUnit: ") + 7 :].split("\n\n", 1)[0].split())
        unit, rest = terms.split(". Valid: ", 1)
        valid, source = rest.split(". Source: ", 1)
        name = re.split(r",(?![^(]*\))|;", title)[0].rstrip(".")
        found.append(Row(formula, name, f"{module}.{node.name}", unit, valid, source.removesuffix(".")))
    return found


def formulas() -> list[Row]:
    rows = [row for path in sorted(ANALYTICS.rglob("*.py")) for row in _rows(path)]
    family = list(FAMILIES)
    return sorted(rows, key=lambda row: (family.index(row.id.split("-")[1]), row.id))


def test_the_page_lists_every_formula_as_its_docstring_states_it() -> None:
    page = (ANALYTICS / "formulas.md").read_text(encoding="utf-8")
    listed = [line for line in page.splitlines() if line.startswith("| F-")]
    assert listed == [str(row) for row in formulas()]


def test_every_formula_of_the_specification_is_there() -> None:
    wanted = {f"F-{family}-{number:02}" for family, numbers in FAMILIES.items() for number in numbers}
    assert {row.id for row in formulas()} == wanted


@pytest.mark.parametrize("row", formulas(), ids=lambda row: row.function)
def test_a_listed_formula_exists_and_says_its_unit_and_source(row: Row) -> None:
    module, name = row.function.rsplit(".", 1)
    assert callable(getattr(importlib.import_module(module), name))
    assert row.source
    unit = row.unit.split(" (")[0]
    assert is_unit(unit.replace("{amount}", "kg")) or unit in NOT_A_COLUMN
    assert row.valid
