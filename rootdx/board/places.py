"""Words that many endpoints take: a machine, a span of time."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, Query

from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx.board.house import Here
from rootdx.invocation import ask, one_of
from rootdx.moments import Span
from rootdx.texts import say

Machine = Annotated[str, Query(max_length=300, description="Path of a machine, or the end of it, as dc1.")]
Stamp = Annotated[int, Query(ge=0, le=4_102_444_800_000, description="Milliseconds since 1970.")]
LONGEST: Final = timedelta(days=800)


async def path_of(db: Connection, machine: str) -> str:
    """The full path of any machine, also one without cycles.

    Raises:
        BadData: nobody or more than one has that name.
    """
    return one_of([path for (path,) in await ask(db, "SELECT asset FROM rootdx.machines ORDER BY asset")], machine)


async def maybe_path(db: Connection, machine: str | None) -> str | None:
    """The same, for who may mean all."""
    return None if not machine else await path_of(db, machine)


class Since:
    """A dependency: the span of `from` and `to`, written as for the commands (`7d`, `today`, ISO)."""

    def __init__(self, usual: str) -> None:
        self._usual = usual

    def __call__(
        self,
        house: Here,
        first: Annotated[
            str | None, Query(alias="from", max_length=40, description="ISO, a day, today, yesterday, 7d or 12h ago.")
        ] = None,
        last: Annotated[str | None, Query(alias="to", max_length=40, description="End, not included.")] = None,
    ) -> Span:
        """The span.

        Raises:
            ConfigError: it cannot be read, or ends before it begins.
            BadData: it is longer than two years.
        """
        clock = house.site().clock
        try:
            found = clock.span(first or self._usual, last or "now")
            too_long = found.last - found.first > LONGEST
        except OverflowError as error:
            raise BadData(say("board.error.span", days=LONGEST.days)) from error
        if too_long:
            raise BadData(say("board.error.span", days=LONGEST.days))
        return found


Day = Annotated[Span, Depends(Since("today"))]
Week = Annotated[Span, Depends(Since("7d"))]
Month = Annotated[Span, Depends(Since("30d"))]


def moment(ms: int) -> datetime:
    """A time of milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)
