"""`rootdx certs`: the plant's own authority, and certificates for bus, database, board and gateways."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from rootdx import certs
from rootdx.export import Table, column
from rootdx.invocation import Format, Out, give
from rootdx.texts import say

app = typer.Typer(no_args_is_help=True, help="Certificates of this plant's own authority: make, list, renew, revoke.")
Folder = Annotated[Path, typer.Option(help="Of the authority; keep it on one computer, and a copy in a safe.")]
FOLDER = Path("certs")


@app.command("init", epilog='Example: rootdx certs init --folder /etc/rootdx/certs --plant "Hansung Ansan 1"')
def init(
    folder: Folder = FOLDER, *, plant: Annotated[str, typer.Option(help="Name in its certificate.")] = "plant"
) -> None:
    """Makes the authority, once; refuses where there is one."""
    typer.echo(say("certs.made", file=certs.make_authority(folder, plant, _now())))


@app.command("server", epilog="Example: rootdx certs server broker --host broker --host localhost --host 192.168.10.5")
def server(
    name: Annotated[str, typer.Argument(help="broker, database, board or metrics.")],
    folder: Folder = FOLDER,
    *,
    host: Annotated[
        list[str] | None, typer.Option(help="Name or IP number by which it is reached; may be given several times.")
    ] = None,
) -> None:
    """A certificate for something that others connect to."""
    typer.echo(say("certs.made", file=certs.make(folder, name, "server", host or [], _now())))


@app.command("client", epilog="Example: rootdx certs client gw-1 --folder /etc/rootdx/certs")
def client(
    name: Annotated[
        str, typer.Argument(help="The gateway's name as in [gateway] name; or writer, notify, prometheus.")
    ],
    folder: Folder = FOLDER,
    *,
    gateway: Annotated[
        list[str] | None,
        typer.Option(help="For a writer that reads some gateways alone; several times. Said again: a new list."),
    ] = None,
) -> None:
    """A certificate by which the broker knows a gateway, a writer or the notifier; Prometheus is known by one, too."""
    made = (
        certs.make_writer(folder, name, gateway, _now()) if gateway else certs.make(folder, name, "client", [], _now())
    )
    typer.echo(say("certs.made", file=made))


@app.command("list", epilog="Example: rootdx certs list --folder /etc/rootdx/certs")
def list_(folder: Folder = FOLDER, *, form: Format = None, out: Out = None) -> None:
    """Every certificate with its end, the nearest first, and those revoked; exit code 1 when one is over."""
    now = _now()
    found = certs.papers(folder)
    columns = (column("name"), column("use"), column("hosts"), column("end", "time"), column("days_left", "whole"))
    rows = tuple(
        (one.name, say(f"certs.use.{one.kind}"), ", ".join(one.names), one.end, one.days_left(now)) for one in found
    )
    gone = tuple(
        (one.name, say("certs.use.revoked", day=one.when.date()), "", one.end, None) for one in certs.revoked(folder)
    )
    give([Table("certificates", say("certs.title", folder=folder), columns, rows + gone, "UTC")], form, out)
    raise typer.Exit(1 if any(one.end <= now for one in found) else 0)


@app.command("renew", epilog="Example: rootdx certs renew --folder /etc/rootdx/certs --within 60")
def renew(
    name: Annotated[list[str] | None, typer.Argument(help="Which; none: those near their end.")] = None,
    folder: Folder = FOLDER,
    *,
    within: Annotated[int, typer.Option(help="Near is so many days.")] = certs.NEAR.days,
) -> None:
    """Gives certificates a new end; their keys stay. The authority is renewed only when it is named: `ca`."""
    done = certs.renew(folder, name or [], timedelta(days=within), _now())
    for one in done:
        typer.echo(say("certs.renewed", name=one.name, end=one.end.date()))
    if not done:
        typer.echo(say("certs.nothing", days=within))


@app.command("revoke", epilog="Example: rootdx certs revoke gw-1 --folder /etc/rootdx/certs")
def revoke(name: Annotated[str, typer.Argument(help="Whose computer was stolen.")], folder: Folder = FOLDER) -> None:
    """Ends a certificate before its time, for good: brokers, database and metrics that get the new lists refuse it."""
    certs.revoke(folder, name, _now())
    typer.echo(say("certs.revoked", name=name, users=certs.USERS, crl=certs.CRL))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
