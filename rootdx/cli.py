"""The command `rootdx`.

Commands only parse, call and print; what they call lives in the modules named after it. Exit codes: 0 done, 1 a check
failed or something is unavailable, 2 misused, 78 a file or setting is wrong.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from collectors.probe import ProbeRow, Remark, probe as probe_machine
from collectors.protocols import MachineFile
from pipeline import migrate as migration
from pipeline.errors import ConfigError
from pipeline.plant import load
from pipeline.settings import store_dsn
from rootdx import demo as demo_plant, doctor as doctor_checks, passwords, quarantine
from rootdx.commands import (
    alarms,
    analytics,
    backtest,
    board,
    browse,
    certs,
    company,
    config,
    cycles,
    enter,
    gateway,
    grafana,
    health,
    kpi,
    learn,
    notebooks,
    notify,
    recompute,
    record,
    report,
    simulate,
    standing,
    tags,
    writer,
)
from rootdx.invocation import run as _run
from rootdx.program import Config, begin, settings_of as _settings
from rootdx.texts import catalogue, say

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Shop-floor data platform for root-process plants: device to hypertable, exactly once.",
)
quarantine_app = typer.Typer(no_args_is_help=True, help="What could not be stored: look at it, retry it, take it out.")
for one in (
    gateway.app,
    writer.app,
    analytics.app,
    notify.app,
    simulate.app,
    backtest.app,
    learn.app,
    grafana.app,
    board.app,
    notebooks.app,
    health.app,
):
    app.add_typer(one)
app.add_typer(quarantine_app, name="quarantine")
app.add_typer(board.account, name="account")
app.add_typer(tags.app, name="tags")
app.add_typer(cycles.app, name="cycles")
app.add_typer(alarms.app, name="alarms")
app.add_typer(kpi.app, name="kpi")
app.add_typer(record.app, name="record")
app.add_typer(report.app, name="report")
app.add_typer(enter.app, name="enter")
app.add_typer(certs.app, name="certs")
app.add_typer(config.app, name="config")
app.add_typer(company.app, name="company")

Seconds = Annotated[str | None, typer.Option("--for", help="Stop after this long, e.g. 60s, 10min, 2h.")]


@app.command(epilog="Example: rootdx demo --for 60s --check")
def demo(
    *,
    duration: Seconds = None,
    check: Annotated[
        bool, typer.Option(help="At the end compare every value with what the machines produced.")
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option(help="Instead of the simulated plant, play the CSV files of this folder at full speed."),
    ] = None,
    speed: Annotated[float, typer.Option(help="Simulated seconds per second.")] = 1.0,
    folder: Annotated[Path | None, typer.Option(help="Where the demo keeps its data; emptied at the start.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same plant.")] = 1,
    browser: Annotated[bool, typer.Option(help="Open the board in the browser, where there is a screen.")] = True,
) -> None:
    """A whole plant on this machine: database, broker, four simulated machines, gateway, writer, board, live."""
    wish = demo_plant.Wish(
        duration_s=None if duration is None else seconds(duration),
        check=check, replay=replay, speed=speed, seed=seed, folder=folder or demo_plant.default_folder(),
        browser=browser and not check,
    )  # fmt: skip
    raise typer.Exit(_run(demo_plant.run(wish)))


@app.command(
    epilog="Example: rootdx probe deploy/plant/dc1.toml. And: rootdx probe opcua opc.tcp://192.168.0.40:4840 --write "
    "machine.toml, which is rootdx browse: a machine file made of what an OPC UA server has."
)
def probe(
    file: Annotated[Path, typer.Argument(help="Machine file.")],
    wait_s: Annotated[float, typer.Option("--wait", help="Longest wait for the device, seconds.")] = 5.0,
) -> None:
    """Reads every tag of a machine once, and one of each burst, and shows what they say: for commissioning."""
    machine = load(file, MachineFile)
    rows = _run(probe_machine(machine, wait_s=wait_s))
    table = Table(title=say("probe.title", name=machine.name, asset=machine.path))
    for column in (
        "live.tag",
        "probe.raw",
        "live.value",
        "probe.unit",
        "live.quality",
        "probe.plausible",
        "probe.remark",
    ):
        table.add_column(say(column))
    for row in rows:
        raw = "" if row.raw is None else str(row.raw)
        plausible = say("probe.yes" if row.plausible else "probe.no")
        told = [_told(one) for one in row.remarks]
        remark = "; ".join(part for part in (row.burst, row.error, *told) if part)
        table.add_row(row.name, raw, _said(row), row.unit, _quality(row.quality), plausible, remark)
    Console().print(table)
    raise typer.Exit(0 if all(row.plausible for row in rows) else 1)


@app.command(epilog="Example: rootdx migrate --dsn postgresql://postgres@db/rootdx --passwords /etc/rootdx/secrets")
def migrate(
    config: Config = None,
    dsn: Annotated[
        str | None, typer.Option(help="Administrator's connection; else the settings' or the environment's.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--passwords", help="Make passwords for writer, reader, analytics and board; keep them here."),
    ] = None,
) -> None:
    """Brings the database to this program's schema; safe to run again."""
    target = dsn or store_dsn(_settings(config).store)
    done = _run(migration.migrate(target))
    for name in done:
        typer.echo(say("migrate.applied", name=name))
    if not done:
        typer.echo(say("migrate.nothing"))
    if folder is not None:
        for role, file in _run(passwords.make(target, folder)).items():
            typer.echo(say("migrate.password", role=role, file=file))


