"""What every endpoint works with: settings and plant, connections, the person, and what all browsers watch together."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import psycopg
from fastapi import Depends, Request
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from pipeline.errors import Unavailable
from pipeline.migrate import Connection
from pipeline.plant import Plant
from pipeline.settings import Settings
from rootdx.board.access import Permission, Person, Refused
from rootdx.board.people import People, Tries
from rootdx.board.watching import Watching
from rootdx.invocation import Site
from rootdx.moments import Clock
from rootdx.texts import say

COOKIE = "rootdx_session"
LANGUAGE = "rootdx_lang"
WAIT_S = 5.0
"""Longest wait for a connection."""

Pool = AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]]


@dataclass(slots=True)
class House:
    """One board.

    Attributes:
        settings: all of the file.
        plant: as plant.toml says.
        pool: connections of the role rootdx_board.
        watching: what all who watch are told.
        tries: of signing in.
        probing: whether a machine is being asked now.
    """

    settings: Settings
    plant: Plant
    pool: Pool
    watching: Watching
    tries: Tries = field(default_factory=Tries)
    probing: bool = False

    def site(self) -> Site:
        """For what the commands share with the board; its clock says now."""
        return Site(self.settings, self.plant, Clock(datetime.now(UTC), ZoneInfo(self.plant.time_zone)))

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, given back afterwards.

        Raises:
            Unavailable: no database, or none free within WAIT_S.
        """
        try:
            async with self.pool.connection(timeout=WAIT_S) as db:
                yield db
        except PoolTimeout as error:
            raise Unavailable(say("board.error.no_database")) from error


def house_of(request: Request) -> House:
    """The board that answers."""
    found: House = request.app.state.house
    return found


async def _connected(request: Request) -> AsyncIterator[Connection]:
    async with house_of(request).connection() as db:
        yield db


Here = Annotated[House, Depends(house_of)]
Db = Annotated[Connection, Depends(_connected)]


def address_of(request: Request) -> str:
    """Of the browser."""
    return request.client.host if request.client else ""


def token_of(request: Request) -> str | None:
    """Of the session: the browser's cookie, or a program's bearer token."""
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else request.cookies.get(COOKIE)


async def person_of(request: Request, house: Here) -> Person:
    """Who asks; keeps no connection, as a stream of events lasts for hours.

    Raises:
        Refused: nobody is signed in.
    """
    ours = house.settings.board
    if not ours.sign_in:
        return Person(say("board.sign_in.anybody"), "admin", address_of(request))
    token = token_of(request)
    found = None
    if token is not None:
        async with house.connection() as db:
            found = await People(db).known(token, address_of(request), ours.session_h, ours.idle_h)
    if found is None:
        raise Refused(401, "unauthenticated", say("board.sign_in.needed"))
    return found


Who = Annotated[Person, Depends(person_of)]


class May:
    """A dependency: the person who asks, if they may.

    Raises:
        Refused: nobody is signed in, or they may not.
    """

    def __init__(self, wanted: Permission) -> None:
        self._wanted: Permission = wanted

    async def __call__(self, person: Who) -> Person:
        """The person."""
        if not person.may(self._wanted):
            raise Refused(403, "forbidden", say("board.error.forbidden", role=say(f"board.role.{person.role}")))
        return person
