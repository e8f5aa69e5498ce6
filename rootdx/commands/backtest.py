"""`rootdx backtest`: how often a detector would have rung, on what, and against what was really wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from analytics.watching import Watching
from pipeline.errors import ConfigError
from rootdx import backtesting
from rootdx.backtesting import Against, Given, Trial
from rootdx.csv_table import CsvWish, read_labels
from rootdx.invocation import Columns, Format, From, MachineName, Out, Site, To, database, give, run, site_of
from rootdx.program import Config, alone
from rootdx.terminal import progress
from rootdx.texts import say

app = alone()


@app.command(
    epilog="Examples: rootdx backtest --machine dc1 --detector shots --from 30d --budget 1   ·   rootdx backtest "
    "--file shots.csv --settings try.toml --by mold_code --label passorfail --plot shots.png"
)
def backtest(
    config: Config = None,
    *,
    machine: MachineName = None,
    detector: Annotated[
        list[str] | None, typer.Option(help="Name of a [[detector]]; two are compared. Without it all of --settings.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A TOML file of further [[detector]] tables, tried before they are used.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A CSV file in place of the database.")] = None,
    since: From = "30d",
    until: To = "now",
    time: Annotated[str | None, typer.Option(help="Column of time in the file.")] = None,
    of: Columns = None,
    by: Columns = None,
    label: Annotated[str | None, typer.Option(help="Column of the file that says which rows were wrong.")] = None,
    leave_out: Annotated[str | None, typer.Option(help="Column that says which rows are not normal.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A CSV file of what was wrong: from, to, name.")] = None,
    tolerance_s: Annotated[float, typer.Option("--tolerance", min=0, help="Seconds around a range that count.")] = 0.0,
    budget: Annotated[float | None, typer.Option(min=0, help="Alarms a day that people can take.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write: .png, .svg or .pdf.")] = None,
    only: Annotated[
        str | None, typer.Option(help="One table: summary, days, contexts, subjects, episodes or missed.")
    ] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """Runs one or two settings over stored rows, cycles or a file, as they would have run live."""
    site = site_of(config, anywhere=file is not None)
    if (machine is None) == (file is None):
        raise ConfigError(say("backtest.one_source"))
    watched = None if machine is None else backtesting.machine_of(site, machine)
    chosen = backtesting.chosen(detector or (), watched, settings)
    csv = None if file is None else CsvWish(file, time, tuple(of or ()), tuple(by or ()), label, leave_out)
    given = Given(watched, site.clock.span(since, until), csv)
    against = Against(None if labels is None else read_labels(labels, site.zone), tolerance_s, budget)
    with progress(say("progress.reading")):
        trials, against = run(_tried(site, given, chosen, against))
    if plot is not None:
        from rootdx.backtest_plot import draw  # noqa: PLC0415  # a plot library is a second and 40 MB

        draw(trials, against, site.zone, plot)
        typer.echo(say("backtest.plotted", file=plot), err=True)
    sheets = backtesting.sheets(trials, against, site.zone)
    give([one for one in sheets if one.rows or one.name in ("summary", only)], form, out, only)


async def _tried(site: Site, given: Given, chosen: Sequence[Watching], against: Against) -> tuple[list[Trial], Against]:
    if given.csv is not None:
        trials = []
        for one in chosen:
            table, found, unreadable = backtesting.from_file(given.csv, one, site.zone)
            if unreadable:
                typer.echo(say("csv.not_numbers", file=given.csv.file, cells=unreadable), err=True)
            if found is not None and against.labels is None:
                against = Against(found, against.tolerance_s, against.budget)
            trials.append(backtesting.tried(one, table, against, None))
        return trials, against
    if given.machine is None:
        raise ConfigError(say("backtest.one_source"))
    async with database(site.store) as db:
        rows = [await backtesting.stored(db, given.machine, one, given.span) for one in chosen]
    return [
        backtesting.tried(one, table, against, first) for one, (table, first) in zip(chosen, rows, strict=True)
    ], against
