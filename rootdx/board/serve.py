"""The process of the board."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Final

import psycopg
import uvicorn

from pipeline import metrics, service
from pipeline.database import connect, translated
from pipeline.errors import ConfigError
from pipeline.migrate import check_schema
from pipeline.settings import BoardSettings, Settings, store_dsn
from rootdx.board.app import create_app
from rootdx.board.people import People
from rootdx.texts import say

log = logging.getLogger(__name__)

_BACKLOG: Final = 1024
CLOSING_S: Final = 2
"""Streams that are still open are cut after so long."""


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield


async def run(settings: Settings) -> None:
    """Serves until it is cancelled; waits for a database that is away.

    Raises:
        ConfigError: as `create_app`, the schema is not ours, nobody has an account, a certificate without its key, or
            the port is taken.
    """
    ours = settings.board
    if (ours.certificate is None) != (ours.key is None):
        raise ConfigError("[board] certificate and key go together: name both files, or neither")
    app = create_app(settings)

    async def attempt() -> None:
        await _check(settings)
        with _listening(ours) as listener:
            config = uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, proxy_headers=False, lifespan="on",
                timeout_graceful_shutdown=CLOSING_S, timeout_keep_alive=30, ssl_certfile=ours.certificate,
                ssl_keyfile=ours.key,
            )  # fmt: skip
            log.info("the board listens address=%s port=%d", *listener.getsockname()[:2])
            await _served(_Server(config), listener)

    with metrics.served("board", ours.metrics_port):
        await service.keep("board", attempt)


async def _check(settings: Settings) -> None:
    """Refuses a database that is not ready for people."""
    db = await connect(store_dsn(settings.store), settings.store.connect_timeout_s)
    try:
        with translated():
            await check_schema(db)
        if settings.board.sign_in and await People(db).is_empty():
            raise ConfigError(say("board.account.none"))
    finally:
        with contextlib.suppress(psycopg.Error):
            await db.close()


@contextlib.contextmanager
def _listening(ours: BoardSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in ours.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ours.host, ours.port))
            listener.listen(_BACKLOG)  # from here on nobody is turned away, though the first answer takes a moment
        except OSError as error:
            raise ConfigError(
                f"[board] {ours.host} port {ours.port}: {error.strerror}; choose another host or port"
            ) from error
        yield listener


async def _served(server: uvicorn.Server, listener: socket.socket) -> None:
    work = asyncio.create_task(server.serve([listener]), name="board")
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        server.should_exit = True
        await work
        raise
