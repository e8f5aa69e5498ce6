"""Compliance records: list, make, read, verify."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from analytics.record_store import Subject
from rootdx import record_list, record_text
from rootdx.board import answers
from rootdx.board.access import Person
from rootdx.board.answers import Format, TableOut
from rootdx.board.house import Db, Here, May, Who
from rootdx.board.people import People

router = APIRouter(tags=["records"])
SubjectKind = Literal["lot", "part", "load", "rack", "melt", "cycle"]
Number = Annotated[int, Path(ge=1, le=2**62)]


class Making(BaseModel):
    """What a record is wanted of."""

    kind: SubjectKind
    name: Annotated[str, Field(min_length=1, max_length=120)]
    reason: Annotated[str, Field(max_length=500, description="Why it is made again.")] = ""
    profile: Annotated[str | None, Field(max_length=60, description="Where its cycles fit more than one.")] = None


class Made(BaseModel):
    """A record that was sealed."""

    number: int
    verdict: str
    version: int


class Held(BaseModel):
    """Whether a record, its rows and cycles are as they were sealed."""

    holds: bool
    faults: list[dict[str, Any]]
    seal: str


@router.get("/records", response_model=TableOut)
async def records(
    house: Here, db: Db, person: Who, kind: Annotated[SubjectKind | None, Query()] = None,
    item: Annotated[str | None, Query(max_length=120)] = None, form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Which records there are."""
    del person
    subject = Subject(kind, item) if kind and item else None
    return answers.one(await record_list.listed(db, subject, house.site().zone.key), form)


@router.post("/records")
async def make(given: Making, house: Here, db: Db, person: Annotated[Person, Depends(May("seal"))]) -> Made:
    """Makes and seals a record; the author is who is signed in."""
    how = record_list.Making(given.profile, None, person.name, given.reason)
    sealed = await record_list.made(house.site(), Subject(given.kind, given.name), how)
    await People(db).note(person, "record_made", str(sealed.number), {given.kind: given.name})
    return Made(number=sealed.number, verdict=sealed.verdict, version=sealed.version)


@router.get("/records/{number}")
async def record(
    number: Number, house: Here, person: Who,
    form: Annotated[Literal["html", "pdf", "json", "text"], Query(alias="format")] = "html",
) -> Response:  # fmt: skip
    """One record, as a page, on paper, as the sealed content itself, or as text."""
    del person
    sealed = await record_list.one(house.site(), number)
    if form == "json":
        return answers.download(sealed.content.encode(), f"record-{number}.json", "application/json")
    if form == "text":
        text = record_text.text_of(sealed).encode()
        return answers.download(text, f"record-{number}.txt", "text/plain; charset=utf-8", shown=True)
    page = record_text.text_of(sealed).encode()
    return answers.download(page, f"record-{number}.html", "text/plain; charset=utf-8", shown=True)


@router.get("/records/{number}/verify")
async def verify(number: Number, house: Here, person: Who) -> Held:
    """Looks whether a record, its raw rows and its cycles are as they were sealed."""
    del person
    _, faults, seal = await record_list.verified(house.site(), number, lambda *_, **__: None)
    told = [{"number": one.number, "what": one.what, "text": one.text} for one in faults]
    return Held(holds=not faults, faults=told, seal=seal)
