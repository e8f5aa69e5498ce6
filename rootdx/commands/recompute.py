"""`rootdx recompute`: find and measure cycles of a span again."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ConfigError
from rootdx import recompute
from rootdx.invocation import run, site_of
from rootdx.program import Config
from rootdx.terminal import progress
from rootdx.texts import say


def command(
    since: Annotated[
        str, typer.Option("--from", help="Begin: ISO, in plant time unless it has a zone; a day; today; 7d ago.")
    ],
    until: Annotated[str, typer.Option("--to", help="End, not included; written like --from.")] = "now",
    config: Config = None,
    *,
    machine: Annotated[
        list[str] | None, typer.Option("--machine", "-m", help="Machine, as often as needed; without it all.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Spread it over this Dask cluster, as tls://host:8786.")
    ] = None,
    papers: Annotated[
        Path | None,
        typer.Option(help="Folder of ca.pem, compute.pem and compute.key, which the cluster's scheduler wants to see."),
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="Compute in this process instead of asking.")] = False,
    wait_s: Annotated[
        float, typer.Option("--wait", help="Seconds for the analytics process to take the request.")
    ] = 60.0,
) -> None:
    """Asks the analytics process to find and measure the cycles of a span again, and waits until it is done."""
    if here and cluster:
        raise ConfigError(say("recompute.either"))
    spread_over = recompute.Cluster(cluster, papers) if cluster else None
    site = site_of(config)
    span = site.clock.span(since, until)
    typer.echo(span.said(site.zone), err=True)
    with progress(say("progress.recompute")) as advance:
        if here or cluster:
            pieces = run(recompute.here(site, span, machine or [], spread_over, advance))
        else:
            machines = run(recompute.asked(site, span, machine or [], wait_s, advance))
    done = say("recompute.done_here", pieces=pieces) if here or cluster else say("recompute.done", machines=machines)
    typer.echo(done)
