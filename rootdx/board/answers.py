"""Answers: tables as JSON or as a file, and errors as a sentence."""

import math
from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from pipeline.errors import BadData, ConfigError, RootdxError, Unavailable
from rootdx import export
from rootdx.board.access import Refused
from rootdx.export import Cell, Missing, Table
from rootdx.terminal import reason, word
from rootdx.texts import say

File = Literal["csv", "xlsx", "json", "parquet"]
Format = Annotated[File | None, Query(description="Answers a file in place of JSON for pages.")]
Only = Annotated[str | None, Query(description="The name of the one table that a file is to hold.", max_length=40)]
_PAPER: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; object-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-downloads allow-popups"
)
PAPERS: Final = {"pdf": "application/pdf", "html": "text/html; charset=utf-8"}
WORKBOOK: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": WORKBOOK,
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}


class ColumnOut(BaseModel):
    """A column of a table."""

    name: str
    heading: str
    kind: str
    unit: str


class TableOut(BaseModel):
    """A table: a cell a column; a number that is missing for a reason is an object that says it."""

    name: str
    title: str
    columns: list[ColumnOut]
    rows: list[list[Any]]
    notes: list[str]
    time_zone: str


class TablesOut(BaseModel):
    """Several tables."""

    tables: list[TableOut]


class Fault(BaseModel):
    """What went wrong, and what to do."""

    error: str
    kind: str
    field: str = ""


def told(table: Table) -> dict[str, Any]:
    """A table as JSON for pages."""
    zone = ZoneInfo(table.time_zone)
    return {
        "name": table.name, "title": table.title, "notes": list(table.notes), "time_zone": table.time_zone,
        "columns": [
            {"name": one.name, "heading": one.heading, "kind": one.kind, "unit": one.unit} for one in table.columns
        ],
        "rows": [[_cell(cell, zone) for cell in row] for row in table.rows],
    }  # fmt: skip


def _cell(cell: Cell, zone: ZoneInfo) -> Any:
    if isinstance(cell, Missing):
        return {"missing": cell.reason, "text": reason(cell.reason)}
    if isinstance(cell, str):
        return word(cell)
    if isinstance(cell, datetime):
        return cell.astimezone(zone).isoformat(timespec="milliseconds")
    if isinstance(cell, date):
        return cell.isoformat()
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def one(table: Table, form: File | None) -> Response:
    """A table for pages, or as a file."""
    return JSONResponse(told(table)) if form is None else file([table], form, None)


def many(tables: Sequence[Table], form: File | None, only: str | None, **more: Any) -> Response:
    """Tables for pages, with what else there is to tell, or as a file."""
    if form is None:
        return JSONResponse({"tables": [told(table) for table in tables], **more})
    return file(tables, form, only)


def file(tables: Sequence[Table], form: File, only: str | None) -> Response:
    """Tables as a download.

    Raises:
        BadData: there is no table of that name, or the file cannot hold them.
    """
    chosen = [table for table in tables if only in (None, table.name)]
    if not chosen:
        raise BadData(say("export.no_such_table", name=only, names=", ".join(table.name for table in tables)))
    try:
        content = export.encoded(chosen, form)
    except ConfigError as error:
        raise BadData(str(error)) from error
    return download(content, f"{chosen[0].name}.{form}", _TYPES[form])


def download(content: bytes, name: str, kind: str, *, shown: bool = False) -> Response:
    """A file; `shown`: in the browser itself where it can, a page then with its own styles and pictures, no scripts."""
    how = "inline" if shown else "attachment"
    headers = {"Content-Disposition": f"{how}; filename*=UTF-8''{quote(name, safe='')}"}
    if shown:
        headers["Content-Security-Policy"] = _PAPER
    return Response(content, media_type=kind, headers=headers)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """What a person may not do."""
    assert isinstance(error, Refused)  # noqa: S101  # as it is registered
    headers = {"Retry-After": f"{math.ceil(error.wait_s)}"} if error.wait_s else {}
    return JSONResponse({"error": error.text, "kind": error.kind}, error.status, headers)


async def failed(_: Request, error: Exception) -> JSONResponse:
    """Errors of ours."""
    match error:
        case BadData():
            return JSONResponse({"error": str(error), "kind": "bad_data"}, 400)
        case Unavailable():
            return JSONResponse({"error": str(error), "kind": "unavailable"}, 503, {"Retry-After": "5"})
        case ConfigError():
            return JSONResponse({"error": str(error), "kind": "config"}, 400)
        case _:
            assert isinstance(error, RootdxError)  # noqa: S101  # as it is registered
            return JSONResponse({"error": str(error), "kind": "unavailable"}, 503)


async def invalid(_: Request, error: Exception) -> JSONResponse:
    """What was asked is not what the description says: names the field and what was expected."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  # as it is registered
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    text = say("board.error.invalid", field=place, message=str(first["msg"]).removeprefix("Value error, "))
    return JSONResponse({"error": text, "kind": "bad_data", "field": place}, 422)


RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": Fault, "description": "What was asked cannot be; says what to do."},
    401: {"model": Fault, "description": "Nobody is signed in."},
    403: {"model": Fault, "description": "The role may not."},
    422: {"model": Fault, "description": "A field is not as described; names it."},
    503: {"model": Fault, "description": "The database is away; try again."},
}
