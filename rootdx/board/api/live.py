"""The plant as it is now, once or as a stream of events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.sse import format_sse_event
from starlette.responses import StreamingResponse

from rootdx.board.house import Db, Here, Who
from rootdx.board.places import Machine, path_of
from rootdx.texts import language

router = APIRouter(tags=["live"])


@router.get("/overview")
async def overview(house: Here, db: Db, person: Who) -> dict[str, Any]:
    """A tile a machine: state, what runs and how far it is, OEE, alarms, health of its data."""
    del person
    found = await house.watching.look(db)
    return found.told(language(), house.site().zone)


@router.get("/live", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
async def live(
    house: Here, person: Who, machine: Annotated[Machine | None, Query(description="Also its values.")] = None
) -> StreamingResponse:
    """Server-sent events: `overview`, `alarms`, with a machine `values`, `trouble` when the store is away, `beat`."""
    del person
    path = ""
    if machine is not None:
        async with house.connection() as db:
            path = await path_of(db, machine)
    spoken = language()

    async def events() -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        async for name, text in house.watching.listen(spoken, path):
            yield format_sse_event(data_str=text, event=name)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
