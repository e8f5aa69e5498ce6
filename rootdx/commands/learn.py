"""`rootdx learn`: what is normal, from a range that was, into the baseline that a detector reads."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from analytics.watching import Watching
from pipeline.errors import ConfigError
from rootdx import backtesting, learning
from rootdx.backtesting import Given
from rootdx.csv_table import CsvWish
from rootdx.invocation import Columns, Format, From, MachineName, Out, Site, To, database, give, run, site_of
from rootdx.learning import Rows
from rootdx.program import Config, alone
from rootdx.terminal import progress
from rootdx.texts import say

app = alone()


@app.command(
    epilog="Examples: rootdx learn --machine dc1 --detector together --from 2026-11-01 --to 2026-11-15   ·   "
    "rootdx learn --file shots.csv --settings try.toml --by mold_code --leave-out tryshot_signal"
)
def learn(
    config: Config = None,
    *,
    machine: MachineName = None,
    detector: Annotated[
        str | None, typer.Option(help="Name of the [[detector]]; needed where there are several.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="A TOML file of further [[detector]] tables.")] = None,
    file: Annotated[Path | None, typer.Option(help="A CSV file in place of the database.")] = None,
    since: From = "30d",
    until: To = "now",
    time: Annotated[str | None, typer.Option(help="Column of time in the file.")] = None,
    of: Columns = None,
    by: Columns = None,
    leave_out: Annotated[str | None, typer.Option(help="Column that says which rows are not normal.")] = None,
    outliers: Annotated[
        float, typer.Option(min=0, help="Leave out rows with a variable beyond so many robust sigma; 0 keeps all.")
    ] = 10.0,
    baseline: Annotated[Path | None, typer.Option(help="File to write; without it the detector's own.")] = None,
    form: Format = None,
    only: Annotated[str | None, typer.Option(help="One table: contexts or left_out.")] = None,
    out: Out = None,
) -> None:
    """Learns from rows that are taken to be normal: name a range in which nothing was wrong."""
    site = site_of(config, anywhere=file is not None)
    if (machine is None) == (file is None):
        raise ConfigError(say("backtest.one_source"))
    watched = None if machine is None else backtesting.machine_of(site, machine)
    chosen = backtesting.chosen([detector] if detector else [], watched, settings)
    able = chosen if detector else [one for one in chosen if one.detector.learns]
    if len(able) != 1:
        raise ConfigError(say("learn.which", names=", ".join(one.name for one in able) or "–"))
    watching = able[0]
    target = learning.target(watching, baseline)
    csv = None if file is None else CsvWish(file, time, tuple(of or ()), tuple(by or ()), None, leave_out)
    with progress(say("progress.reading")):
        rows = run(_rows(site, Given(watched, site.clock.span(since, until), csv), watching))
        found, table = learning.learn(watching, rows, outliers, datetime.now(UTC), target)
    give(learning.sheets(found, table, site.zone.key), form, out, only)
    typer.echo(say("learn.written", file=target, digest=found.digest[:12]), err=True)


async def _rows(site: Site, given: Given, watching: Watching) -> Rows:
    if given.csv is not None:
        rows, unreadable = learning.from_file(given.csv, watching, site.zone)
        if unreadable:
            typer.echo(say("csv.not_numbers", file=given.csv.file, cells=unreadable), err=True)
        return rows
    if given.machine is None:
        raise ConfigError(say("backtest.one_source"))
    async with database(site.store) as db:
        return await learning.stored(db, given.machine, watching, given.span)
