"""`rootdx enter`: what people say: context, stops, quantities, laboratory results, links, resets, checks."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rootdx import entering
from rootdx.commands import survey
from rootdx.entering import Source
from rootdx.invocation import MachineName, run, site_of
from rootdx.program import Config
from rootdx.texts import say

app = typer.Typer(
    no_args_is_help=True,
    help="Enter what people know, one by options or many from a CSV file; needs the role rootdx_analytics.",
)

Author = Annotated[str | None, typer.Option(help="Who says so.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Many at once: a CSV file, all or none of it.")]
Template = Annotated[Path | None, typer.Option("--template", help="Write an empty CSV file with an example, and stop.")]
At = Annotated[str | None, typer.Option("--at", help="When, in plant time unless it has a zone; now, 2h ago as 2h.")]
Replaces = Annotated[int | None, typer.Option(help="Number of the entry that this one corrects.")]
Text = Annotated[str | None, typer.Option()]


@app.command(
    "context", epilog="Example: rootdx enter context --machine dc1 --kind lot --value L-2611 --at now --author kim"
)
def context(
    config: Config = None,
    *,
    machine: MachineName = None,
    kind: Annotated[
        str | None, typer.Option(help="lot, part, recipe, order, operator, die, rack, load, melt, …")
    ] = None,
    value: Annotated[str | None, typer.Option(help="From then on; '' ends it.")] = None,
    at: At = None,
    author: Author = None,
    csv: Csv = None,
    template: Template = None,
) -> None:
    """From a moment on a machine works with this lot, part, recipe, order, operator, die, ..."""
    given = {"asset": machine, "kind": kind, "value": value, "valid_from": at}
    _enter("context", config, author, csv, template, given)


@app.command("stop", epilog="Example: rootdx enter stop --machine dc1 --kind technical --from 2h --to now --author kim")
def stop(
    config: Config = None,
    *,
    machine: MachineName = None,
    kind: Annotated[
        Literal["planned", "setup", "technical", "organisational", "preventive", "corrective"] | None, typer.Option()
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="Begin, in plant time unless it has a zone.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="End.")] = None,
    reason: Text = None,
    replaces: Replaces = None,
    author: Author = None,
    csv: Csv = None,
    template: Template = None,
) -> None:
    """What a stop was."""
    given = {"asset": machine, "kind": kind, "from_ts": since, "to_ts": until, "reason": reason, "replaces": replaces}
    _enter("stop", config, author, csv, template, given)


@app.command(
    "quantity", epilog="Example: rootdx enter quantity --machine dc1 --scrap 3 --reason porosity --at now --author kim"
)
def quantity(
    config: Config = None,
    *,
    machine: MachineName = None,
    scrap: Annotated[float | None, typer.Option(help="Beyond what verdicts say; negative corrects.")] = None,
    rework: Annotated[float | None, typer.Option(help="Likewise.")] = None,
    at: At = None,
    reason: Text = None,
    author: Author = None,
    csv: Csv = None,
    template: Template = None,
) -> None:
    """Scrap and rework counted by hand."""
    given = {"asset": machine, "ts": at, "scrap": scrap, "rework": rework, "reason": reason}
    _enter("quantity", config, author, csv, template, given)


@app.command(
    "lab", epilog="Example: rootdx enter lab --machine ni1 --name ni --value 80.5 --unit g/L --at now --author park"
)
def lab(
    config: Config = None,
    *,
    machine: MachineName = None,
    name: Annotated[str | None, typer.Option(help="What was measured, as ni, thickness, fe.")] = None,
    value: Annotated[float | None, typer.Option()] = None,
    unit: Annotated[str | None, typer.Option(help="UCUM: g/L, um, %, Cel, 1.")] = None,
    at: At = None,
    item_kind: Annotated[str | None, typer.Option(help="Of an item: lot, part, melt, ...")] = None,
    item: Annotated[str | None, typer.Option(help="Its name.")] = None,
    sample: Annotated[str | None, typer.Option(help="Readings of one sample have the same.")] = None,
    method: Text = None,
    note: Text = None,
    replaces: Replaces = None,
    author: Author = None,
    csv: Csv = None,
    template: Template = None,
) -> None:
    """A laboratory value of a machine, of an item, or of both."""
    given = {
        "asset": machine, "name": name, "value": value, "unit": unit, "sampled": at, "item_kind": item_kind,
        "item": item, "sample": sample, "method": method, "note": note, "replaces": replaces,
    }  # fmt: skip
    _enter("lab", config, author, csv, template, given)


@app.command(
    "link", epilog="Example: rootdx enter link --item-kind part --item P-1 --of-kind lot --of-item L-2611 --author kim"
)
def link(
    config: Config = None,
    *,
    item_kind: Annotated[str | None, typer.Option(help="part, lot, assembly, ...")] = None,
    item: Annotated[str | None, typer.Option(help="Its name.")] = None,
    of_kind: Annotated[str | None, typer.Option(help="What it comes from: lot, melt, load, rack, part, ...")] = None,
    of_item: Annotated[str | None, typer.Option(help="Its name.")] = None,
    author: Author = None,
    csv: Csv = None,
    template: Template = None,
) -> None:
    """An item comes from, or goes through a process together with, another."""
    given = {"item_kind": item_kind, "item": item, "of_kind": of_kind, "of_item": of_item}
    _enter("link", config, author, csv, template, given)


@app.command(
    "reset", epilog="Example: rootdx enter reset --machine dc1 --counter die_shots --item D-17 --at now --author kim"
)
def reset(
    config: Config = None,
    *,
    machine: MachineName = None,
    counter: Annotated[str | None, typer.Option(help="Life counter, as `rootdx life` shows it.")] = None,
    item: Annotated[str | None, typer.Option(help="What it counts on, as the name of a die.")] = None,
    at: At = None,
    value: Annotated[float | None, typer.Option(help="What it starts from.")] = None,
    note: Text = None,
    replaces: Replaces = None,
    author: Author = None,
    csv: Csv = None,
    template: Template = None,
) -> None:
    """A life counter starts again."""
    given = {
        "asset": machine, "counter": counter, "item": item, "at": at, "value": value, "note": note,
        "replaces": replaces,
    }  # fmt: skip
    _enter("reset", config, author, csv, template, given)


@app.command(
    "check",
    epilog="Example: rootdx enter check --machine dc1 --kind calibration --subject TC-101 --done today --months 12 "
    "--passed --document KOLAS-2611 --author kim",
)
def check(
    config: Config = None,
    *,
    machine: MachineName = None,
    kind: Annotated[str | None, typer.Option(help="calibration, sat, tus, self_assessment, probe, ...")] = None,
    subject: Annotated[str | None, typer.Option(help="An instrument by its serial number, or the machine.")] = None,
    done: Annotated[str | None, typer.Option(help="Day; today, yesterday.")] = None,
    months: Annotated[int | None, typer.Option(help="For how many months it holds.")] = None,
    days: Annotated[int | None, typer.Option(help="Or for how many days.")] = None,
    passed: Annotated[bool | None, typer.Option("--passed/--failed")] = None,
    document: Annotated[str | None, typer.Option(help="Certificate or report.")] = None,
    replaces: Replaces = None,
    author: Author = None,
    csv: Csv = None,
    template: Template = None,
) -> None:
    """A calibration, survey or assessment was done."""
    given = {
        "asset": machine, "kind": kind, "subject": subject, "done": done, "months": months, "days": days,
        "passed": passed, "document": document, "replaces": replaces,
    }  # fmt: skip
    _enter("check", config, author, csv, template, given)


def _enter(
    kind: str, config: Path | None, author: str | None, csv: Path | None, template: Path | None, given: dict[str, Any]
) -> None:
    site = site_of(config)
    if template is not None:
        entering.template(kind, template, site.clock)
        typer.echo(say("enter.template", file=template))
        return
    found = entering.entries_of(Source(kind, author, csv, given), site.clock)
    new = run(entering.entered(site, found))
    typer.echo(say("enter.done", new=new, all=len(found)))


app.command(
    "tus",
    epilog="Example: rootdx enter tus --machine f03 --subject IQ-2 --csv tus.csv --setpoint 850 --tolerance 8 "
    "--correction T1=-0.3 --months 1 --author kim",
)(survey.tus)
app.command(
    "sat",
    epilog="Example: rootdx enter sat --machine f03 --subject IQ-2 --control 845 --test 842.6 --sensor-correction 0.8 "
    "--limit 1.7 --months 3 --author kim",
)(survey.sat)
