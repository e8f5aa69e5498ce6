"""`rootdx kpi`: key figures, capability, energy."""

from typing import Annotated, Literal

import typer

from rootdx import capability, energy_figures, key_figures
from rootdx.capability import Question
from rootdx.export import Table
from rootdx.invocation import Format, From, MachineName, Out, Site, To, database, give, run, site_of
from rootdx.key_figures import By
from rootdx.moments import Span
from rootdx.program import Config
from rootdx.terminal import progress
from rootdx.texts import say

app = typer.Typer(help="Key figures: effectiveness, availability, quality, energy; capability; demand.")


@app.callback(
    invoke_without_command=True,
    epilog="Example: rootdx kpi --from 2026-11-01 --to 2026-12-01 --by machine --out november.xlsx",
)
def kpi(
    context: typer.Context,
    config: Config = None,
    *,
    since: From = "7d",
    until: To = "now",
    by: Annotated[
        Literal["shift", "day", "order", "machine", "line"], typer.Option(help="What a row of the table is.")
    ] = "shift",
    machine: MachineName = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """Key figures of ISO 22400-2 of the shifts that begin in a span, from sums of their elements."""
    if context.invoked_subcommand is not None:
        return
    site = site_of(config)
    span = site.clock.span(since, until)
    screen = form in (None, "table") and out is None
    table = run(_figures(site, span, by, machine, brief=screen))
    if screen:
        typer.echo(span.said(site.zone))
    give([table], form, out)


async def _figures(site: Site, span: Span, by: By, machine: str | None, *, brief: bool) -> Table:
    with progress(say("progress.reading")):
        async with database(site.store) as db:
            return await key_figures.table(db, span, by, machine, site.zone.key, brief=brief)


@app.command("capability", epilog="Example: rootdx kpi capability --machine dc1 --feature v_fast --from 30d --die D-17")
def study(
    machine: Annotated[str, typer.Option("--machine", "-m", help="Machine: its path or the end of it, as dc1.")],
    feature: Annotated[str, typer.Option(help="Feature, as `rootdx cycles --features` shows them.")],
    config: Config = None,
    *,
    since: From = "30d",
    until: To = "now",
    recipe: Annotated[str | None, typer.Option(help="Only cycles with this recipe.")] = None,
    die: Annotated[str | None, typer.Option(help="Only cycles with this die.")] = None,
    low: Annotated[float | None, typer.Option(help="Lower limit, in place of the one in force.")] = None,
    high: Annotated[float | None, typer.Option(help="Upper limit, likewise.")] = None,
    only: Annotated[str | None, typer.Option(help="One table: facts or indices.")] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """How capable a feature is: Cp, Cpk, Pp, Ppk with intervals, and whether the numbers may be used."""
    site = site_of(config)
    context = {kind: name for kind, name in (("recipe", recipe), ("die", die)) if name is not None}
    question = Question(machine, feature, site.clock.span(since, until), context, low, high)
    give(run(_studied(site, question)), form, out, only)


async def _studied(site: Site, question: Question) -> list[Table]:
    with progress(say("progress.reading")):
        async with database(site.store) as db:
            return await capability.studied(db, question, site.zone.key)


@app.command("energy", epilog="Example: rootdx kpi energy --from 2026-11-01 --only billing")
def energy(
    config: Config = None,
    *,
    since: From = "7d",
    until: To = "now",
    machine: MachineName = None,
    only: Annotated[str | None, typer.Option(help="One table: forecast, billing, demand, base or green.")] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """Demand of quarter hours, what the running one will reach, what is billed, base load, figures per m2."""
    site = site_of(config)
    give(run(_energy(site, site.clock.span(since, until), machine)), form, out, only)


async def _energy(site: Site, span: Span, machine: str | None) -> list[Table]:
    with progress(say("progress.reading")):
        async with database(site.store) as db:
            return await energy_figures.tables(db, span, machine, site.plant, site.clock.now)
