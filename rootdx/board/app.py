"""The board as an ASGI application: pages, REST API, live events.

* Everything comes from this address: no script, font or style of anybody else, and the browser is told so.
* A change needs the header `X-Rootdx`, which no foreign page can send, and a cookie that no foreign page may use.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from importlib import metadata, resources
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from psycopg_pool import AsyncConnectionPool
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.database import translated
from pipeline.errors import ConfigError, RootdxError
from pipeline.plant import PLANT_FILE, Plant, load
from pipeline.settings import Settings, store_dsn
from rootdx.board import answers
from rootdx.board.access import Refused
from rootdx.board.api import alarms, cycles, entries, figures, floor, live, machines, office, records, session
from rootdx.board.house import LANGUAGE, House, Pool
from rootdx.board.watching import Watching
from rootdx.texts import LANGUAGES, language, say, speaking

BASE: Final = "/api/v1"
CONNECTIONS: Final = 8
STATEMENT_S: Final = 20
_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]", "::1")
_POLICY: Final = (
    b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    b"frame-ancestors 'self'"
)
_HEADERS: Final = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)  # fmt: skip
_TLS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def create_app(settings: Settings) -> FastAPI:
    """The application; its connections are opened when it starts.

    Raises:
        ConfigError: the plant file is wrong, or from outside this machine nobody would have to sign in, or only over a
            line that anybody can read.
    """
    ours = settings.board
    if not ours.sign_in and not ours.is_local:
        raise ConfigError(
            f"[board] sign_in = false with host = {ours.host!r}: everybody in the network would be admin. "
            'Let people sign in, or listen on this machine alone: host = "127.0.0.1"'
        )
    if ours.certificate is None and not ours.is_local and not ours.plain_http:
        raise ConfigError(
            f"[board] host = {ours.host!r} without certificate: passwords would cross the network readable. Give "
            "certificate and key (`rootdx certs server board` makes them), or listen on this machine alone: "
            'host = "127.0.0.1"; plain_http = true only behind a proxy that has a certificate'
        )
    plant = load(ours.plant / PLANT_FILE, Plant)
    analytics = settings.analytics.model_copy(update={"plant": ours.plant})
    settings = settings.model_copy(update={"analytics": analytics})
    pool: Pool = AsyncConnectionPool(
        store_dsn(settings.store), min_size=1, max_size=CONNECTIONS, open=False, name="board", configure=_configured,
        kwargs={"autocommit": True, "connect_timeout": settings.store.connect_timeout_s, "application_name": "rootdx"},
        reconnect_timeout=5.0, check=AsyncConnectionPool.check_connection,
    )  # fmt: skip
    house = House(settings, plant, pool, Watching(_later(pool), ZoneInfo(plant.time_zone), ours.every_s))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await pool.open(wait=False)
        look = asyncio.create_task(house.watching.run(), name="watching")
        try:
            yield
        finally:
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)
            await pool.close()

    app = FastAPI(
        title="rootdx", version=metadata.version("rootdx"), lifespan=lifespan, description=__doc__ or "",
        openapi_url=f"{BASE}/openapi.json", docs_url=None, redoc_url=None, separate_input_output_schemas=False,
    )  # fmt: skip
    app.state.house = house
    for module in (session, live, machines, alarms, cycles, records, entries, figures, floor, office):
        app.include_router(module.router, prefix=BASE, responses=answers.RESPONSES)
    app.add_exception_handler(Refused, answers.refused)
    app.add_exception_handler(RootdxError, answers.failed)
    app.add_exception_handler(RequestValidationError, answers.invalid)
    _pages(app)
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    app.add_middleware(_Manners, headers=_HEADERS if ours.certificate is None else (*_HEADERS, _TLS_ONLY))
    names = [*_LOCAL, *ours.names] if ours.names or not ours.sign_in else ["*"]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=names)
    return app


def _later(pool: Pool) -> Callable[[], contextlib.AbstractAsyncContextManager[Any]]:
    """The pool's connections, their errors as ours."""

    @contextlib.asynccontextmanager
    async def connection() -> AsyncIterator[Any]:
        with translated():
            async with pool.connection(timeout=5.0) as db:
                yield db

    return connection


async def _configured(db: psycopg.AsyncConnection[Any]) -> None:
    await db.execute(f"SET statement_timeout = '{STATEMENT_S}s'".encode())


def _pages(app: FastAPI) -> None:
    folder = resources.files("rootdx.board").joinpath("static")

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return FileResponse(str(folder.joinpath("index.html")), headers={"Cache-Control": "no-cache"})

    @app.get("/api", include_in_schema=False)
    async def description() -> Response:
        return FileResponse(str(folder.joinpath("api.html")), headers={"Cache-Control": "no-cache"})

    app.mount("/static", StaticFiles(directory=str(folder)), name="static")


class _Manners:
    """The language of who asks, headers on every answer, and no changes on behalf of foreign pages."""

    def __init__(self, app: ASGIApp, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        is_static = request.url.path.startswith("/static/")

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                cache = b"no-cache" if is_static else b"no-store"
                has = {name for name, _ in message["headers"]}
                own = [one for one in (*self._headers, (b"cache-control", cache)) if one[0] not in has]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        with speaking(_language(request)):
            if request.method not in _READS and "x-rootdx" not in request.headers:
                answer: Callable[[Scope, Receive, Send], Awaitable[None]] = JSONResponse(
                    {"error": say("board.error.foreign"), "kind": "forbidden"}, 403
                )
                await answer(scope, receive, with_headers)
            else:
                await self._app(scope, receive, with_headers)


def _language(request: Request) -> str:
    """As asked for, as chosen before, as the browser says, as the board's machine speaks."""
    accepted = [part.split(";")[0].strip()[:2] for part in request.headers.get("accept-language", "").split(",")]
    wished = [request.query_params.get("lang"), request.cookies.get(LANGUAGE), *accepted]
    return next((one for one in wished if one in LANGUAGES), language())
