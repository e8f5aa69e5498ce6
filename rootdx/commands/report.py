"""`rootdx report`: the papers of a shift and of a month, and what went out by schedule."""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline import service
from pipeline.errors import ConfigError
from rootdx import export
from rootdx.export import Table
from rootdx.invocation import Format, MachineName, Out, Site, database, give, run, site_of
from rootdx.paper import energy_report, schedule, shift_report
from rootdx.paper.report import SUFFIXES, Form, Report, rendered
from rootdx.program import Config, settings_of
from rootdx.terminal import progress
from rootdx.texts import language, say, speaking

app = typer.Typer(
    no_args_is_help=True, help="Reports on paper: of a shift, of the energy of a month; those by schedule."
)

PaperForm = Annotated[
    Literal["pdf", "html", "xlsx"] | None,
    typer.Option("--format", help="Without it by the ending of --out, else pdf. xlsx has the tables behind it."),
]
PaperOut = Annotated[
    Path | None, typer.Option("--out", "-o", help="File to write; without it named after the report, in this folder.")
]
Lang = Annotated[
    Literal["ko", "en"] | None, typer.Option("--lang", help="Language of the paper; without it yours (ROOTDX_LANG).")
]


@app.command("shift", epilog="Example: rootdx report shift --at 2026-11-21 --shift day --out day.pdf --lang ko")
def shift(
    config: Config = None,
    *,
    at: Annotated[str | None, typer.Option(help="Day or moment of the shift; without it the last that ended.")] = None,
    name: Annotated[
        str | None, typer.Option("--shift", help="Its name, as plant.toml has it; it begins that day.")
    ] = None,
    machine: MachineName = None,
    form: PaperForm = None,
    out: PaperOut = None,
    lang: Lang = None,
) -> None:
    """One shift: effectiveness and losses, quantities, verdicts, stops, alarms, completeness, energy."""
    site = site_of(config)
    kind = form_of(form, out)
    with speaking(lang or language()), progress(say("progress.writing")):
        _written(*run(_shift(site, at, name, machine, kind)), out, kind)


async def _shift(site: Site, at: str | None, name: str | None, machine: str | None, form: Form) -> tuple[Report, bytes]:
    if at is None and name is None:
        chosen = shift_report.last_shift(site)
    else:
        chosen = shift_report.shift_at(site, site.clock.moment(at or "now", "--at"), name)
    async with database(site.store) as db:
        made = await shift_report.shift_report(db, site, chosen, machine)
        return made, await rendered(made, form)


@app.command("energy", epilog="Example: rootdx report energy --month 2026-11 --format xlsx")
def energy(
    config: Config = None,
    *,
    month: Annotated[str | None, typer.Option(help="As 2026-11; without it the last whole one.")] = None,
    machine: MachineName = None,
    form: PaperForm = None,
    out: PaperOut = None,
    lang: Lang = None,
) -> None:
    """A month of energy: by machine and day, peaks against the contract, load profile, base load, per item and ton."""
    site = site_of(config)
    kind = form_of(form, out)
    with speaking(lang or language()), progress(say("progress.writing")):
        _written(*run(_energy(site, _month(site, month), machine, kind)), out, kind)


async def _energy(site: Site, month: date, machine: str | None, form: Form) -> tuple[Report, bytes]:
    async with database(site.store) as db:
        made = await energy_report.energy_report(db, site, month, machine)
        return made, await rendered(made, form)


def _month(site: Site, text: str | None) -> date:
    try:
        return energy_report.month_of(text, site.clock.now.astimezone(site.zone).date())
    except ValueError as error:
        raise ConfigError(say("paper.energy.month", text=text)) from error


@app.command(
    "send", epilog="Example: ROOTDX_STORE_DSN=postgresql://… rootdx report send --config /etc/rootdx/rootdx.toml"
)
def send(config: Config = None) -> None:
    """Sends the [[report]] tables of the settings by schedule, each report once to everybody. Runs until stopped."""
    settings = settings_of(config)
    raise typer.Exit(service.run(lambda: schedule.run(settings)))


@app.command("list", epilog="Example: rootdx report list")
def list_(config: Config = None, *, form: Format = None, out: Out = None) -> None:
    """What was planned and sent by schedule, and what went wrong."""
    site = site_of(config)
    give([run(_listed(site))], form, out)


async def _listed(site: Site) -> Table:
    async with database(site.store) as db:
        return await schedule.deliveries(db, site.zone.key)


def form_of(form: Form | None, out: Path | None) -> Form:
    """What was asked for: by --format, else by the ending of --out, else a PDF.

    Raises:
        ConfigError: an ending nobody knows.
    """
    if form is not None or out is None:
        return form or "pdf"
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(say("paper.ending", file=out, endings=", ".join(SUFFIXES)))
    return SUFFIXES[out.suffix.lower()]


def _written(made: Report, content: bytes, out: Path | None, form: Form) -> None:
    file = out or Path(f"{made.name}.{form}")
    export.write(content, file)
    typer.echo(say("paper.written", file=file), err=True)
