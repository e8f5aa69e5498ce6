"""Cycles of the store as tables: a list by machine, time and context, and everything about one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from analytics.result import Reason
from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx.alarm_text import name_of
from rootdx.export import Cell, Column, Missing, Table, column
from rootdx.invocation import ask, machine_paths
from rootdx.moments import Span
from rootdx.texts import say

SCREEN_ROWS: Final = 100
"""So many of the newest are shown where nobody said how many; a file has them all."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which cycles.

    Attributes:
        span: in which they begin; None: any.
        machine: its path, or the end of it.
        kind: of process.
        lot: context.
        part: context.
        verdict: of the whole.
        most: at most so many, the newest; 0: all.
        features: with a column a feature.
    """

    span: Span | None
    machine: str | None = None
    kind: str | None = None
    lot: str | None = None
    part: str | None = None
    verdict: str | None = None
    most: int = 0
    features: bool = False


async def listed(db: Connection, wish: Wish, zone: str) -> Table:
    """The cycles that were asked for, oldest first.

    Raises:
        BadData: nobody knows the machine.
    """
    machines = None if wish.machine is None else await machine_paths(db, [wish.machine])
    first, last = (wish.span.first, wish.span.last) if wish.span else (None, None)
    rows = await ask(db, _CYCLES, {
        "machines": machines, "kind": wish.kind, "verdict": wish.verdict, "first": first, "last": last,
        "lot": wish.lot, "part": wish.part, "most": wish.most or None,
    })  # fmt: skip
    count = len(rows) if not wish.most else (await ask(db, _COUNT, {
        "machines": machines, "kind": wish.kind, "verdict": wish.verdict, "first": first, "last": last,
        "lot": wish.lot, "part": wish.part,
    }))[0][0]  # fmt: skip
    more, cells = await _features(db, rows) if wish.features else ([], [[] for _ in rows])
    said = [[*row[: len(_COLUMNS)], *values] for row, values in zip(rows, cells, strict=True)]
    notes = [say("cycles.cut", shown=len(rows), all=count)] if len(rows) < count else []
    columns = [*(column(*one) for one in _COLUMNS), *more]
    return Table("cycles", say("cycles.title"), columns, said[::-1], zone, reasons=wish.features, notes=notes)


async def _features(db: Connection, rows: Sequence[tuple[Any, ...]]) -> tuple[list[Column], list[list[Cell]]]:
    """A column for each feature and unit that one of the cycles has, and the cells of each cycle."""
    wanted = sorted({row[-3] for row in rows if row[-3] is not None})
    sets = {key: list(zip(names, units, strict=True)) for key, names, units in await ask(db, _SETS, [wanted])}
    places: dict[tuple[str, str], int] = {}
    for key in wanted:
        for one in sets[key]:
            places.setdefault(one, len(places))
    names = [name for name, _ in places]
    columns = [
        Column(name if names.count(name) == 1 else f"{name} ({unit})", name, "number", unit) for name, unit in places
    ]
    cells = []
    for *_, key, values, reasons in rows:
        line: list[Cell] = [None] * len(places)
        for one, value, code in zip(sets.get(key, ()), values, reasons, strict=True):
            line[places[one]] = Missing(Reason(code).name) if value is None else value
        cells.append(line)
    return columns, cells


async def shown(db: Connection, cycle_id: int, zone: str) -> list[Table]:
    """All that is stored about one cycle.

    Raises:
        BadData: there is none of this number.
    """
    rows = await ask(db, _ONE, [cycle_id])
    if not rows:
        raise BadData(say("cycles.unknown", id=cycle_id))
    names = [item[0] for item in _FACTS]
    facts = dict(zip([*names, "context", "verdicts", "asset_id"], rows[0], strict=True))
    return [
        _facts(facts, zone),
        await _phases(db, cycle_id, zone),
        await _feature_table(db, cycle_id, zone),
        _pairs("context", facts["context"], zone),
        *([_pairs("judged", facts["verdicts"], zone)] if facts["verdicts"] else []),
        await _waveforms(db, facts, zone),
    ]


def _facts(facts: Mapping[str, Any], zone: str) -> Table:
    columns = [column(*one) for one in _FACTS]
    return Table("cycle", say("cycles.one", id=facts["id"]), columns, [[facts[one.name] for one in columns]], zone)


async def _phases(db: Connection, cycle_id: int, zone: str) -> Table:
    columns = [column("phase"), column("start", "time"), column("end", "time"), column("seconds", "number", "s")]
    return Table("phases", say("cycles.phases"), columns, await ask(db, _PHASES, [cycle_id]), zone)


async def _feature_table(db: Connection, cycle_id: int, zone: str) -> Table:
    columns = [
        column("feature"), column("value", "number"), column("unit"), column("low", "number"),
        column("high", "number"), column("verdict"), column("formula"), column("formula_version"),
        column("n_used", "whole"), column("coverage", "share", "1"), column("name"),
    ]  # fmt: skip
    rows = [
        [name, Missing(why) if value is None else value, *rest, name_of("feature", name)]
        for name, value, why, *rest in await ask(db, _FEATURES, [cycle_id])
    ]
    return Table("features", say("cycles.features"), columns, rows, zone, reasons=True)


def _pairs(name: str, pairs: Mapping[str, str], zone: str) -> Table:
    rows = [[key, str(value)] for key, value in sorted(pairs.items())]
    return Table(name, say(f"cycles.{name}"), [column("name"), column("text")], rows, zone)


async def _waveforms(db: Connection, facts: Mapping[str, Any], zone: str) -> Table:
    end: datetime = facts["end"] or facts["start"] + timedelta(days=1)
    rows = await ask(db, _WAVEFORMS, [facts["machine"], facts["start"], end])
    columns = [
        column("name"), column("role"), column("start", "time"), column("seconds", "number", "s"),
        column("samples", "whole"), column("channels"), column("quality"),
    ]  # fmt: skip
    return Table("waveforms", say("cycles.waveforms"), columns, rows, zone)


_COLUMNS: Final[tuple[tuple[Any, ...], ...]] = (
    ("id", "whole"), ("machine",), ("kind",), ("start", "time"), ("end", "time"), ("seconds", "number", "s"),
    ("phase",), ("lane",), ("number", "whole"), ("verdict",), ("lot",), ("part",), ("recipe",), ("flags",),
)  # fmt: skip
_FACTS: Final[tuple[tuple[Any, ...], ...]] = (
    *_COLUMNS, ("version", "whole"), ("process_version",), ("computed", "time"),
)  # fmt: skip
_SELECT: Final = """
    SELECT c.cycle_id, a.path, c.kind, c.start_ts, c.end_ts, extract(epoch FROM c.end_ts - c.start_ts)::float8,
           CASE WHEN c.end_ts IS NULL THEN c.phase_names[cardinality(c.phase_names)] END,
           c.lane, c.number, c.verdict, c.context->>'lot', c.context->>'part', c.context->>'recipe',
           array_to_string(c.flags, ' ')"""
_WHERE: Final = """
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id)
    WHERE (%(machines)s::text[] IS NULL OR a.path = ANY(%(machines)s))
      AND (%(kind)s::text IS NULL OR c.kind = %(kind)s)
      AND (%(verdict)s::text IS NULL OR c.verdict = %(verdict)s)
      AND (%(first)s::timestamptz IS NULL OR c.start_ts >= %(first)s AND c.start_ts < %(last)s)
      AND (%(lot)s::text IS NULL OR c.context @> jsonb_build_object('lot', %(lot)s::text))
      AND (%(part)s::text IS NULL OR c.context @> jsonb_build_object('part', %(part)s::text))"""
_CYCLES: Final = f"""{_SELECT}, c.set_id, c.value, c.reason {_WHERE}
    ORDER BY c.start_ts DESC, a.path DESC, c.lane DESC LIMIT %(most)s"""
_COUNT: Final = f"SELECT count(*) {_WHERE}"  # a constant of ours
_SETS: Final = "SELECT set_id, names, units FROM rootdx.feature_set WHERE set_id = ANY(%s)"
_ONE: Final = f"""{_SELECT}, c.version, c.process, c.computed_at, c.context, c.verdicts, c.asset_id
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) WHERE c.cycle_id = %s"""
_PHASES: Final = "SELECT phase, start_ts, end_ts, seconds FROM rootdx.phases WHERE cycle_id = %s ORDER BY place"
_FEATURES: Final = """
    SELECT feature, value, reason, unit, low, high,
           CASE WHEN low IS NULL AND high IS NULL THEN NULL WHEN value IS NULL THEN 'incomplete'
                WHEN reason <> 'OK' THEN 'review' WHEN within THEN 'pass' ELSE 'fail' END,
           formula, formula_version, n_used, coverage::float8
    FROM rootdx.features WHERE cycle_id = %s"""
_WAVEFORMS: Final = """
    SELECT name, role, ts, seconds, samples, array_to_string(channels, ' '), quality
    FROM rootdx.waveforms WHERE asset = %s AND ts >= %s AND ts < %s ORDER BY ts, name"""
