"""Compliance records: list, make, read, verify."""

from datetime import date
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from analytics.record_store import Subject
from pipeline.errors import BadData
from rootdx import record_list, record_text
from rootdx.board import answers
from rootdx.board.access import Person
from rootdx.board.answers import Format, TableOut
from rootdx.board.house import Db, Here, May, Who
from rootdx.board.people import People
from rootdx.board.places import maybe_path
from rootdx.paper import energy_report, shift_report
from rootdx.paper.record import record_html, record_pdf
from rootdx.paper.report import Form, rendered
from rootdx.texts import say

router = APIRouter(tags=["records"])
SubjectKind = Literal["lot", "part", "load", "rack", "melt", "cycle"]
FIRST: Final = date(2000, 1, 1)
LAST: Final = date(2100, 1, 1)
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
    number: Number, house: Here, db: Db, person: Who,
    form: Annotated[Literal["html", "pdf", "json", "text"], Query(alias="format")] = "html",
) -> Response:  # fmt: skip
    """One record, verified now: as a page, on paper, as the sealed content itself, or as text."""
    del person
    site = house.site()
    if form == "pdf":
        return answers.download(await record_pdf(db, site, number), f"record-{number}.pdf", answers.PAPERS["pdf"])
    if form == "html":
        page = (await record_html(db, site, number)).encode()
        return answers.download(page, f"record-{number}.html", answers.PAPERS["html"], shown=True)
    sealed = await record_list.one(site, number)
    if form == "json":
        return answers.download(sealed.content.encode(), f"record-{number}.json", "application/json")
    text = record_text.text_of(sealed).encode()
    return answers.download(text, f"record-{number}.txt", "text/plain; charset=utf-8", shown=True)


@router.get("/records/{number}/verify")
async def verify(number: Number, house: Here, person: Who) -> Held:
    """Looks whether a record, its raw rows and its cycles are as they were sealed."""
    del person
    _, faults, seal = await record_list.verified(house.site(), number, lambda *_, **__: None)
    told = [{"number": one.number, "what": one.what, "text": one.text} for one in faults]
    return Held(holds=not faults, faults=told, seal=seal)


@router.get("/reports/shift")
async def shift(
    house: Here, db: Db, person: Who,
    day: Annotated[
        date | None, Query(ge=FIRST, le=LAST, description="On which it begins; without it the last that ended.")
    ] = None,
    shift: Annotated[str | None, Query(max_length=60, description="Its name, as plant.toml has it.")] = None,
    machine: Annotated[str | None, Query(max_length=300)] = None,
    form: Annotated[Form, Query(alias="format")] = "pdf",
) -> Response:  # fmt: skip
    """The report of a shift."""
    del person
    site = house.site()
    if day is None and shift is None:
        chosen = shift_report.last_shift(site)
    else:
        at = site.clock.moment("now" if day is None else day.isoformat(), "day")
        chosen = shift_report.shift_at(site, at, shift)
    made = await shift_report.shift_report(db, site, chosen, await maybe_path(db, machine))
    return _paper(await rendered(made, form), made.name, form)


@router.get("/reports/energy")
async def energy(
    house: Here, db: Db, person: Who,
    month: Annotated[str | None, Query(pattern=r"^20\d{2}-\d{2}$", description="Default: the last whole one.")] = None,
    machine: Annotated[str | None, Query(max_length=300)] = None,
    form: Annotated[Form, Query(alias="format")] = "pdf",
) -> Response:  # fmt: skip
    """The report of a month of energy."""
    del person
    site = house.site()
    try:
        chosen = energy_report.month_of(month, site.clock.now.astimezone(site.zone).date())
    except ValueError as error:
        raise BadData(say("paper.energy.month", text=month)) from error
    made = await energy_report.energy_report(db, site, chosen, await maybe_path(db, machine))
    return _paper(await rendered(made, form), made.name, form)


def _paper(content: bytes, name: str, form: Form) -> Response:
    if form == "xlsx":
        return answers.download(content, f"{name}.xlsx", answers.WORKBOOK)
    return answers.download(content, f"{name}.{form}", answers.PAPERS[form], shown=form == "html")
