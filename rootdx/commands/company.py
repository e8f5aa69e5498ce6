"""`rootdx company`: several companies on one database server; see deploy/centre.md."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ConfigError
from pipeline.settings import store_dsn
from rootdx import company
from rootdx.invocation import Format, Out, give, run
from rootdx.program import Config, settings_of
from rootdx.terminal import progress
from rootdx.texts import say

app = typer.Typer(
    no_args_is_help=True, help="Companies that share a centre: each has a database and logins of its own."
)
Name = Annotated[str, typer.Argument(help="Of the company: lower-case letters, digits and hyphens, as hansung.")]
Dsn = Annotated[str | None, typer.Option(help="Administrator's connection; else the settings' or the environment's.")]


@app.command("add", epilog="Example: rootdx company add hansung --config migrate.toml --passwords /etc/rootdx/secrets")
def add(
    name: Name,
    config: Config = None,
    *,
    dsn: Dsn = None,
    folder: Annotated[Path, typer.Option("--passwords", help="Folder for a password file of each login.")] = Path(
        "secrets"
    ),
    connections: Annotated[
        int | None, typer.Option(min=10, help="That the company may have at once; without it as before, a new one 40.")
    ] = None,
) -> None:
    """Makes a company's database with its schema, and its logins; safe to run again, e.g. after an upgrade."""
    done = run(company.add(_dsn(config, dsn), name, folder, connections))
    for one in done.applied:
        typer.echo(say("migrate.applied", name=one))
    for login, file in done.files.items():
        typer.echo(say("migrate.password", role=login, file=file))
    for database in done.open:
        typer.echo(say("company.open", database=database), err=True)
    typer.echo(say("company.added", name=name))


@app.command("list", epilog="Example: rootdx company list --config migrate.toml")
def list_(config: Config = None, *, dsn: Dsn = None, form: Format = None, out: Out = None) -> None:
    """Every company with its size, rows of the last day, time since its newest commit, and gateways."""
    with progress(say("progress.reading")):
        found = run(company.table(_dsn(config, dsn), datetime.now(UTC)))
    give([found], form, out)


@app.command("remove", epilog="Example: rootdx company remove hansung --config migrate.toml --yes-delete")
def remove(
    name: Name,
    config: Config = None,
    *,
    dsn: Dsn = None,
    yes_delete: Annotated[bool, typer.Option("--yes-delete", help="Really, with every row.")] = False,
) -> None:
    """Removes a company's database and logins for good; without --yes-delete it only says what to keep first."""
    target = _dsn(config, dsn)
    if not yes_delete:
        raise ConfigError(say("company.sure", name=name, size=run(company.size_of(target, name))))
    run(company.remove(target, name))
    typer.echo(say("company.removed", name=name))


def _dsn(config: Path | None, dsn: str | None) -> str:
    return dsn or store_dsn(settings_of(config).store)