@app.command(epilog="Example: rootdx doctor --config /etc/rootdx/rootdx.toml")
def doctor(
    config: Config = None,
    machines: Annotated[bool, typer.Option(help="Also ask every machine.")] = True,
) -> None:
    """Says in plain words what is wrong with this installation."""
    findings = _run(doctor_checks.examine(config, machines=machines))
    colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    table = Table(show_header=False, box=None, padding=(0, 1))
    for one in findings:
        table.add_row(f"[{colours[one.state]}]{say(f'doctor.{one.state}')}[/]", one.subject, one.text)
    Console().print(table)
    raise typer.Exit(1 if any(one.state == "failed" for one in findings) else 0)


@quarantine_app.command("list", epilog="Example: rootdx quarantine list --format json")
def quarantine_list(
    config: Config = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Also what was retried with success.")] = False,
    form: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
) -> None:
    """What lies there, and why."""
    entries = _run(quarantine.entries(_settings(config).store, everything=everything))
    if form != "table":
        typer.echo(quarantine.as_text(entries, form), nl=False)
        return
    if not entries:
        typer.echo(say("quarantine.empty"))
        return
    table = Table()
    for column in ("id", "gateway", "record", "cause", "rows", "arrivals", "since", "reason"):
        table.add_column(say(f"quarantine.{column}"))
    for one in entries:
        place = "" if one.seq is None else f"{one.seq}" if one.body is None else f"{one.seq}.{one.body}"
        since = one.arrived.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(
            str(one.id), one.gateway or "", place, one.cause, str(one.rows), str(one.arrivals), since, one.reason
        )
    Console().print(table)


@quarantine_app.command("retry", epilog="Example: rootdx quarantine retry 12 13")
def quarantine_retry(
    ids: Annotated[list[int] | None, typer.Argument(help="Entries; none means all.")] = None, config: Config = None
) -> None:
    """Tries again to store entries, e.g. after an upgrade."""
    outcomes = _run(quarantine.retry(_settings(config).store, ids or []))
    for one in outcomes:
        key = "quarantine.stored" if one.refused is None else "quarantine.refused"
        typer.echo(say(key, id=one.id, rows=one.rows, reason=one.refused))
    raise typer.Exit(1 if any(one.refused is not None for one in outcomes) else 0)


@quarantine_app.command("dismiss", epilog="Example: rootdx quarantine dismiss 7")
def quarantine_dismiss(
    ids: Annotated[list[int], typer.Argument(help="Entries that shall not be stored.")], config: Config = None
) -> None:
    """Marks entries as looked at; their bytes stay, doctor and live view no longer count them."""
    outcomes = _run(quarantine.dismiss(_settings(config).store, ids))
    for one in outcomes:
        key = "quarantine.dismissed" if one.refused is None else "quarantine.refused"
        typer.echo(say(key, id=one.id, reason=one.refused))
    raise typer.Exit(1 if any(one.refused is not None for one in outcomes) else 0)


@quarantine_app.command("export", epilog="Example: rootdx quarantine export aside.jsonl")
def quarantine_export(
    file: Annotated[Path, typer.Argument(help="File to write, JSON lines with the bytes in base64.")],
    ids: Annotated[list[int] | None, typer.Argument(help="Entries; none means all.")] = None,
    config: Config = None,
) -> None:
    """Writes entries with their bytes into a file, for whoever looks for the cause."""
    entries = _run(quarantine.entries(_settings(config).store, everything=True))
    chosen = [one for one in entries if not ids or one.id in ids]
    quarantine.export(chosen, file)
    typer.echo(say("quarantine.exported", entries=len(chosen), file=file))


standing.add_to(app)
app.command("browse", epilog="Example: rootdx browse opc.tcp://192.168.0.31:4840 --write deploy/plant/f03.toml")(
    browse.browse
)
app.command("recompute", epilog="Example: rootdx recompute --from 2026-11-01 --to 2026-11-08 --machine dc1")(
    recompute.command
)


def seconds(text: str) -> float:
    """A duration as people write it.

    >>> seconds("90"), seconds("60s"), seconds("2min"), seconds("1.5h")
    (90.0, 60.0, 120.0, 5400.0)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)?", text.strip())
    if found is None:
        raise ConfigError(f"--for {text!r}: expected a duration as 60s, 2min or 1h")
    return float(found[1]) * {"m": 60.0, "min": 60.0, "h": 3600.0}.get(found[2] or "s", 1.0)


def _said(row: ProbeRow) -> str:
    """The number, what it means, or the text."""
    number = "" if row.value is None else f"{row.value:g}"
    return f"{number} = {row.text}" if number and row.text else number or row.text


def _told(one: Remark) -> str:
    key = f"status.{one.values.get('name')}"
    if one.key == "status":
        return say(key) if key in catalogue() else str(one.values["name"])
    return say(f"probe.told.{one.key}", **one.values)


def _quality(code: int | None) -> str:
    if code is None:
        return "–"
    name = "bad" if code >= 0x8000_0000 else "uncertain" if code >= 0x4000_0000 else "good"
    return f"{say(f'quality.{name}')} 0x{code:08X}"


if __name__ == "__main__":
    begin(app)
