"""`rootdx tags`: the tags of a machine out into a spreadsheet, and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table as Shown

from pipeline.errors import BadData, ConfigError
from pipeline.plant import text_of
from rootdx import export, tag_change, tag_file
from rootdx.tag_change import Change
from rootdx.tag_table import Fault, columns, has_head, rows_of, table_of
from rootdx.texts import say

app = typer.Typer(no_args_is_help=True, help="Tags of a machine as a table for a spreadsheet: out, and back in.")
MOST_TOLD: Final = 50
"""Faults and changes that are shown one by one."""
_SUFFIXES: Final = (".xlsx", ".csv")
_COLOURS: Final = {"added": "green", "changed": "yellow", "removed": "red"}


@app.command("export", epilog="Example: rootdx tags export deploy/plant/dc1.toml --to dc1-tags.xlsx")
def export_tags(
    machine: Annotated[Path, typer.Argument(help="Machine file.")],
    to: Annotated[Path, typer.Option("--to", help="File to write: .xlsx or .csv.")],
) -> None:
    """Writes the tags of a machine file into a table, a row a tag."""
    suffix = _suffix(to)
    tags = tag_change.tags_in(machine)
    export.write(tag_file.write(columns(), rows_of(tags), suffix), to)
    typer.echo(say("tags.exported", count=len(tags), file=to), err=True)


@app.command("import", epilog="Example: rootdx tags import dc1-tags.xlsx --into deploy/plant/dc1.toml --dry-run")
def import_tags(
    table: Annotated[Path, typer.Argument(help="Table: .xlsx or .csv, as `rootdx tags export` writes it.")],
    into: Annotated[Path, typer.Option("--into", help="Machine file whose tags it replaces.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
) -> None:
    """Shows what a table changes, checks the machine file that comes of it, and replaces it; all or nothing."""
    before = text_of(into)
    said = table_of(_read(table))
    for heading in said.unknown:
        typer.echo(say("tags.unknown", heading=heading), err=True)
    if said.faults:
        beside = tag_change.faults_beside(before, into, said)
        raise ConfigError(_told(table, sorted([*said.faults, *beside], key=lambda fault: fault.row)))
    changes = tag_change.differences(tag_change.tags_in(into), said.tags)
    _show(changes)
    text = tag_change.changed(before, said.tags) if changes else before
    try:
        tag_change.checked(text, into, said)
    except ConfigError as error:
        raise ConfigError(f"{table}:\n{error}") from error
    if changes and not dry_run:
        tag_change.replace(into, before, text)
    typer.echo(_summary(changes, len(said.tags)))
    if changes:
        typer.echo(say("tags.not_yet" if dry_run else "tags.imported", file=into))


def _suffix(file: Path) -> str:
    if file.suffix.lower() not in _SUFFIXES:
        raise ConfigError(say("tags.suffix", file=file))
    return file.suffix.lower()


def _read(file: Path) -> tag_file.Grid:
    suffix = _suffix(file)
    try:
        return tag_file.read(file.read_bytes(), suffix, has_head)
    except OSError as error:
        raise ConfigError(say("tags.file.not_read", file=file, why=error.strerror or error)) from error
    except BadData as error:
        raise ConfigError(f"{file}: {error}") from error


def _told(file: Path, faults: Sequence[Fault]) -> str:
    lines = [say("tags.faults", file=file, count=len(faults)), *map(str, faults[:MOST_TOLD])]
    if len(faults) > MOST_TOLD:
        lines.append(say("tags.more", count=len(faults) - MOST_TOLD))
    return "\n".join(lines)


def _show(changes: Sequence[Change]) -> None:
    if not changes:
        return
    shown = Shown()
    for heading in ("change", "tag", "key", "before", "after"):
        shown.add_column(say(f"tags.heading.{heading}"), overflow="fold")
    for one in changes[:MOST_TOLD]:
        what = f"[{_COLOURS[one.kind]}]{say(f'tags.change.{one.kind}')}[/]"
        shown.add_row(what, one.tag, one.key, _value(one.before), _value(one.after))
    Console().print(shown)
    if len(changes) > MOST_TOLD:
        typer.echo(say("tags.more", count=len(changes) - MOST_TOLD))


def _value(value: Any) -> str:
    return "" if value is None else str(value).replace("[", "\\[")


def _summary(changes: Sequence[Change], count: int) -> str:
    added, changed, removed = (
        len({one.tag for one in changes if one.kind == kind}) for kind in ("added", "changed", "removed")
    )
    return say("tags.summary", added=added, changed=changed, removed=removed, same=count - added - changed)
