"""Key figures come from sums, never from averages of figures; what is undefined says why."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from analytics.capability import capability_study
from analytics.energy import base_load
from rootdx.export import Cell, Missing
from rootdx.key_figures import _SUMS, figures, group
from tests.support.front_door import DC1, NI1, Shop
from tests.support.spine import ask

ALL = ("--from", "2026-05-01", "--to", "2026-06-01")


def element(machine: str, day: int, order: str, **sums: float | None) -> tuple[Any, ...]:
    """A row as `kpi_elements` has it."""
    given = dict.fromkeys(_SUMS, 0.0) | {"energy_kwh": None} | sums
    start = datetime(2026, 11, day, tzinfo=UTC)
    key = (machine, machine.rpartition("/")[0], date(2026, 11, day), "day", start, order)
    return (*key, *(given[name] for name in _SUMS))


ONE = {
    "planned_busy_s": 27_000.0, "production_s": 23_700.0, "setup_s": 1500.0, "planned_run_s": 42.0 * 520,
    "planned_good_s": 42.0 * 494, "produced": 520.0, "good": 494.0, "scrap": 26.0, "energy_kwh": 247.0,
}  # fmt: skip
IDLE = {"planned_busy_s": 27_000.0, "production_s": 0.0, "planned_run_s": 0.0, "planned_good_s": 0.0}
FAILED = {**ONE, "failures": 2.0, "technical_s": 1800.0, "energy_kwh": None}


def of(rows: list[tuple[Any, ...]], by: Any) -> dict[str, list[Cell]]:
    return figures(group(rows, by))


def test_figures_of_a_group_are_those_of_its_sums() -> None:
    rows = [element("a/l/1", 2, "W-1", **ONE), element("a/l/1", 3, "W-2", **IDLE)]
    single = of(rows, "shift")
    assert single["oee"] == [pytest.approx(0.768444, abs=1e-6), 0.0]
    assert single["effectiveness"] == [pytest.approx(0.921519, abs=1e-6), Missing("ZERO_DENOM")]
    assert single["quality_ratio"][1] == Missing("ZERO_DENOM")
    both = of(rows, "machine")
    assert both["availability"] == [23_700 / 54_000]
    assert both["oee"] == [pytest.approx(42 * 494 / 54_000)]
    assert both["quality_ratio"] == [0.95], "not the average of 0.95 and nothing"


def test_an_element_that_one_shift_lacks_is_missing_in_the_whole() -> None:
    rows = [element("a/l/1", 2, "", **ONE), element("a/l/2", 2, "", **{**ONE, "planned_good_s": None})]
    found = of(rows, "line")
    assert found["oee"] == [Missing("MISSING_INPUT")]
    assert found["availability"] == [23_700 / 27_000]


def test_failures_give_mtbf_and_mttr_and_none_gives_neither() -> None:
    found = of([element("a/l/1", 2, "", **FAILED), element("a/l/2", 2, "", **ONE)], "machine")
    assert found["mtbf_s"] == [11_850.0, Missing("NOT_REACHED")]
    assert found["mtbf_iso_s"] == [7900.0, Missing("NOT_REACHED")]
    assert found["mttr_s"] == [900.0, Missing("NOT_REACHED")]


def test_energy_counts_the_shifts_that_know_it_and_emission_the_factor_of_the_day() -> None:
    rows = [element("a/l/1", 2, "", **ONE), element("a/l/1", 3, "", **FAILED)]
    found = of(rows, "machine")
    assert found["energy_kwh"] == [247.0]
    assert found["energy_coverage"] == [0.5]
    assert found["kwh_per_good"] == [0.5]
    assert found["co2e_kg"] == [pytest.approx(247 * 0.4173)]
    assert of([rows[1]], "machine")["kwh_per_good"] == [Missing("MISSING_INPUT")]
    early = [(*row[:2], date(2025, 12, 16), *row[3:]) for row in rows[:1]]
    assert of(early, "machine")["co2e_kg"] == [pytest.approx(247 * 0.4541)]


def said(shop: Shop, *arguments: str) -> dict[str, Any]:
    done = shop("kpi", *arguments, "--format", "json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


@pytest.mark.plain
@pytest.mark.parametrize("by", ["shift", "day", "order", "machine", "line"])
def test_every_grouping_adds_up_to_what_is_stored(shop: Shop, by: str) -> None:
    rows = said(shop, *ALL, "--by", by)["kpi"]["rows"]
    ((produced, busy, kwh),) = ask(
        shop.dsn, "SELECT sum(produced), sum(planned_busy_s), sum(energy_kwh) FROM rootdx.kpi_element"
    )
    assert sum(row["produced"] for row in rows) == produced > 30
    assert sum(row["planned_busy_s"] for row in rows) == pytest.approx(busy)
    assert sum(row["energy_kwh"] or 0.0 for row in rows) == pytest.approx(kwh)
    assert all(0 <= row["availability"] <= 1 for row in rows)


@pytest.mark.plain
def test_what_is_undefined_shows_its_reason(shop: Shop) -> None:
    (row,) = said(shop, *ALL, "--by", "machine", "--machine", "ni1")["kpi"]["rows"]
    assert row["oee"] is None
    assert "oee: MISSING_INPUT" in row["undefined"]
    screen = shop("kpi", *ALL, "--by", "machine", "--machine", "ni1").out
    assert "– not known" in screen
    nothing = shop("kpi", "--from", "2020-01-01", "--to", "2020-02-01")
    assert "is `rootdx analytics` running" in nothing.out


@pytest.mark.plain
def test_capability_leaves_flagged_cycles_out_and_takes_the_limits_in_force(shop: Shop) -> None:
    found = said(shop, "capability", "--machine", "dc1", "--feature", "v_fast", *ALL)
    indices = {row["index"]: row for row in found["indices"]["rows"]}
    facts = {row["name"]: row["value"] for row in found["facts"]["rows"]}
    values = "FROM rootdx.features WHERE feature = 'v_fast' AND flags"
    kept = ask(shop.dsn, f"SELECT value {values} = '{{}}' ORDER BY start_ts")
    flagged = ask(shop.dsn, f"SELECT count(*) {values} <> '{{}}'")
    study = capability_study([value for (value,) in kept], 2.0, 3.2)
    assert indices["Ppk"]["value"] == study.ppk.value
    assert indices["Ppk"]["ci_low"] == study.interval.low.one().value
    assert indices["Cp"]["value"] == study.cp.value
    assert facts["values"] == len(kept)
    assert facts["left out: warm-up"] == flagged[0][0] == 3
    narrow = said(shop, "capability", "--machine", "dc1", "--feature", "v_fast", *ALL, "--high", "2.7", "--die", "D-17")
    assert {row["name"]: row["value"] for row in narrow["facts"]["rows"]}["lower limit"] is None
    assert next(row for row in narrow["indices"]["rows"] if row["index"] == "Cp")["value"] is None


@pytest.mark.plain
def test_capability_says_what_there_is(shop: Shop) -> None:
    done = shop("kpi", "capability", "--machine", "dc1", "--feature", "v_last", *ALL)
    assert (done.code, "it has" in done.err, "v_fast" in done.err) == (1, True, True)
    screen = shop("kpi", "capability", "--machine", "dc1", "--feature", "t_fill", *ALL).out
    assert "no limits were in force" in screen


@pytest.mark.plain
def test_energy_of_the_plant(shop: Shop) -> None:
    found = said(shop, "energy", *ALL)
    quarters = [row["demand_kw"] for row in found["demand"]["rows"] if row["machine"] == DC1]
    stored = ask(shop.dsn, "SELECT kw FROM rootdx.demands WHERE asset = %s ORDER BY quarter", DC1)
    assert quarters == [kw for (kw,) in stored]
    running = {row["machine"]: row for row in found["forecast"]["rows"]}
    assert running[DC1]["forecast_kw"] == pytest.approx(
        (running[DC1]["so_far_kwh"] + running[DC1]["power_kw"] * _left_s(running[DC1]) / 3600) / 0.25
    )
    assert running[NI1]["power_kw"] == pytest.approx(25, rel=0.1), "from its counter"
    (month,) = found["billing"]["rows"]
    sums = ask(shop.dsn, "SELECT max(kw) FROM (SELECT sum(kw) AS kw FROM rootdx.demand GROUP BY quarter) q")
    assert (month["month"], month["peak_kw"], month["billing_kw"]) == ("2026-05", sums[0][0], 150.0)
    (green,) = found["green"]["rows"]
    energy = said(shop, *ALL, "--by", "machine", "--machine", "ni1")["kpi"]["rows"][0]
    assert green["area_m2"] == green["racks"] * 1.2
    assert green["kwh_m2"] == pytest.approx(energy["energy_kwh"] / green["area_m2"])
    assert green["co2e_m2"] == pytest.approx(energy["co2e_kg"] / green["area_m2"])


def _left_s(row: dict[str, Any]) -> float:
    ends = [datetime.fromisoformat(row[name]) for name in ("quarter", "newest")]
    return 900 - (ends[1] - ends[0]).total_seconds()


@pytest.mark.plain
def test_base_load_takes_whole_shifts_only(own_shop: Shop) -> None:
    ask(own_shop.dsn, "TRUNCATE rootdx.kpi_element")
    days = [datetime(2026, 6, day, 6, tzinfo=UTC) - timedelta(hours=9) for day in range(1, 6)]
    items, kwh, hours = [60, 100, 140, 180, 70], [430, 520, 600, 690, 999], [12, 12, 12, 12, 5]
    for start, good, energy, length in zip(days, items, kwh, hours, strict=True):
        ask(
            own_shop.dsn,
            "INSERT INTO rootdx.kpi_element SELECT asset_id, %s, '', %s, 'day', '2026-06-01', 1, 1, 0, 0, 0, 0, 0, 0, "
            "NULL, NULL, NULL, %s, %s, 0, 0, 0, 0, 0, 1, %s FROM rootdx.asset WHERE path = %s",
            start, start + timedelta(hours=length), good, good, energy, DC1,
        )  # fmt: skip
    (row,) = said(own_shop, "energy", "--from", "2026-06-01", "--to", "2026-07-01")["base"]["rows"]
    found = base_load(np.array(items[:4]), np.array(kwh[:4]))
    assert (row["base_kwh"], row["per_item_kwh"], row["shifts"]) == (found.base.value, found.per_item.value, 4)
    assert row["base_kw"] == pytest.approx(302 / 12)
