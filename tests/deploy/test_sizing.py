"""The pages of sizing say what their scripts compute from the coefficients, and the arithmetic is what it says."""

import doctest
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COEFFICIENTS = tomllib.loads((DEPLOY / "sizing.toml").read_text(encoding="utf-8"))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # national imports sizing by that name, and dataclasses look there
    spec.loader.exec_module(module)
    return module


sizing = script("sizing")
national = script("national")


@pytest.mark.parametrize("name", ["sizing", "national"])
def test_page_is_what_its_script_computes(name: str) -> None:
    done = subprocess.run([sys.executable, str(DEPLOY / f"{name}.py")], capture_output=True, text=True, check=True)
    assert done.stdout == (DEPLOY / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [sizing, national])
def test_examples_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_a_tag_of_a_year_by_hand() -> None:
    row, packed = COEFFICIENTS["database"]["row_bytes"], COEFFICIENTS["elsewhere"]["packed_row_bytes"]
    assert sizing.raw_gb(1, "timescale") == pytest.approx((15 * 86_400 * row + 385 * 86_400 * packed) / 1e9)
    assert sizing.raw_gb(1, "plain") == pytest.approx(400 * 86_400 * row / 1e9)
    minutes, hours = 10 * 365.25 * 24 * 60, 10 * 365.25 * 24
    assert sizing.summary_gb(1) == pytest.approx((minutes + hours) * COEFFICIENTS["database"]["summary_bytes"] / 1e9)


def test_a_cost_is_fixed_and_a_value() -> None:
    writer = COEFFICIENTS["cpu"]["writer"]
    by_hand = 3 * writer["fixed_percent"] / 100 + 2_000 * writer["us_a_value"] * 1e-6
    assert sizing.core("writer", 2_000, 3) == pytest.approx(by_hand)


def test_bytes_between_measured_rates_lie_between_them_and_grow_below() -> None:
    (low, first), (high, second), *_ = COEFFICIENTS["bus"]["payload_bytes"]
    assert sizing.payload_bytes(low) == pytest.approx(first)
    assert second < sizing.payload_bytes((low + high) / 2) < first
    assert sizing.payload_bytes(low / 4) > first


def test_hubs_share_all_firms_and_the_largest_limit_decides() -> None:
    average, largest, everybody = national.hubs()
    assert average.firms * national.HUBS >= everybody.firms == 30_000
    assert largest.firms == everybody.firms * national.ASSUMED["share"].value
    servers = average.servers()
    assert servers["databases"] == -(-average.firms // national.ASSUMED["databases"].value)
    assert f"{max(servers.values())} (" in national.computed()


def test_every_assumption_says_that_it_is_one_or_where_it_is_from() -> None:
    for name, one in national.ASSUMED.items():
        assert one.source.startswith(("assumed", "measured", "deploy/")), name
        assert f"`{name}`" in (DEPLOY / "national.md").read_text(encoding="utf-8")


def test_coefficients_are_no_less_than_nothing() -> None:
    def numbers(part: object) -> list[float]:
        if isinstance(part, dict):
            return [each for value in part.values() for each in numbers(value)]
        if isinstance(part, list):
            return [each for value in part for each in numbers(value)]
        return [float(part)]  # type: ignore[arg-type]

    assert min(numbers(COEFFICIENTS)) >= 0
