"""`rootdx config`: who may change the files of a plant, and who did."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from pipeline import seal as seals
from pipeline.errors import ConfigError
from rootdx import sealing
from rootdx.export import Table, column
from rootdx.invocation import Format, From, Out, Site, To, database, give, run, site_of
from rootdx.moments import Span
from rootdx.program import Config
from rootdx.terminal import progress
from rootdx.texts import say

app = typer.Typer(no_args_is_help=True, help="Seals on the files of a plant: keys of persons, sealing, the history.")
Plant = Annotated[Path, typer.Option(help="Folder of plant.toml and the machine files.")]
PLANT: Final = Path("plant")
Password = Annotated[
    str | None, typer.Option(envvar="ROOTDX_SEAL_PASSWORD", help="Of the key; asked for where it is not given.")
]


@app.command("key", epilog="Example: rootdx config key kim --folder /home/kim")
def key(
    name: Annotated[str, typer.Argument(help="Whose; it stands in every seal.")],
    folder: Annotated[Path, typer.Option(help="Where both files go; on the person's own computer.")] = Path(),
    *,
    password: Password = None,
) -> None:
    """Makes a person's key: NAME.key, locked with a password, stays; NAME.pub goes to the gateways."""
    secret = password or typer.prompt(say("config.password"), hide_input=True, confirmation_prompt=True)
    typer.echo(say("config.key", file=sealing.make_key(folder, name, secret)))


@app.command(
    "seal", epilog='Example: rootdx config seal --plant deploy/plant --key kim.key --note "zone 3: 850 -> 860"'
)
def seal(
    plant: Plant = PLANT,
    *,
    key: Annotated[Path, typer.Option(help="The person's key, NAME.key.")],
    note: Annotated[str, typer.Option(help="What was changed, and why; stands in the history.")],
    password: Password = None,
) -> None:
    """Shows which files have changed since the last seal, checks all of them, and seals the folder."""
    before, files = sealing.unsealed(plant)
    changes = sealing.differences(before.files if before else {}, files)
    for what, name in changes:
        typer.echo(f"{say(f'config.{what}'):10} {name}")
    secret = password or typer.prompt(say("config.password"), hide_input=True)
    made = sealing.put_seal(plant, key, secret, note, datetime.now(UTC).astimezone())
    typer.echo(say("config.sealed", number=made.number, signer=made.signer, count=len(changes), folder=plant))


@app.command("check", epilog="Example: rootdx config check --plant deploy/plant --signers /etc/rootdx/signers")
def check(
    plant: Plant = PLANT, *, signers: Annotated[Path, typer.Option(help="Folder of the public keys, NAME.pub.")]
) -> None:
    """Whether a gateway that trusts these keys would take the folder up; ends with 78 and the reason when not."""
    made = sealing.fitting(plant, signers)
    typer.echo(say("config.fits", number=made.number, signer=made.signer, made=made.made, note=made.note))


@app.command("log", epilog="Example: rootdx config log --from 30d --signers /etc/rootdx/signers")
def log(
    config: Config = None,
    *,
    since: From = "90d",
    until: To = "now",
    signers: Annotated[
        Path | None, typer.Option(help="Folder of the public keys, NAME.pub; without: [seal] signers of the settings.")
    ] = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """What gateways took up, by whom it was sealed, and whether that is true; exit code 1 when one seal is not."""
    site = site_of(config, anywhere=True)
    span = site.clock.span(since, until)
    place = signers or site.settings.seal.signers
    if place is None:
        raise ConfigError(say("config.no_signers"))
    entries = run(_log(site, span, place))
    columns = (
        column("gateway"),
        column("taken_up", "time"),
        column("seal", "whole"),
        column("signer"),
        column("note"),
        column("files"),
        column("verdict"),
    )
    rows = tuple(
        (
            one.gateway,
            one.when,
            one.seal.number if one.seal else None,
            one.seal.signer if one.seal else "",
            one.seal.note if one.seal else "",
            names,
            say(f"config.verdict.{one.verdict}"),
        )
        for one, names in zip(entries, sealing.names_of(entries), strict=True)
    )
    give([Table("config", say("config.title"), columns, rows, site.zone.key)], form, out)
    raise typer.Exit(1 if any(one.verdict in ("forged", "unknown_signer") for one in entries) else 0)


async def _log(site: Site, span: Span, signers: Path) -> list[sealing.Entry]:
    with progress(say("progress.reading")):
        async with database(site.store) as db:
            return await sealing.history(db, span, seals.public_keys(signers))
