"""What an OPC UA server remembers of the time in which nobody listened; see opcua.md.

* A hole lies between the newest stored source time of a tag and the first that was heard again. Both ends are stored
  already, so of a number only what lies strictly between them is taken: no row comes twice.
* Holes are remembered with the rows that made them, and shrink with the rows that fill them; a crash between costs a
  request, never a row.
* One request at a time, a page each, and only while the buffer has room.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from collectors.opcua_values import Hole, time_of

log = logging.getLogger(__name__)

PAGE: Final = 1_000
"""Values a request asks for."""
_READABLE: Final = 1 << 2
"""Bit HistoryRead of an access level."""
_AT_ONCE: Final = 100
"""Small servers take no more in one request."""
_TRIES: Final = 3
"""Of a request that is not answered; then the next session tries."""
_AGAIN_S: Final = 1.0
_MARGIN_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PASSING: Final = frozenset(
    {
        StatusCodes.BadTimeout,
        StatusCodes.BadTooManyOperations,
        StatusCodes.BadNoContinuationPoints,
        StatusCodes.BadContinuationPointInvalid,
        StatusCodes.BadResourceUnavailable,
        StatusCodes.BadOutOfMemory,
        StatusCodes.BadSessionIdInvalid,
        StatusCodes.BadSessionClosed,
        StatusCodes.BadSecureChannelIdInvalid,
        StatusCodes.BadSecureChannelClosed,
        StatusCodes.BadConnectionClosed,
        StatusCodes.BadCommunicationError,
        StatusCodes.BadShutdown,
        StatusCodes.BadServerHalted,
    }
)
"""Refusals that say nothing about the history."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a hole.

    Attributes:
        hole: as it was before.
        begin_ns: where it began altogether.
        values: later than its beginning, up to and including its end; the oldest first.
        known_ns: later than the first of these, up to the second, nothing is missing now.
        rest: what remains; None: nothing, or nothing that can be had.
        refused: why nothing can be had.
    """

    hole: Hole
    begin_ns: int
    values: tuple[tuple[int, ua.DataValue], ...] = ()
    known_ns: tuple[int, int] = (0, 0)
    rest: Hole | None = None
    refused: str = ""


class History:
    """Fills the holes of one machine, one after the other.

    Args:
        url: of the server, for people.
        session: of the client.
        ids: node ids by tag.
        longest_s: of a longer hole only the newest part is asked for.
        clock: wall clock.
    """

    def __init__(
        self, url: str, session: Any, ids: Sequence[ua.NodeId], longest_s: float, clock: Callable[[], int]
    ) -> None:
        self._url, self._session, self._ids, self._clock = url, session, ids, clock
        self._longest_ns = round(longest_s * 1e9)
        self._waiting: deque[Hole] = deque()
        self._some = asyncio.Event()
        self._able: set[int] = set()
        self._tried: Counter[int] = Counter()

    async def learn(self, tags: Sequence[int]) -> None:
        """Finds out which of the tags have a history that may be read."""
        for start in range(0, len(tags), _AT_ONCE):
            some = tags[start : start + _AT_ONCE]
            asked = [ua.ReadValueId(NodeId=self._ids[tag], AttributeId=AttributeIds.UserAccessLevel) for tag in some]
            said = await self._session.read(ua.ReadParameters(NodesToRead=asked))
            levels = [one.Value.Value if one.Value else None for one in said]
            able = [isinstance(level, int) and bool(level & _READABLE) for level in levels]
            self._able.update(tag for tag, is_able in zip(some, able, strict=True) if is_able)

    def has(self, tag: int) -> bool:
        """Whether it can be asked for."""
        return tag in self._able

    def ask(self, holes: Sequence[Hole]) -> None:
        """These too, when the ones before are filled."""
        self._waiting.extend(holes)
        if self._waiting:
            self._some.set()

    async def pages(self) -> AsyncIterator[Page]:
        """What fills the holes, for ever. A hole whose request is not answered is left to the next session."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                hole = self._waiting.popleft()
                begin_ns = hole.from_ns
                try:
                    async for page in self._pages_of(hole, begin_ns):
                        hole = page.rest or hole
                        yield page
                except (OSError, TimeoutError, UaError) as error:
                    if isinstance(error, UaStatusCodeError) and error.code not in _PASSING:
                        log.warning("no history url=%s node=%s error=%s", self._url, self._ids[hole.tag], error)
                        yield Page(hole, begin_ns, refused=type(error).__name__)
                    else:
                        await self._later(hole, error)

    async def _later(self, hole: Hole, error: Exception) -> None:
        self._tried[hole.tag] += 1
        log.info("history not read url=%s error=%s", self._url, error or type(error).__name__)
        if self._tried[hole.tag] < _TRIES:
            await asyncio.sleep(_AGAIN_S)
            self._waiting.append(hole)

    async def _pages_of(self, hole: Hole, begin_ns: int) -> AsyncIterator[Page]:
        node = self._ids[hole.tag]
        start_ns = max(hole.from_ns, hole.until_ns - self._longest_ns)
        details = ua.ReadRawModifiedDetails(
            IsReadModified=False,
            StartTime=_moment(start_ns),
            EndTime=_moment(hole.until_ns + _MARGIN_NS),
            NumValuesPerNode=ua.UInt32(PAGE),
            ReturnBounds=False,
        )
        point: bytes | None = None
        known: int | None = None
        while True:
            said, following = await self._read(details, node, point)
            stamped = [(time_of(one, self._clock())[0], one) for one in said]
            if known is None and stamped:  # whoever still has the last that is stored has all since
                known = max(hole.from_ns, stamped[0][0] - (stamped[0][0] > hole.from_ns))
            within = tuple((ts, one) for ts, one in stamped if hole.from_ns < ts <= hole.until_ns)
            # Servers may give the same point again and again; what ends it is a page without anything.
            is_last = not following or not stamped or stamped[-1][0] > hole.until_ns
            upto = hole.heard_ns if is_last else within[-1][0] if within else hole.from_ns
            rest = None if is_last else replace(hole, from_ns=upto)
            since_ns = max(upto if known is None else known, hole.since_ns)
            yield Page(hole, begin_ns, within, (since_ns, upto), rest)
            if rest is None:
                if following:
                    await self._read(details, node, following, release=True)
                return
            hole, point, known = rest, following, None if known is None else upto

    async def _read(
        self, details: ua.ReadRawModifiedDetails, node: ua.NodeId, point: bytes | None, *, release: bool = False
    ) -> tuple[list[ua.DataValue], bytes | None]:
        wanted: Any = ua.HistoryReadValueId(NodeId=node)
        wanted.ContinuationPoint = point
        how: Any = details
        params = ua.HistoryReadParameters(
            HistoryReadDetails=how,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ReleaseContinuationPoints=release,
            NodesToRead=[wanted],
        )
        results = await self._session.history_read(params)
        if release:
            return [], None
        (result,) = results
        result.StatusCode.check()
        values = list(getattr(result.HistoryData, "DataValues", None) or ())
        return values, result.ContinuationPoint or None


def _moment(ts_ns: int) -> Any:
    return _EPOCH + timedelta(microseconds=ts_ns // 1000)
