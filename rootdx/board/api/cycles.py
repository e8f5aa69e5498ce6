"""Cycles, lots, and where an item came from."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Response

from analytics.machines import load_machines
from pipeline.errors import ConfigError
from rootdx import cycle_list, standing
from rootdx.alarm_text import name_of
from rootdx.board import answers
from rootdx.board.answers import Format, Only, TableOut, TablesOut
from rootdx.board.house import Db, Here, House, Who
from rootdx.board.places import Month, Week, maybe_path
from rootdx.board.sight import ms, phases
from rootdx.cycle_list import Wish
from rootdx.export import Table, column
from rootdx.invocation import ask
from rootdx.texts import say

router = APIRouter(tags=["cycles"])
Word = Annotated[str | None, Query(max_length=120)]
ItemKind = Annotated[Literal["lot", "part", "load", "rack", "melt"], Query()]


@router.get("/cycles", response_model=TableOut)
async def cycles(
    house: Here, db: Db, person: Who, span: Week, machine: Annotated[str | None, Query(max_length=300)] = None,
    kind: Word = None, lot: Word = None, part: Word = None, verdict: Word = None,
    features: Annotated[bool, Query(description="With a column a feature.")] = False,
    most: Annotated[int, Query(ge=0, le=20_000, description="The newest; 0: all.")] = 200,
    form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Cycles that begin in a span, oldest first."""
    del person
    path = await maybe_path(db, machine)
    wish = Wish(span, path, kind, lot, part, verdict, most if form is None else 0, features)
    return answers.one(await cycle_list.listed(db, wish, house.site().zone.key), form)


@router.get("/cycles/{cycle_id}")
async def cycle(
    cycle_id: Annotated[int, Path(ge=1, le=2**62)], house: Here, db: Db, person: Who,
    form: Annotated[Format, Query(alias="format")] = None, only: Only = None,
) -> Any:  # fmt: skip
    """Everything about one cycle: what it was, phases, features with limits and verdicts, context, records."""
    del person
    tables = await cycle_list.shown(db, cycle_id, house.site().zone.key)
    if form is not None:
        return answers.many(tables, form, only)
    (row,) = await ask(db, _ONE, [cycle_id])
    path, kind, lane, number, start, end, verdict, flags, context, *shape = row
    records = await ask(db, _RECORDS, [list(context), list(context.values()), str(cycle_id)])
    return {
        "cycle_id": cycle_id, "machine": path, "short": path.rpartition("/")[2], "kind": kind, "lane": lane,
        "number": number, "start_ms": ms(start), "end_ms": None if end is None else ms(end), "verdict": verdict,
        "flags": flags, "context": context, "phases": phases(*shape), "tables": [answers.told(one) for one in tables],
        "tags": await _worth_drawing(db, house, path, kind),
        "records": [{"number": number, "verdict": verdict} for number, verdict in records],
        "labels": _labels(tables),
    }  # fmt: skip


def _labels(tables: Sequence[Table]) -> dict[str, str]:
    """What people call the features and the verdicts of a cycle."""
    told = [str(row[0]) for one in tables if one.name in ("features", "judged") for row in one.rows]
    return {name: name_of("feature", name) for name in told}


async def _worth_drawing(db: Db, house: House, path: str, kind: str) -> list[str]:
    """Up to six tags: those that the process reads, in the order of the machine file."""
    try:
        _, machines = load_machines(house.settings.board.plant)
        wanted = {
            role for one in machines if one.asset == path for process in one.processes if process.kind == kind
            for role in (*process.roles().mandatory, *process.roles().optional)
        }  # fmt: skip
    except ConfigError:
        wanted = set()
    rows = await ask(db, "SELECT tag, role FROM rootdx.tags WHERE asset = %s ORDER BY tag_id", [path])
    chosen = [tag for tag, role in rows if role in wanted] or [tag for tag, role in rows if role]
    return chosen[:6]


@router.get("/trace", response_model=TablesOut)
async def trace(
    kind: ItemKind, item: Annotated[str, Query(max_length=120)], house: Here, db: Db, person: Who,
    form: Annotated[Format, Query(alias="format")] = None, only: Only = None,
) -> Response:  # fmt: skip
    """What an item came from, and every cycle that it went through."""
    del person
    return answers.many(await standing.trace_tables(db, kind, item, house.site().zone.key), form, only)


@router.get("/lots", response_model=TableOut)
async def lots(
    house: Here, db: Db, person: Who, span: Month, kind: ItemKind = "lot",
    search: Annotated[str, Query(max_length=120)] = "", form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Lots, loads, racks, melts or parts of a span, with their cycles, verdicts and newest record."""
    del person
    rows = await ask(db, _LOTS, {"kind": kind, "first": span.first, "last": span.last, "search": search or None})
    columns = [
        column("item"), column("machine"), column("cycles", "whole"), column("passed", "whole"),
        column("failed", "whole"), column("others", "whole"), column("start", "time"), column("end", "time"),
        column("record", "whole"), column("verdict"),
    ]  # fmt: skip
    notes = [] if rows else [say("board.lots.none", kind=kind)]
    return answers.one(Table("lots", say("board.lots.title"), columns, rows, house.site().zone.key, notes=notes), form)


_ONE: Final = """
    SELECT a.path, c.kind, c.lane, c.number, c.start_ts, c.end_ts, c.verdict, c.flags, c.context, c.phase_names,
           c.phase_starts, c.phase_ends
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) WHERE c.cycle_id = %s"""
_RECORDS: Final = """
    SELECT r.number, r.verdict FROM rootdx.records r
    WHERE (r.subject_kind, r.subject) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
       OR r.subject_kind = 'cycle' AND r.subject = %s ORDER BY r.number DESC LIMIT 20"""
_LOTS: Final = """
    SELECT g.*, r.number, r.verdict FROM (
        SELECT c.context ->> %(kind)s AS item,
               string_agg(DISTINCT regexp_replace(a.path, '^.*/', ''), ' ') AS machines, count(*) AS cycles,
               count(*) FILTER (WHERE c.verdict = 'pass') AS good, count(*) FILTER (WHERE c.verdict = 'fail') AS bad,
               count(*) FILTER (WHERE c.verdict NOT IN ('pass', 'fail')) AS other, min(c.start_ts) AS first,
               max(coalesce(c.end_ts, c.start_ts)) AS last
        FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id)
        WHERE c.context ? %(kind)s AND c.start_ts >= %(first)s AND c.start_ts < %(last)s
          AND (%(search)s::text IS NULL OR strpos(lower(c.context ->> %(kind)s), lower(%(search)s)) > 0)
        GROUP BY 1 ORDER BY max(c.start_ts) DESC LIMIT 500
    ) g LEFT JOIN LATERAL (
        SELECT number, verdict FROM rootdx.records r WHERE r.subject_kind = %(kind)s AND r.subject = g.item
        ORDER BY r.number DESC LIMIT 1
    ) r ON true ORDER BY g.last DESC"""
