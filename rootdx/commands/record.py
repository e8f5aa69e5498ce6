"""`rootdx record`: make, list, show and verify compliance records."""

import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from analytics.record_store import Fault, Subject
from pipeline.errors import ConfigError
from rootdx import export, record_list, record_text
from rootdx.export import Table
from rootdx.invocation import Format, Out, Site, database, give, run, site_of
from rootdx.paper import record as paper
from rootdx.program import Config
from rootdx.terminal import progress, word
from rootdx.texts import language, say, speaking

app = typer.Typer(no_args_is_help=True, help="Compliance records: make them, read them, see that nothing was changed.")

Lot = Annotated[str | None, typer.Option(help="Of this lot.")]
Part = Annotated[str | None, typer.Option(help="Of this part, with all that it came from.")]
Load = Annotated[str | None, typer.Option(help="Of this furnace load.")]
Rack = Annotated[str | None, typer.Option(help="Of this rack.")]
Melt = Annotated[str | None, typer.Option(help="Of this melt.")]
Form = Literal["text", "json", "html", "pdf"]
_SUFFIXES: Final[dict[str, Form]] = {".txt": "text", ".json": "json", ".html": "html", ".pdf": "pdf"}
CycleId = Annotated[str | None, typer.Option(metavar="ID", help="Of this one cycle.")]


@app.command("make", epilog="Example: rootdx record make --lot L-2611 --author lee")
def make(
    author: Annotated[str, typer.Option(help="Who makes it.")],
    config: Config = None,
    *,
    lot: Lot = None,
    part: Part = None,
    load: Load = None,
    rack: Rack = None,
    melt: Melt = None,
    cycle: CycleId = None,
    profile: Annotated[str | None, typer.Option(help="What it must show, where cycles fit more than one.")] = None,
    profiles: Annotated[Path | None, typer.Option(help="Profiles of the plant (TOML), in place of ours.")] = None,
    reason: Annotated[str, typer.Option(help="Why it is made again.")] = "",
) -> None:
    """Makes and seals the record of a lot, part, load, rack, melt or cycle; needs the role rootdx_analytics."""
    subject = _subject({"lot": lot, "part": part, "load": load, "rack": rack, "melt": melt, "cycle": cycle})
    if subject is None:
        raise ConfigError(say("record.which"))
    site = site_of(config)
    with progress(say("progress.making")):
        sealed = run(record_list.made(site, subject, record_list.Making(profile, profiles, author, reason)))
    typer.echo(say("record.made", number=sealed.number, verdict=word(sealed.verdict), version=sealed.version))


@app.command("list", epilog="Example: rootdx record list --lot L-2611")
def list_(
    config: Config = None,
    *,
    lot: Lot = None,
    part: Part = None,
    load: Load = None,
    rack: Rack = None,
    melt: Melt = None,
    cycle: CycleId = None,
    form: Format = None,
    out: Out = None,
) -> None:
    """Which records there are."""
    subject = _subject({"lot": lot, "part": part, "load": load, "rack": rack, "melt": melt, "cycle": cycle})
    site = site_of(config)
    give([run(_listed(site, subject))], form, out)


async def _listed(site: Site, subject: Subject | None) -> Table:
    async with database(site.store) as db:
        return await record_list.listed(db, subject, site.zone.key)


@app.command("show", epilog="Example: rootdx record show 12 --format pdf --out lot.pdf --lang en")
def show(
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the record.")],
    config: Config = None,
    *,
    form: Annotated[
        Literal["text", "json", "html", "pdf"] | None,
        typer.Option(
            "--format",
            help="Without it by the ending of --out, else text. json is the sealed content itself; html and pdf are "
            "the paper, verified as it is made.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; a pdf needs one.")] = None,
    lang: Annotated[
        Literal["ko", "en"] | None, typer.Option("--lang", help="Language; without it yours (ROOTDX_LANG).")
    ] = None,
) -> None:
    """A record: text and json from its stored content alone; html and pdf with charts, verified as they are made."""
    kind = _form_of(form, out)
    if kind == "pdf" and out is None:
        raise ConfigError(say("export.needs_file", form=kind))
    site = site_of(config)
    with speaking(lang or language()):
        content = run(_shown(site, number, kind))
    if out is None:
        sys.stdout.write(content.decode())
        return
    export.write(content, out)


def _form_of(form: Form | None, out: Path | None) -> Form:
    """What was asked for: by --format, else by the ending of --out, else text."""
    if form is not None or out is None:
        return form or "text"
    return _SUFFIXES.get(out.suffix.lower(), "text")


async def _shown(site: Site, number: int, form: Form) -> bytes:
    if form in ("text", "json"):
        sealed = await record_list.one(site, number)
        return (sealed.content if form == "json" else record_text.text_of(sealed)).encode()
    with progress(say("progress.writing")):
        async with database(site.store) as db:
            if form == "pdf":
                return await paper.record_pdf(db, site, number)
            return (await paper.record_html(db, site, number)).encode()


@app.command("verify", epilog="Example: rootdx record verify")
def verify(
    number: Annotated[int | None, typer.Argument(metavar="[N]", help="One record; without it all.")] = None,
    config: Config = None,
    *,
    form: Format = None,
    out: Out = None,
) -> None:
    """Says whether records, their raw rows and their cycles are as they were sealed; exit code 1 when not."""
    site = site_of(config)
    count, faults, seal = _verified(site, number)
    if faults or out is not None or form not in (None, "table"):
        give([record_list.fault_table(faults, site.zone.key)], form, out)
    if not faults:
        typer.echo(say("record.verified", count=count, seal=seal), err=out is None and form not in (None, "table"))
    raise typer.Exit(1 if faults else 0)


def _verified(site: Site, number: int | None) -> tuple[int, list[Fault], str]:
    with progress(say("progress.verifying")) as advance:
        return run(record_list.verified(site, number, advance))


def _subject(given: dict[str, str | None]) -> Subject | None:
    """The one that was named; None when none was."""
    named = [Subject(kind, name) for kind, name in given.items() if name is not None]
    if len(named) > 1:
        raise ConfigError(say("record.which"))
    return named[0] if named else None
