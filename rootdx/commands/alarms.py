"""`rootdx alarms`: what rings, why, what people do about it, and how much it rings."""

import time
from typing import Annotated

import typer

from analytics.alarm import Act, Kind
from analytics.alarm_store import AlarmStore
from rootdx import alarm_list
from rootdx.export import Table
from rootdx.invocation import Format, From, MachineName, Out, Site, To, database, give, run, site_of
from rootdx.moments import Span
from rootdx.program import Config
from rootdx.texts import say

app = typer.Typer(help="Alarms: what rings and why; acknowledge, shelve, take out of service; journal and load.")

Number = Annotated[int, typer.Argument(metavar="ID", help="Number of the alarm, as the list shows it.")]
Who = Annotated[str, typer.Option("--who", help="Who does it; the journal keeps it for good.")]
Reason = Annotated[str, typer.Option("--reason", help="Why.")]


@app.callback(invoke_without_command=True, epilog="Examples: rootdx alarms   ·   rootdx alarms --machine dc1 --all")
def alarms(
    context: typer.Context,
    config: Config = None,
    *,
    machine: MachineName = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are normal now.")] = False,
    form: Format = None,
    out: Out = None,
) -> None:
    """Lists the alarms that stand, what matters most first, each with its reason in one sentence."""
    if context.invoked_subcommand is None:
        site = site_of(config)
        give([run(_listed(site, machine, every=every))], form, out)


async def _listed(site: Site, machine: str | None, *, every: bool) -> Table:
    async with database(site.store) as db:
        return await alarm_list.listed(db, site, machine, every=every)


@app.command("show", epilog="Example: rootdx alarms show 12")
def show(
    alarm_id: Number,
    config: Config = None,
    *,
    only: Annotated[str | None, typer.Option(help="One table: alarm, moved or journal.")] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """Everything about one alarm: why it rang, which variables moved, its cycle and window, its journal."""
    site = site_of(config)
    give(run(_shown(site, alarm_id)), form, out, only)


async def _shown(site: Site, alarm_id: int) -> list[Table]:
    async with database(site.store) as db:
        return await alarm_list.shown(db, site, alarm_id)


@app.command("ack", epilog='Example: rootdx alarms ack 12 --who kim --done "plunger tip replaced"')
def ack(
    alarm_id: Number,
    who: Who,
    config: Config = None,
    *,
    done: Annotated[str, typer.Option(help="What was done; shown the next time it rings.")] = "",
) -> None:
    """Acknowledges an alarm."""
    _do(config, alarm_id, Act(Kind.ACKNOWLEDGED, time.time_ns(), who, done))


@app.command("reset", epilog="Example: rootdx alarms reset 12 --who kim")
def reset(alarm_id: Number, who: Who, config: Config = None) -> None:
    """Resets an alarm that is latched: it has cleared and was acknowledged."""
    _do(config, alarm_id, Act(Kind.RESET, time.time_ns(), who))


@app.command("shelve", epilog='Example: rootdx alarms shelve 12 --who kim --for 8 --reason "sensor on order"')
def shelve(
    alarm_id: Number,
    who: Who,
    reason: Reason,
    hours: Annotated[float, typer.Option("--for", min=0.01, max=24 * 14, help="Hours; it always expires.")] = 8.0,
    config: Config = None,
) -> None:
    """Sets an alarm aside for a time; still active at the end it is told again."""
    now = time.time_ns()
    _do(config, alarm_id, Act(Kind.SHELVED, now, who, reason, now + round(hours * 3600e9)))


@app.command("unshelve", epilog="Example: rootdx alarms unshelve 12 --who kim")
def unshelve(alarm_id: Number, who: Who, config: Config = None) -> None:
    """Ends the shelving of an alarm."""
    _do(config, alarm_id, Act(Kind.UNSHELVED, time.time_ns(), who))


@app.command("out-of-service", epilog='Example: rootdx alarms out-of-service 12 --who kim --reason "furnace relined"')
def out_of_service(alarm_id: Number, who: Who, reason: Reason, config: Config = None) -> None:
    """Takes an alarm out of service until somebody puts it back."""
    _do(config, alarm_id, Act(Kind.OUT_OF_SERVICE, time.time_ns(), who, reason))


@app.command("in-service", epilog="Example: rootdx alarms in-service 12 --who kim")
def in_service(alarm_id: Number, who: Who, config: Config = None) -> None:
    """Puts an alarm back into service."""
    _do(config, alarm_id, Act(Kind.IN_SERVICE, time.time_ns(), who))


def _do(config: Config, alarm_id: int, act: Act) -> None:
    site = site_of(config)
    typer.echo(run(_done(site, alarm_id, act)))


async def _done(site: Site, alarm_id: int, act: Act) -> str:
    async with database(site.store) as db:
        state = await AlarmStore(db).act(alarm_id, act)
    return say("alarms.done", id=alarm_id, state=say(f"alarm.state.{state}"))


@app.command("journal", epilog="Example: rootdx alarms journal --from yesterday --machine dc1 --out journal.xlsx")
def journal(
    config: Config = None,
    *,
    machine: MachineName = None,
    since: From = "7d",
    until: To = "now",
    form: Format = None,
    out: Out = None,
) -> None:
    """Everything that happened to alarms, oldest first; never rewritten."""
    site = site_of(config)
    give([run(_journal(site, machine, site.clock.span(since, until)))], form, out)


async def _journal(site: Site, machine: str | None, span: Span) -> Table:
    async with database(site.store) as db:
        return await alarm_list.journal(db, site, machine, span)


@app.command("rates", epilog="Example: rootdx alarms rates --from 30d")
def rates(
    config: Config = None,
    *,
    machine: MachineName = None,
    since: From = "30d",
    until: To = "now",
    only: Annotated[str | None, typer.Option(help="One table: rates, sources or priorities.")] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """How much the alarms ask of people: rates, floods, chattering, stale alarms, worst sources, priorities."""
    site = site_of(config)
    give(run(_rates(site, machine, site.clock.span(since, until))), form, out, only)


async def _rates(site: Site, machine: str | None, span: Span) -> list[Table]:
    async with database(site.store) as db:
        return await alarm_list.rates(db, site, machine, span)
