"""What the commands share: settings, connection, the machines that people name, and how results are given out."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo

import psycopg
import typer

from pipeline import service
from pipeline.database import connect, translated
from pipeline.errors import BadData, ConfigError
from pipeline.migrate import Connection, check_schema
from pipeline.plant import PLANT_FILE, Plant, load
from pipeline.settings import Settings, StoreSettings, store_dsn
from rootdx import export, terminal
from rootdx.export import Form, Table
from rootdx.moments import Clock
from rootdx.program import Config, settings_of
from rootdx.texts import say

T = TypeVar("T")

Format = Annotated[
    Literal["table", "csv", "xlsx", "json", "parquet"] | None,
    typer.Option("--format", help="How to give it out; without it by the ending of --out, else a table."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="File to write: .csv, .xlsx, .json or .parquet.")]
From = Annotated[
    str,
    typer.Option(
        "--from", help="Begin: ISO, in plant time unless it has a zone; a day; today, yesterday; 7d or 12h ago."
    ),
]
To = Annotated[str, typer.Option("--to", help="End, not included; written like --from.")]
Columns = Annotated[list[str] | None, typer.Option(help="Column of the file; may be given several times.")]
MachineName = Annotated[str | None, typer.Option("--machine", "-m", help="Machine: its path or the end of it, as dc1.")]

ASSETS: Final = "SELECT path FROM rootdx.asset WHERE process <> '' ORDER BY path"


@dataclass(frozen=True, slots=True)
class Site:
    """The settings of a command, the plant they name, and its clock."""

    settings: Settings
    plant: Plant
    clock: Clock

    @property
    def zone(self) -> ZoneInfo:
        """Of the plant."""
        return self.clock.zone

    @property
    def store(self) -> StoreSettings:
        """The database."""
        return self.settings.store


def site_of(config: Config, *, anywhere: bool = False) -> Site:
    """Settings and plant file; the machine files are not looked at. `anywhere`: a plant file need not be there.

    Raises:
        ConfigError: as `settings_of`, or there is no plant file.
    """
    settings = settings_of(config)
    service.configure_logging("WARNING")
    file = settings.analytics.plant / PLANT_FILE
    plant = Plant(enterprise="none", site="none") if anywhere and not file.exists() else load(file, Plant)
    return Site(settings, plant, Clock(datetime.now(UTC), ZoneInfo(plant.time_zone)))


@contextlib.asynccontextmanager
async def database(store: StoreSettings) -> AsyncIterator[Connection]:
    """A connection to a database of this program's schema.

    Raises:
        Unavailable: no database there.
        ConfigError: wrong password, not migrated.
    """
    db = await connect(store_dsn(store), store.connect_timeout_s)
    try:
        with translated():
            await check_schema(db)
        yield db
    finally:
        with contextlib.suppress(psycopg.Error):
            await db.close()


async def ask(db: Connection, query: str, args: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a query.

    Raises:
        Unavailable, ConfigError, BadData: what the server says.
    """
    with translated():
        cursor = await db.execute(query.encode(), args)
        return await cursor.fetchall() if cursor.description else []


async def machine_paths(db: Connection, names: Sequence[str]) -> list[str]:
    """Full paths of machines that were named by their path or the end of it.

    Raises:
        BadData: nobody or more than one has that name; says who there is.
    """
    known = [path for (path,) in await ask(db, ASSETS)]
    return [one_of(known, name) for name in names]


def one_of(known: Sequence[str], name: str) -> str:
    """The one path that is or ends in a name.

    Raises:
        BadData: as `machine_paths`.
    """
    fitting = [path for path in known if path == name] or [path for path in known if path.endswith(f"/{name}")]
    if len(fitting) == 1:
        return fitting[0]
    shown = ", ".join(fitting or known) or "–"
    raise BadData(say("machines.several" if fitting else "machines.unknown", name=name, known=shown))


def run(work: Coroutine[Any, Any, T]) -> T:
    """A command's work, on a loop of its own."""
    return asyncio.run(work)


def give(tables: Sequence[Table], form: Form | None, out: Path | None, only: str | None = None) -> None:
    """Tables on the screen, on standard output or in a file.

    Args:
        tables: what was found.
        form: as --format says.
        out: as --out says.
        only: the name of the one that is wanted.

    Raises:
        ConfigError: form, file and tables do not go together; says what does.
    """
    chosen = [one for one in tables if only in (None, one.name)]
    if not chosen:
        raise ConfigError(say("export.no_such_table", name=only, names=", ".join(one.name for one in tables)))
    kind = export.form_of(form, out)
    if kind == "table" and out is None:
        terminal.print_tables(chosen)
        return
    if kind == "table":
        raise ConfigError(say("export.table_in_file"))
    with terminal.progress(say("progress.writing")):
        content = export.encoded(chosen, kind)
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    export.write(content, out)
    rows = sum(len(one.rows) for one in chosen)
    typer.echo(say("export.written", rows=rows, file=out), err=True)
