"""Who asks: sign in, sign out, and the texts of the pages."""

from importlib import metadata
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from pipeline import service
from pipeline.errors import Unavailable
from rootdx.board.access import MAY, Person
from rootdx.board.house import COOKIE, Db, Here, House, Who, address_of, token_of
from rootdx.board.people import People
from rootdx.texts import LANGUAGES, catalogue, language

router = APIRouter(tags=["session"])
GROUPS = (
    "board.", "column.", "verdict.", "alarm.state.", "alarm.event.", "quality.", "feature.", "failure.", "phase.",
    "kind.", "cause.", "process.", "word.", "reason.", "detector.", "loss.", "trade.", "probe.", "grafana.cause.",
)  # fmt: skip


class Given(BaseModel):
    """Who wants to sign in."""

    name: Annotated[str, Field(max_length=200)]
    password: Annotated[str, Field(max_length=500)]
    bearer: bool = False
    """For programs: the token in the answer, to be sent as `Authorization: Bearer`."""


class PlantOut(BaseModel):
    """The plant."""

    name: str
    enterprise: str
    site: str
    time_zone: str


class Me(BaseModel):
    """Who asks and what they may."""

    name: str
    role: str
    may: list[str]
    sign_in: bool
    language: str
    plant: PlantOut
    version: str
    token: str | None = None


def _me(house: House, person: Person, token: str | None = None) -> Me:
    plant = house.plant
    return Me(
        name=person.name, role=person.role, may=sorted(MAY[person.role]), sign_in=house.settings.board.sign_in,
        language=language(), version=metadata.version("rootdx"), token=token,
        plant=PlantOut(name=plant.name, enterprise=plant.enterprise, site=plant.site, time_zone=plant.time_zone),
    )  # fmt: skip


@router.get("/me")
async def me(house: Here, person: Who) -> Me:
    """Who asks."""
    return _me(house, person)


@router.post("/session", responses={429: {"description": "Too many wrong tries; says how long to wait."}})
async def sign_in(given: Given, request: Request, response: Response, house: Here, db: Db) -> Me:
    """Signs in: a cookie for browsers, a token for programs."""
    people = People(db)
    person, token = await people.signed_in(given.name, given.password, address_of(request), house.tries)
    ours = house.settings.board
    if not given.bearer:
        response.set_cookie(
            COOKIE, token, max_age=round(ours.session_h * 3600), httponly=True, samesite="strict",
            secure=ours.certificate is not None or request.url.scheme == "https",
        )  # fmt: skip
    return _me(house, person, token if given.bearer else None)


@router.delete("/session", status_code=204)
async def sign_out(request: Request, response: Response, db: Db) -> None:
    """Signs out; also when nobody was signed in."""
    token = token_of(request)
    if token is not None:
        await People(db).signed_out(token)
    response.delete_cookie(COOKIE)


@router.get("/texts")
async def texts(lang: Annotated[Literal["ko", "en"] | None, Query()] = None) -> dict[str, Any]:
    """Everything that the pages say."""
    wanted = lang or language()
    told = {key: entry[wanted] for key, entry in catalogue().items() if key.startswith(GROUPS)}
    return {"lang": wanted, "languages": list(LANGUAGES), "texts": told}


@router.get("/health", responses={503: {"description": "The database is away."}})
async def health(house: Here) -> JSONResponse:
    """Whether the board can work; needs no sign-in and tells nothing about the plant."""
    try:
        async with house.connection() as db:
            await db.execute("SELECT 1")
    except Unavailable:
        return JSONResponse({"database": False, "now_ms": service.wall_ns() // 1_000_000}, 503)
    return JSONResponse({"database": True, "now_ms": service.wall_ns() // 1_000_000})
