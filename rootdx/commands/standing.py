"""`rootdx life`, `rootdx checks`, `rootdx trace`: how things stand."""

from datetime import date
from typing import Annotated

import typer

from analytics.machines import Watched
from rootdx import standing
from rootdx.export import Table
from rootdx.invocation import Format, MachineName, Out, Site, database, give, run, site_of
from rootdx.program import Config
from rootdx.terminal import progress
from rootdx.texts import say


def life(config: Config = None, *, machine: MachineName = None, form: Format = None, out: Out = None) -> None:
    """Life counters of the machines of the plant folder, the most worn first."""
    site = site_of(config)
    give([run(_life(site, standing.machines_of(site, machine)))], form, out)


async def _life(site: Site, machines: list[Watched]) -> Table:
    with progress(say("progress.reading")):
        async with database(site.store) as db:
            return await standing.life_table(db, machines, site.zone.key)


def checks(
    config: Config = None,
    *,
    day: Annotated[str, typer.Option(help="As they stood on this day: 2026-11-22, today, yesterday.")] = "today",
    machine: MachineName = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """Required checks, the worst first; exit code 1 when one is overdue."""
    site = site_of(config)
    on = site.clock.day(day, "--day")
    table, overdue = run(_checks(site, standing.machines_of(site, machine), on))
    give([table], form, out)
    raise typer.Exit(1 if overdue else 0)


async def _checks(site: Site, machines: list[Watched], day: date) -> tuple[Table, int]:
    async with database(site.store) as db:
        return await standing.check_table(db, machines, day, site.zone.key)


def trace(
    kind: Annotated[str, typer.Argument(help="part, lot, melt, load, rack, assembly, ...")],
    item: Annotated[str, typer.Argument(help="Its name.")],
    config: Config = None,
    *,
    only: Annotated[str | None, typer.Option(help="One table: origins or windows.")] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """What an item came from, and every cycle that it went through."""
    site = site_of(config)
    give(run(_trace(site, kind, item)), form, out, only)


async def _trace(site: Site, kind: str, item: str) -> list[Table]:
    with progress(say("progress.reading")):
        async with database(site.store) as db:
            return await standing.trace_tables(db, kind, item, site.zone.key)


def add_to(app: typer.Typer) -> None:
    """The three commands."""
    app.command("life", epilog="Example: rootdx life --machine dc1")(life)
    app.command("checks", epilog="Example: rootdx checks --day today")(checks)
    app.command("trace", epilog="Example: rootdx trace part P-1")(trace)
