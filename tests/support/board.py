"""The board on a port of its own, served as the process serves it, in a thread of this one."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from psycopg.conninfo import make_conninfo

from pipeline.settings import AnalyticsSettings, BoardSettings, Settings, StoreSettings
from rootdx.board.access import Role
from rootdx.board.app import create_app
from rootdx.board.people import People
from rootdx.invocation import database
from tests.support.front_door import SECRET
from tests.support.services import run

PASSWORD = "correct horse battery"
PEOPLE: Mapping[str, Role] = {"oh": "operator", "eun": "engineer", "ahn": "auditor", "ko": "admin"}
BASE = "/api/v1"


@dataclass(frozen=True, slots=True)
class Board:
    """A board that serves.

    Attributes:
        url: without a slash at the end.
        settings: as it runs with.
    """

    url: str
    settings: Settings

    @contextlib.contextmanager
    def client(self, name: str | None = None, language: str = "en") -> Iterator[httpx.Client]:
        """A browser, signed in as somebody."""
        headers = {"X-Rootdx": "test", "Accept-Language": language}
        with httpx.Client(base_url=self.url + BASE, headers=headers, timeout=30) as made:
            if name is not None:
                made.post("/session", json={"name": name, "password": PASSWORD}).raise_for_status()
            yield made


def settings_for(dsn: str, plant: Path, **more: Any) -> Settings:
    """Of a board on a database, as its own role."""
    own = make_conninfo(dsn, user="rootdx_board", password=SECRET)
    board = BoardSettings(plant=plant, port=0, every_s=0.2, **more)
    return Settings(store=StoreSettings(dsn=own), analytics=AnalyticsSettings(plant=plant), board=board)


def add_people(settings: Settings) -> None:
    """One of each role, once."""

    async def work() -> None:
        async with database(settings.store) as db:
            people = People(db)
            if await people.is_empty():
                for name, role in PEOPLE.items():
                    await people.add(name, role, PASSWORD)

    run(work())


@contextlib.contextmanager
def served(settings: Settings, port: int = 0) -> Iterator[Board]:
    """A board that serves until the block ends."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(create_app(settings), log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    work = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), name="board")
    work.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        for _ in range(400):
            if server.started:
                break
            threading.Event().wait(0.025)
        yield Board(url, settings)
    finally:
        server.should_exit = True
        work.join(20)
        listener.close()
        assert not work.is_alive(), "the board does not stop"
