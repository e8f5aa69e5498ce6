"""`rootdx board`: the plant's live page; `rootdx account`: who may sign in to it."""

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline import service
from pipeline.errors import ConfigError
from pipeline.settings import read_secret
from rootdx.board import serve
from rootdx.board.access import Person, Role
from rootdx.board.people import People
from rootdx.export import Table
from rootdx.invocation import Format, Out, Site, database, give, run, site_of
from rootdx.program import Config, alone, settings_of
from rootdx.texts import say

app = alone()
account = typer.Typer(no_args_is_help=True, help="Who may sign in to the board.")
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="File with the password; without it you are asked.")
]
Name = Annotated[str, typer.Argument(help="As it is to stand in the journals.")]


@app.command(epilog="Example: ROOTDX_STORE_DSN=postgresql://… rootdx board --config /etc/rootdx/rootdx.toml")
def board(config: Config = None) -> None:
    """Serves the plant's live page and its REST API. Runs until stopped."""
    settings = settings_of(config)
    raise typer.Exit(service.run(lambda: serve.run(settings)))


@account.command("add", epilog="Example: rootdx account add kim --role engineer")
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="operator, engineer, auditor or admin.")],
    config: Config = None,
    *,
    password_file: PasswordFile = None,
) -> None:
    """Lets somebody sign in."""
    site = site_of(config, anywhere=True)
    run(_add(site, name, role, _password(password_file)))
    typer.echo(say("board.account.added", name=name, role=role))


async def _add(site: Site, name: str, role: Role, password: str) -> None:
    async with database(site.store) as db:
        people = People(db)
        await people.add(name, role, password)
        await people.note(_here(), "account_added", name, {"role": role})


@account.command("list", epilog="Example: rootdx account list")
def list_(config: Config = None, *, form: Format = None, out: Out = None) -> None:
    """Who may sign in."""
    give([run(_listed(site_of(config, anywhere=True)))], form, out)


async def _listed(site: Site) -> Table:
    async with database(site.store) as db:
        return await People(db).table(site.zone.key)


@account.command("password", epilog="Example: rootdx account password kim")
def password(name: Name, config: Config = None, *, password_file: PasswordFile = None) -> None:
    """Gives somebody another password; their sessions end."""
    run(_change(site_of(config, anywhere=True), name, password=_password(password_file)))
    typer.echo(say("board.account.changed", name=name))


@account.command("role", epilog="Example: rootdx account role kim engineer")
def role(
    name: Name,
    role: Annotated[Role, typer.Argument(help="operator, engineer, auditor or admin.")],
    config: Config = None,
) -> None:
    """Gives somebody another role; their sessions end."""
    run(_change(site_of(config, anywhere=True), name, role=role))
    typer.echo(say("board.account.changed", name=name))


@account.command("disable", epilog="Example: rootdx account disable kim")
def disable(name: Name, config: Config = None) -> None:
    """Lets somebody sign in no more; what the journals say of them stays."""
    run(_change(site_of(config, anywhere=True), name, disabled=True))
    typer.echo(say("board.account.changed", name=name))


@account.command("enable", epilog="Example: rootdx account enable kim")
def enable(name: Name, config: Config = None) -> None:
    """Lets somebody sign in again."""
    run(_change(site_of(config, anywhere=True), name, disabled=False))
    typer.echo(say("board.account.changed", name=name))


async def _change(
    site: Site, name: str, *, role: Role | None = None, password: str | None = None, disabled: bool | None = None
) -> None:
    async with database(site.store) as db:
        people = People(db)
        await people.change(name, role=role, password=password, disabled=disabled)
        told = {"role": role, "disabled": disabled, "password": None if password is None else "…"}
        await people.note(
            _here(), "account_changed", name, {key: value for key, value in told.items() if value is not None}
        )


def _here() -> Person:
    """Whoever has the database's password."""
    return Person(getpass.getuser(), "admin", "command")


def _password(file: Path | None) -> str:
    if file is not None:
        return read_secret(file)
    if not sys.stdin.isatty():
        raise ConfigError(say("board.account.no_terminal"))
    first = getpass.getpass(say("board.account.ask"))
    if getpass.getpass(say("board.account.ask_again")) != first:
        raise ConfigError(say("board.account.different"))
    return first
