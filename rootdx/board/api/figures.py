"""Figures: OEE by shift, where time went, energy, completeness."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from rootdx import energy_figures, key_figures
from rootdx.board import answers
from rootdx.board.answers import Format, Only, TableOut
from rootdx.board.house import Db, Here, Who
from rootdx.board.places import Day, Week, maybe_path
from rootdx.board.sight import ms
from rootdx.export import Column, Missing, Table, column
from rootdx.invocation import ask
from rootdx.key_figures import By
from rootdx.texts import say

router = APIRouter(tags=["figures"])
MaybeMachine = Annotated[str | None, Query(max_length=300)]
LOSSES: Final = ("producing", "setup", "delay", "technical", "organisational", "down", "blind")
CAUSES: Final = ("unreachable", "late", "gateway_down", "spool_full", "quarantined", "machine_off", "on_the_way")


@router.get("/kpis", response_model=TableOut)
async def kpis(
    house: Here, db: Db, person: Who, span: Week, by: By = "shift", machine: MaybeMachine = None,
    form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """OEE and what it is made of, of the shifts that begin in a span."""
    del person
    path = await maybe_path(db, machine)
    brief = form is None
    return answers.one(await key_figures.table(db, span, by, path, house.site().zone.key, brief=brief), form)


@router.get("/losses")
async def losses(
    house: Here, db: Db, person: Who, span: Week, machine: MaybeMachine = None,
    form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Where the planned time went, all machines together and by machine."""
    del person
    given = {"machine": await maybe_path(db, machine), "first": span.first, "last": span.last}
    rows = await ask(db, _LOSSES, given)
    columns = [column("machine"), *(_seconds(name) for name in LOSSES)]
    table = Table("losses", say("board.loss.title"), columns, rows, house.site().zone.key)
    if form is not None:
        return answers.one(table, form)
    sums = [sum(row[place] for row in rows) for place in range(1, len(LOSSES) + 1)]
    parts = [
        {"name": name, "label": say(f"board.loss.{name}"), "seconds": total}
        for name, total in zip(LOSSES, sums, strict=True)
    ]
    return JSONResponse({"parts": parts, "table": answers.told(table)})


def _seconds(name: str) -> Column:
    return Column(f"{name}_s", say(f"board.loss.{name}"), "number", "s")


@router.get("/energy")
async def energy(
    house: Here, db: Db, person: Who, span: Day, machine: MaybeMachine = None,
    form: Annotated[Format, Query(alias="format")] = None, only: Only = None,
) -> Response:  # fmt: skip
    """Quarter hours, the running one with its forecast, peak against contract, base load."""
    del person
    site = house.site()
    path = await maybe_path(db, machine)
    tables = await energy_figures.tables(db, span, path, site.plant, site.clock.now)
    if form is not None:
        return answers.file(tables, form, only)
    quarters = next(table for table in tables if table.name == "demand")
    total: dict[int, float] = {}
    for _, quarter, kw, _ in quarters.rows:
        if not isinstance(kw, Missing) and isinstance(kw, float) and quarter is not None:
            moment = ms(quarter)  # type: ignore[arg-type]  # a column of times
            total[moment] = total.get(moment, 0.0) + kw
    profile = sorted(total.items())
    peak = max(profile, key=lambda one: one[1], default=None)
    return answers.many(
        tables, None, None,
        quarters={"t_ms": [t for t, _ in profile], "kw": [kw for _, kw in profile]},
        peak=None if peak is None else {"t_ms": peak[0], "kw": peak[1]}, contract_kw=site.plant.contract_kw,
    )  # fmt: skip


@router.get("/completeness")
async def completeness(
    house: Here, db: Db, person: Who, span: Day, form: Annotated[Format, Query(alias="format")] = None,
    only: Only = None,
) -> Response:  # fmt: skip
    """Rows due and there, by machine and hour, and what is missing by cause."""
    del person
    zone = house.site().zone.key
    rows = await ask(db, _HOURS, [span.first, span.last])
    causes = _by_machine(rows)
    columns = [
        column("machine"), column("due_rows", "whole"), column("stored", "whole"), column("health", "share", "1"),
        *(_cause(name) for name in CAUSES),
    ]  # fmt: skip
    table = Table("completeness", say("board.completeness.title"), columns, causes, zone)
    if form is not None:
        return answers.file([table], form, only)
    hours = sorted({ms(row[0]) for row in rows})
    machines: dict[str, list[float | None]] = {row[0]: [None] * len(hours) for row in causes}
    for hour, asset, expected, stored, *missing in rows:
        off = missing[CAUSES.index("machine_off")]
        if expected:
            machines[asset][hours.index(ms(hour))] = float(min((stored + off) / expected, 1))
    return JSONResponse({"by_machine": answers.told(table), "hours": {"t_ms": hours, "machines": machines}})


def _by_machine(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    sums: dict[str, list[int]] = {}
    for _, asset, *numbers in rows:
        kept = sums.setdefault(asset, [0] * len(numbers))
        sums[asset] = [a + int(b) for a, b in zip(kept, numbers, strict=True)]
    for numbers in sums.values():
        numbers[-1] = max(numbers[-1], 0)  # rows that are stored and not yet counted are not on their way
    return [
        [asset, due, there, min((there + causes[CAUSES.index("machine_off")]) / due, 1.0) if due else None, *causes]
        for asset, (due, there, *causes) in sorted(sums.items())
    ]


def _cause(name: str) -> Column:
    return Column(name, say(f"grafana.cause.{name}"), "whole")


_SUMS: Final[Mapping[str, str]] = {
    "producing": "production_s", "setup": "setup_s", "delay": "delay_s", "technical": "technical_s",
    "organisational": "organisational_s", "down": "greatest(down_s - technical_s - organisational_s, 0)",
    "blind": "blind_s",
}  # fmt: skip
_LOSSES: Final = f"""
    SELECT asset, {", ".join(f"sum({_SUMS[name]})::float8" for name in LOSSES)} FROM rootdx.kpi_elements
    WHERE shift_start >= %(first)s AND shift_start < %(last)s
      AND (%(machine)s::text IS NULL OR asset = %(machine)s)
    GROUP BY asset ORDER BY asset"""  # noqa: S608  # our own column names
_HOURS: Final = f"""
    SELECT hour, asset, expected, stored, {", ".join(CAUSES)} FROM rootdx.completeness_hours(%s, %s)
    WHERE hour >= now() - INTERVAL '800 days' ORDER BY hour, asset"""  # noqa: S608  # our own column names
