"""How things stand: life counters, required checks, and where an item came from and went through."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from analytics.calendar import Due
from analytics.checks import standings
from analytics.life import lives
from analytics.machines import Watched, load_machines
from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx.export import Cell, Table, column
from rootdx.invocation import Site, ask, one_of
from rootdx.texts import say


def machines_of(site: Site, name: str | None) -> list[Watched]:
    """The machines of the plant folder that are watched, or the one that was named.

    Raises:
        ConfigError: a machine file is wrong.
        BadData: no machine has that name.
    """
    _, machines = load_machines(site.settings.analytics.plant)
    if name is None:
        return machines
    path = one_of([machine.asset for machine in machines], name)
    return [machine for machine in machines if machine.asset == path]


async def life_table(db: Connection, machines: Sequence[Watched], zone: str) -> Table:
    """Every life counter of the machines, the most worn first."""
    found = [one for machine in machines for one in await lives(db, machine.asset, machine.lives)]
    found.sort(key=lambda one: -1.0 if one.limit is None else -one.value / one.limit)
    rows: list[list[Cell]] = [
        [
            one.asset, one.name, one.item, one.value, one.unit, one.limit,
            None if one.limit is None else one.value / one.limit, one.state, one.since,
            None if one.dose is None else one.dose.shots, None if one.dose is None else one.dose.carry_ml,
        ]
        for one in found
    ]  # fmt: skip
    columns = [
        column("machine"), column("counter"), column("item"), column("value", "number"), column("unit"),
        column("limit", "number"), column("used", "share", "1"), column("state"), column("reset", "time"),
        column("dose_shots", "whole"), column("carry_ml", "number", "mL"),
    ]  # fmt: skip
    notes = [] if any(machine.lives for machine in machines) else [say("life.none")]
    return Table("life", say("life.title"), columns, rows, zone, notes=notes)


async def check_table(db: Connection, machines: Sequence[Watched], day: date, zone: str) -> tuple[Table, int]:
    """Every required check of the machines as it stood on a day, the worst first; and how many are overdue."""
    worst = [Due.OVERDUE, Due.SOON, Due.FRESH]
    found = [
        (worst.index(one.state), machine.asset, one)
        for machine in machines
        for one in await standings(db, machine.asset, machine.checks, day)
    ]
    rows: list[list[Cell]] = [
        [asset, one.check.kind, one.check.subject, "failed" if one.failed else one.state.value, one.done, one.due,
         " ".join(one.check.roles), one.document, one.author]
        for _, asset, one in sorted(found, key=lambda one: one[:2])
    ]  # fmt: skip
    columns = [
        column("machine"), column("check"), column("subject"), column("state"), column("done", "day"),
        column("due", "day"), column("roles"), column("document"), column("author"),
    ]  # fmt: skip
    notes = [] if rows else [say("checks.none")]
    table = Table("checks", say("checks.title", day=day.isoformat()), columns, rows, zone, notes=notes)
    return table, sum(one.state is Due.OVERDUE for *_, one in found)


async def trace_tables(db: Connection, kind: str, item: str, zone: str) -> list[Table]:
    """What an item came from, and every cycle that it went through, once: by the nearest of its origins.

    Raises:
        BadData: nothing is known of it.
    """
    rows = await ask(db, _TRACE, {"kind": kind, "item": item})
    origins: dict[tuple[str, str], int] = {(row[0], row[1]): row[2] for row in rows}
    windows = list({row[8]: [*row[3:], *row[:2]] for row in reversed(rows) if row[8] is not None}.values())[::-1]
    if len(origins) == 1 and not windows:
        raise BadData(say("trace.unknown", kind=kind, item=item))
    first = Table(
        "origins", say("trace.origins"), [column("depth", "whole"), column("kind"), column("item")],
        [[depth, *pair] for pair, depth in sorted(origins.items(), key=lambda one: (one[1], one[0]))], zone,
    )  # fmt: skip
    columns = [
        column("start", "time"), column("end", "time"), column("machine"), column("process"), column("verdict"),
        column("id", "whole"), column("via_kind"), column("via_item"),
    ]  # fmt: skip
    return [first, Table("windows", say("trace.windows"), columns, windows, zone)]


_TRACE: Final = """
    SELECT o.item_kind, o.item, o.depth, w.start_ts, w.end_ts, w.asset, w.process, w.verdict, w.cycle_id
    FROM rootdx.origins(%(kind)s, %(item)s) o
    LEFT JOIN rootdx.windows_of(%(kind)s, %(item)s) w ON (w.via_kind, w.via_item) = (o.item_kind, o.item)
    ORDER BY w.start_ts, w.cycle_id, o.depth"""
