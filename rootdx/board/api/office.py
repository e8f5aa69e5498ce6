"""Settings to look at, the journal of the board, and who may sign in."""

import asyncio
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, Field

from pipeline.plant import PLANT_FILE
from pipeline.secrecy import without_secrets
from rootdx.board import answers
from rootdx.board.access import Person, Role
from rootdx.board.answers import Format, TableOut
from rootdx.board.house import Db, Here, House, May, Who
from rootdx.board.people import People
from rootdx.board.places import Month
from rootdx.export import Table, column
from rootdx.invocation import ask
from rootdx.texts import say

router = APIRouter(tags=["settings"])
Name = Annotated[str, Field(min_length=1, max_length=60)]
Password = Annotated[str, Field(max_length=500)]


class NewAccount(BaseModel):
    """Who is to sign in."""

    name: Name
    role: Role
    password: Password


class Change(BaseModel):
    """What is to be another; left out stays."""

    role: Role | None = None
    password: Password | None = None
    disabled: bool | None = None


@router.get("/settings")
async def settings(house: Here, db: Db, person: Who) -> dict[str, Any]:
    """Plant and machine files as on disk, secrets hidden; detectors and shifts. Nothing can be changed here."""
    del person
    zone = house.site().zone.key
    plant = house.plant
    shifts = [[one.name, one.start.isoformat("minutes"), one.end.isoformat("minutes")] for one in plant.shift]
    columns = [column("shift"), column("start"), column("end")]
    detectors = await ask(db, _DETECTORS)
    heads = [column("machine"), column("detector"), column("kind"), column("version"), column("since", "time"),
             column("settings")]  # fmt: skip
    return {
        "plant": {"name": plant.name, "enterprise": plant.enterprise, "site": plant.site, "time_zone": plant.time_zone,
                  "contract_kw": plant.contract_kw},
        "machines": await asyncio.to_thread(_files, house),
        "detectors": answers.told(Table("detectors", say("board.settings.detectors"), heads, detectors, zone)),
        "shifts": answers.told(Table("shifts", say("board.settings.shifts"), columns, shifts, zone)),
    }  # fmt: skip


def _files(house: House) -> list[dict[str, str]]:
    found = []
    for file in sorted(house.settings.board.plant.rglob("*.toml")):
        text = file.read_text(encoding="utf-8", errors="replace")
        path = re.search(r'^path\s*=\s*"([^"]*)"', text, re.MULTILINE)
        name = (
            ""
            if file.name == PLANT_FILE or path is None
            else house.plant.enterprise + "/" + house.plant.site + "/" + path[1]
        )
        found.append({"file": file.name, "path": name, "toml": without_secrets(text)})
    return found


@router.get("/journal", response_model=TableOut)
async def journal(
    house: Here, db: Db, span: Month, person: Annotated[Person, Depends(May("journal"))],
    form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Who did what on the board, newest first; append-only."""
    del person
    return answers.one(await People(db).journal(span, house.site().zone.key), form)


@router.get("/accounts", response_model=TableOut)
async def accounts(
    house: Here, db: Db, person: Annotated[Person, Depends(May("accounts"))],
    form: Annotated[Format, Query(alias="format")] = None,
) -> Response:  # fmt: skip
    """Who may sign in."""
    del person
    return answers.one(await People(db).table(house.site().zone.key), form)


@router.post("/accounts", status_code=201)
async def add(given: NewAccount, db: Db, person: Annotated[Person, Depends(May("accounts"))]) -> dict[str, str]:
    """A new account."""
    people = People(db)
    await people.add(given.name, given.role, given.password)
    await people.note(person, "account_added", given.name, {"role": given.role})
    return {"name": given.name, "role": given.role}


@router.patch("/accounts/{name}")
async def change(
    name: Annotated[str, Path(max_length=60)], given: Change, db: Db,
    person: Annotated[Person, Depends(May("accounts"))],
) -> dict[str, str]:  # fmt: skip
    """Changes role, password or whether it may sign in; its sessions end."""
    people = People(db)
    await people.change(name, role=given.role, password=given.password, disabled=given.disabled)
    told = given.model_dump(exclude_none=True, exclude={"password"})
    await people.note(person, "account_changed", name, told | ({"password": "…"} if given.password else {}))
    return {"name": name}


_DETECTORS: Final = """
    SELECT a.path, d.name, d.kind, d.version, d.since, d.settings::text
    FROM rootdx.detector d JOIN rootdx.asset a USING (asset_id) ORDER BY a.path, d.name"""
