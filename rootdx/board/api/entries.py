"""What people enter: forms made from what can be entered, entries with the name of who is signed in."""

from collections.abc import Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from analytics.entries import KINDS, Entry
from pipeline.errors import BadData
from rootdx import entering
from rootdx.board import answers
from rootdx.board.access import Person
from rootdx.board.answers import Format, TableOut
from rootdx.board.house import Db, Here, May, Who
from rootdx.board.people import People
from rootdx.board.places import Month, maybe_path
from rootdx.entering import EXAMPLES, TIMES
from rootdx.export import Column, Table
from rootdx.invocation import ask
from rootdx.texts import catalogue, say

router = APIRouter(tags=["entries"])
EntryKind = Annotated[Literal["context", "stop", "quantity", "lab", "link", "reset", "check"], Path()]
FieldType = Literal["text", "number", "time", "day", "flag", "choice", "machine"]
_LEFT_OUT: Final = frozenset({"author", "origin", "result"})
_SUGGESTED: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("context", "kind"): ("lot", "part", "order", "recipe", "operator", "die", "load", "rack", "melt"),
    ("lab", "name"): ("ni", "nicl2", "h3bo3", "ph", "cn_potential", "hrc", "case_depth", "thickness", "si", "fe", "mg"),
    ("lab", "item_kind"): ("lot", "part", "load", "rack", "melt"),
    ("link", "item_kind"): ("part", "lot", "rack", "load"),
    ("link", "of_kind"): ("lot", "melt", "load", "rack"),
    ("check", "kind"): ("calibration", "sat", "tus", "self_assessment", "probe"),
}  # fmt: skip


class FieldOut(BaseModel):
    """A field of a form."""

    name: str
    label: str
    type: FieldType
    required: bool
    choices: list[dict[str, str]]
    suggestions: list[str]
    default: Any = None
    hint: str = ""


class KindOut(BaseModel):
    """What can be entered."""

    kind: str
    title: str
    fields: list[FieldOut]


class New(BaseModel):
    """How many were new; what is known already is not."""

    new: int


@router.get("/entries/kinds")
async def kinds(person: Who) -> list[KindOut]:
    """Every form, in the language of who asks."""
    del person
    return [KindOut(kind=kind, title=say(f"board.entry.{kind}"), fields=_fields(kind)) for kind in KINDS]


def _fields(kind: str) -> list[FieldOut]:
    model = KINDS[kind]
    return [_field(kind, name, model.model_fields[name]) for name in _names(model)]


@lru_cache(maxsize=16)
def _hints(model: type[Entry]) -> dict[str, Any]:
    return get_type_hints(model)


def _names(model: type[Entry]) -> list[str]:
    return [name for name in model.model_fields if name not in _LEFT_OUT]


def _field(kind: str, name: str, info: FieldInfo) -> FieldOut:
    hint = _hints(KINDS[kind])[name]
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    return FieldOut(
        name=name, label=say(f"board.field.{name}"), type=_type(name, hint), required=info.is_required(),
        choices=[{"value": one, "label": _choice(one)} for one in choices],
        suggestions=list(_SUGGESTED.get((kind, name), ())), default=None if info.is_required() else info.default,
        hint=EXAMPLES[kind].get(name, ""),
    )  # fmt: skip


def _choice(name: str) -> str:
    key = f"board.choice.{name}"
    return say(key) if key in catalogue() else name


def _type(name: str, hint: Any) -> FieldType:
    if name == "asset":
        return "machine"
    if name in TIMES:
        return "time"
    if get_origin(hint) is Literal:
        return "choice"
    kinds = {bool: "flag", date: "day", datetime: "time", int: "number", float: "number"}
    plain = next((one for one in (hint, *get_args(hint)) if one in kinds), str)
    found: FieldType = kinds.get(plain, "text")  # type: ignore[assignment]  # the values are those words
    return found


@router.post("/entries/{kind}")
async def enter(
    kind: EntryKind, given: dict[str, str | float | bool | None], house: Here, db: Db,
    person: Annotated[Person, Depends(May("enter"))],
) -> Any:  # fmt: skip
    """Enters one; a time without a zone is plant time. The author is who is signed in."""
    clock = house.site().clock
    wanted = {name: value for name, value in given.items() if value not in (None, "")}
    unknown = sorted(set(wanted) - set(_names(KINDS[kind])))
    if unknown:
        return _wrong(unknown[0], say("board.error.field", field=unknown[0]))
    for name in TIMES:
        if isinstance(wanted.get(name), str):
            wanted[name] = clock.moment(str(wanted[name]), say(f"board.field.{name}"))  # type: ignore[assignment]  # for pydantic
    try:
        entry = KINDS[kind].model_validate({**wanted, "author": person.name})
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        return _wrong(field, _said(first, field))
    try:
        new = await entering.entered(house.site(), [entry])
    except OverflowError as error:
        raise BadData(str(error)) from error
    await People(db).note(person, "entered", kind, entry.model_dump(mode="json", exclude={"author"}))
    return New(new=new)


def _said(fault: Any, field: str) -> str:
    label = say(f"board.field.{field}") if field else ""
    if fault["type"] == "missing":
        return say("board.error.missing", field=label)
    message = str(fault["msg"]).removeprefix("Value error, ")
    return say("board.error.invalid", field=label, message=message) if label else message


def _wrong(field: str, text: str) -> JSONResponse:
    return JSONResponse({"error": text, "kind": "bad_data", "field": field}, 422)


@router.get("/entries/{kind}", response_model=TableOut)
async def entries(
    kind: EntryKind, house: Here, db: Db, person: Who, span: Month,
    machine: Annotated[str | None, Query(max_length=300)] = None, form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """What was entered within a span, newest first."""
    del person
    model = KINDS[kind]
    names = _names(model)
    has_asset = "asset" in names
    shown = ["a.path" if name == "asset" else f"e.{name}" for name in names]
    query = (
        f"SELECT e.entered, e.author, {', '.join(shown)} FROM rootdx.{model.table} e "  # noqa: S608  # our own names
        f"{'LEFT JOIN rootdx.asset a USING (asset_id)' if has_asset else ''} "
        "WHERE e.entered >= %(first)s AND e.entered < %(last)s "
        f"{'AND (%(machine)s::text IS NULL OR a.path = %(machine)s)' if has_asset else ''} "
        "ORDER BY e.entered DESC LIMIT 1000"
    )
    given = {"first": span.first, "last": span.last, "machine": await maybe_path(db, machine)}
    columns = [
        Column("entered", say("board.field.entered"), "time"), Column("author", say("column.author")),
        *(Column(name, say(f"board.field.{name}"), _kind(name, _hints(model)[name])) for name in names),
    ]  # fmt: skip
    title = say(f"board.entry.{kind}")
    return answers.one(
        Table(f"entries_{kind}", title, columns, await ask(db, query, given), house.site().zone.key), form
    )


def _kind(name: str, hint: Any) -> Any:
    types = {"time": "time", "day": "day", "number": "number", "flag": "flag"}
    return types.get(_type(name, hint), "text")
