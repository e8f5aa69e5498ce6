"""The pages of sizing say what their scripts compute from the coefficients, and the arithmetic is what it says."""

import doctest
import importlib.util
import re
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


def test_the_korean_page_is_what_its_script_computes_and_has_the_same_figures() -> None:
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "national.py"), "ko"], capture_output=True, text=True, check=True
    )
    korean, english = ((DEPLOY / f"national{end}.md").read_text(encoding="utf-8") for end in (".ko", ""))
    assert done.stdout == korean
    for mark in ("^## ", r"^\* ", r"^   \* ", r"^\d\. ", r"^\| "):
        assert len(re.findall(mark, korean, re.MULTILINE)) == len(re.findall(mark, english, re.MULTILINE)), mark
    for name, make in national.TABLES.items():
        there = korean.partition(f"<!-- {name} -->")[2].partition("<!-- end -->")[0]
        assert figures(there) == figures(make())


def figures(table: str) -> list[str]:
    """What stands first in cells that begin with a number, but for the first two lines and columns of words."""
    rows = [line.split("|")[2:] for line in table.strip().splitlines()[2:]]
    return [found[1] for row in rows for cell in row if (found := re.match(r" ([\d.,]*\d)( |$)", cell))]


def test_a_cell_without_korean_words_is_refused() -> None:
    assert national.in_korean("| firms | 9 (databases) |") == "| 기업 | 9 (데이터베이스) |"
    with pytest.raises(KeyError, match="sheep"):
        national.in_korean("| 9 sheep |")


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


def row(table: str, name: str) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_hubs_share_all_firms_and_the_largest_limit_decides() -> None:
    (average,), (largest,), every = national.groups().values()
    assert len(every) == national.HUBS
    assert sum(hub.firms for hub in every) == 30_000
    assert {hub.firms for hub in every} <= {average.firms, average.firms - 1}
    assert largest.firms == 30_000 * national.ASSUMED["share"].value
    servers = average.servers()
    assert servers["databases"] == -(-average.firms // national.ASSUMED["databases"].value)
    assert f"{max(servers.values())} (" in national.computed()


@pytest.mark.parametrize(
    "name",
    [
        "database servers, and what limits", "as many again as replicas", "writer servers, with the spare of each hub",
        "bus: clusters of 3", "people on weekdays",
    ],
)  # fmt: skip
def test_what_comes_whole_is_counted_hub_by_hub(name: str) -> None:
    one, _, every = (int(cell.split()[0].replace(",", "")) for cell in row(national.computed(), name))
    assert every == national.HUBS * one


def test_a_hub_has_a_writer_server_more_than_it_needs() -> None:
    hub = national.average()
    gb, cores, servers = hub.writers()
    busy, memory, each = (national.ASSUMED[name].value for name in ("busy", "memory", "cores"))
    assert gb <= (servers - 1) * memory * busy
    assert cores <= (servers - 1) * each * busy
    assert (
        "| a writer server |" in (DEPLOY / "national.md").read_text(encoding="utf-8").partition("## Failure domains")[2]
    )


def test_both_pages_count_the_same_bytes_on_the_bus() -> None:
    rate = 50.0
    kbit = (rate * sizing.payload_bytes(rate) + sizing.MESSAGE_BYTES) * 8 / 1e3
    assert national.Hub(1, rate).firm_kbit == sizing.gateway_kbit(rate) == pytest.approx(kbit)
    assert national.ASSUMED["message"].value == sizing.MESSAGE_BYTES
    first = sizing.PLANTS[0]
    column = sizing.plants().splitlines()[0].split("|").index(" bus: kbit/s ")
    assert sizing.plants().splitlines()[2].split("|")[column].strip() == f"{sizing.gateway_kbit(first.values_hz):,.0f}"


def test_every_assumption_says_that_it_is_one_or_where_it_is_from() -> None:
    for name, one in national.ASSUMED.items():
        assert one.source.startswith(("assumed", "measured", "deploy/", "a decision")), name
        assert f"`{name}`" in (DEPLOY / "national.md").read_text(encoding="utf-8")


def test_coefficients_are_no_less_than_nothing() -> None:
    def numbers(part: object) -> list[float]:
        if isinstance(part, dict):
            return [each for value in part.values() for each in numbers(value)]
        if isinstance(part, list):
            return [each for value in part for each in numbers(value)]
        return [float(part)]  # type: ignore[arg-type]

    assert min(numbers(COEFFICIENTS)) >= 0
