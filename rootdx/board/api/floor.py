"""Commissioning: every tag with its newest value, reading a machine once, life counters and checks."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from collectors.probe import ProbeRow, probe as probe_machine
from collectors.protocols import AnySource
from pipeline.errors import BadData
from pipeline.plant import Machine, load_folder
from rootdx import standing
from rootdx.board import answers
from rootdx.board.access import Person, Refused
from rootdx.board.answers import Format, Only, TableOut, TablesOut
from rootdx.board.house import Db, Here, May, Who
from rootdx.board.people import People
from rootdx.board.places import maybe_path, path_of
from rootdx.export import Cell, Table, column
from rootdx.invocation import ask
from rootdx.texts import say

router = APIRouter(tags=["commissioning"])
PROBE_S: Final = 8.0


class Which(BaseModel):
    """A machine."""

    machine: Annotated[str, Field(min_length=1, max_length=300)]


@router.get("/tags", response_model=TableOut)
async def tags(
    house: Here, db: Db, person: Who, machine: Annotated[str | None, Query(max_length=300)] = None,
    form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Every tag: newest value, quality, age, range, whether the value is plausible."""
    del person
    now = datetime.now(UTC)
    rows: list[list[Cell]] = [
        [asset, tag, role, value, unit, say(f"quality.{quality}") if quality else None,
         None if ts is None else max(0.0, (now - ts).total_seconds()), every, low, high,
         None if value is None else (low is None or value >= low) and (high is None or value <= high), text]
        for asset, tag, role, value, unit, quality, ts, every, low, high, text in await ask(
            db, _TAGS, {"machine": await maybe_path(db, machine)}
        )
    ]  # fmt: skip
    columns = [
        column("machine"), column("tag"), column("role"), column("value", "number"), column("unit"),
        column("quality"), column("age_s", "number", "s"), column("every_s", "number", "s"), column("low", "number"),
        column("high", "number"), column("plausible", "flag"), column("text"),
    ]  # fmt: skip
    return answers.one(Table("tags", say("board.tags.title"), columns, rows, house.site().zone.key), form)


@router.post("/probe", response_model=TableOut, responses={409: {"description": "A machine is being asked already."}})
async def probe(given: Which, house: Here, db: Db, person: Annotated[Person, Depends(May("probe"))]) -> Response:
    """Reads every tag of a machine once, now, from this computer; writes nothing to it. One machine at a time."""
    path = await path_of(db, given.machine)
    _, machines = await asyncio.to_thread(load_folder, house.settings.board.plant, Machine[AnySource])
    if path not in machines:
        raise BadData(say("board.probe.no_file", machine=path, folder=house.settings.board.plant))
    if house.probing:
        raise Refused(409, "busy", say("board.probe.busy"))
    house.probing = True
    try:
        await People(db).note(person, "probed", path, {})
        rows = await probe_machine(machines[path], PROBE_S, bursts=False)
    finally:
        house.probing = False
    columns = [
        column("tag"), column("raw", "number"), column("value", "number"), column("unit"), column("quality"),
        column("plausible", "flag"), column("remark"),
    ]  # fmt: skip
    cells = [_cells(row) for row in rows]
    return answers.one(
        Table("probe", say("board.probe.title", machine=path), columns, cells, house.site().zone.key), None
    )


def _cells(row: ProbeRow) -> list[Any]:
    name = None
    if row.quality is not None:
        name = "bad" if row.quality >= 0x8000_0000 else "uncertain" if row.quality >= 0x4000_0000 else "good"
    quality = None if name is None else f"{say(f'quality.{name}')} 0x{row.quality:08X}"
    remark = " ".join(part for part in (row.text, row.error) if part)
    return [row.name, row.raw, row.value, row.unit, quality, row.plausible, remark]


@router.get("/standing", response_model=TablesOut)
async def stands(
    house: Here, db: Db, person: Who, machine: Annotated[str | None, Query(max_length=300)] = None,
    form: Annotated[Format, Query(alias="format")] = None, only: Only = None,
) -> Response:  # fmt: skip
    """Life counters, the most worn first, and required checks, the worst first."""
    del person
    site = house.site()
    machines = await asyncio.to_thread(standing.machines_of, site, machine or None)
    life = await standing.life_table(db, machines, site.zone.key)
    checks, _ = await standing.check_table(db, machines, site.clock.day("today", ""), site.zone.key)
    return answers.many([life, checks], form, only)


_TAGS: Final = """
    SELECT t.asset, t.tag, t.role, l.value, t.unit, l.quality, l.ts, t.every_s, t.low, t.high, t.text
    FROM rootdx.tags t LEFT JOIN rootdx.latest l USING (tag_id)
    WHERE %(machine)s::text IS NULL OR t.asset = %(machine)s ORDER BY t.asset, t.tag_id"""
