"""`rootdx cycles`: what the machines made, and everything about one cycle."""

from typing import Annotated, Literal

import typer

from rootdx import cycle_list
from rootdx.cycle_list import SCREEN_ROWS, Wish
from rootdx.export import Table
from rootdx.invocation import Format, MachineName, Out, Site, database, give, run, site_of
from rootdx.program import Config
from rootdx.terminal import progress
from rootdx.texts import say

app = typer.Typer(help="Cycles: shots, loads, seams, racks, strokes, with phases, features and verdicts.")


@app.callback(
    invoke_without_command=True,
    epilog="Examples: rootdx cycles --machine dc1 --from yesterday --to today --features --out shots.xlsx   ·   "
    "rootdx cycles --lot L-2611 --verdict fail",
)
def cycles(
    context: typer.Context,
    config: Config = None,
    *,
    machine: MachineName = None,
    kind: Annotated[str | None, typer.Option(help="Process, as hpdc_shot.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", help="Begin: ISO, in plant time unless it has a zone; a day; today, yesterday; 7d ago. "
                     "Without it 7d; all where a lot or part is named."),
    ] = None,
    until: Annotated[str, typer.Option("--to", help="End, not included; written like --from.")] = "now",
    lot: Annotated[str | None, typer.Option(help="Only of this lot.")] = None,
    part: Annotated[str | None, typer.Option(help="Only of this part; `rootdx trace` finds more.")] = None,
    verdict: Annotated[
        Literal["pass", "review", "fail", "incomplete", "unverified"] | None, typer.Option(help="Of the whole.")
    ] = None,
    features: Annotated[bool, typer.Option("--features", help="A column for each feature.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="At most so many, the newest; 0: all. On the screen 100 without it.")
    ] = None,
    form: Format = None,
    out: Out = None,
) -> None:  # fmt: skip
    """Lists cycles, oldest first."""
    if context.invoked_subcommand is not None:
        return
    site = site_of(config)
    named = lot is not None or part is not None
    span = None if since is None and named else site.clock.span(since or "7d", until)
    most = limit if limit is not None else SCREEN_ROWS if form in (None, "table") and out is None else 0
    wish = Wish(span, machine, kind, lot, part, verdict, most, features)
    table = run(_listed(site, wish))
    if (out is None) and form in (None, "table"):
        typer.echo(span.said(site.zone) if span else say("moments.zone", zone=site.zone.key))
    give([table], form, out)


async def _listed(site: Site, wish: Wish) -> Table:
    with progress(say("progress.reading")):
        async with database(site.store) as db:
            return await cycle_list.listed(db, wish, site.zone.key)


@app.command("show", epilog="Example: rootdx cycles show 4711")
def show(
    cycle_id: Annotated[int, typer.Argument(metavar="ID", help="Number of the cycle, as the list shows it.")],
    config: Config = None,
    *,
    only: Annotated[
        str | None, typer.Option(help="One table: cycle, phases, features, context, judged or waveforms.")
    ] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """Everything about one cycle: phases, features with limits and reasons, context, waveforms."""
    site = site_of(config)
    give(run(_shown(site, cycle_id)), form, out, only)


async def _shown(site: Site, cycle_id: int) -> list[Table]:
    async with database(site.store) as db:
        return await cycle_list.shown(db, cycle_id, site.zone.key)
