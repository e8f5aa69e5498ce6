"""One Modbus line and everybody who reads on it: one connection, one request at a time, in turn.

* Machines that name the same place share the line; the last one to leave hangs up.
* Turns go round (`turns`): one request each. No machine waits longer than one request of each other.
* A unit that does not answer is left alone after three silences (`breaker.Breaker`). It is probed when nobody else has
  anything to do until the probe is over, and a probe waits no longer than this line's devices have ever needed.
* A bridge that says that it has heard nothing of a unit (exceptions 10 and 11) says that the unit is silent, and that
  the line is there. For as long as it took to say so nobody else was heard either: probes take account of it.
* Three silences in a row of the whole line mean that the line is gone: it is hung up, and opened again by the next.
* On lines without transaction ids an answer that may come late is made impossible to mistake: see `RtuFraming.resync`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from collectors.breaker import Breaker
from collectors.modbus_frame import Answer, Ask, Dropped, Framing, RtuFraming, TcpFraming
from collectors.modbus_line import Line, SerialLine, connect, open_port
from collectors.modbus_run import Run
from collectors.turns import Seat, Turns
from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable

log = logging.getLogger(__name__)

_HANG_UP_AFTER: Final = 3
_LEAST_PROBE_S: Final = 0.02
_ANSWERS_VARY: Final = 4.0
"""A probe waits this many times the slowest answer seen."""
_BRIDGES_VARY: Final = 1.2
_FORGETS: Final = 0.999
_LOOK_S: Final = 0.01
_SPOKE: Final = frozenset({"function", "length", "crc"})
"""What says that the device did answer, though not so that it can be used."""
_NO_TARGET: Final = frozenset({10, 11})
"""Exceptions of a bridge that did not get through to a unit, or heard nothing of it."""
_PATIENT_S: Final = 30.0
"""A probe that found no idle moment for so long takes its turn like everybody."""
_REQUEST_CHARS: Final = 13
"""Characters of a request and of an answer's frame."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line is, and how it is spoken on.

    Attributes:
        name: host:port or the serial port; what makes two machines share a line.
        transport: what is spoken there.
        host, port: of TCP.
        serial: of a serial port, None: TCP.
        gap_s: silence between frames.
    """

    name: str
    transport: str
    host: str = ""
    port: int = 0
    serial: SerialLine | None = None
    gap_s: float = 0.0

    def framing(self) -> Framing:
        """What finds answers in what comes."""
        return TcpFraming() if self.transport == "tcp" else RtuFraming()

    async def line(self, timeout_s: float) -> Line:
        """The line, opened.

        Raises:
            Unavailable: it cannot be.
        """
        if self.serial is not None:
            return open_port(self.name, self.serial)
        return await connect(self.host, self.port, timeout_s)

    def on_the_wire_s(self, nbytes: int) -> float:
        """What a request and its answer of `nbytes` take on the wire."""
        return 0.0 if self.serial is None else (_REQUEST_CHARS + nbytes) * self.serial.char_s + self.gap_s


class Silent(Unavailable):
    """A unit gave no answer; the line is still there."""


class Bus:
    """The line and its turns. Got by `seat_on`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._is_tcp, self._gap_s = place.transport == "tcp", place.gap_s
        self.seats: set[Seat] = set()
        self._turns = Turns()
        self._opening = asyncio.Lock()
        self._framing = place.framing()
        self._line: Line | None = None
        self._breakers: dict[int, Breaker] = {}
        self._silences = 0
        self._slowest_s = 0.0
        self._bridge_s = 0.0
        """What the bridge took at most to find that a unit is silent."""
        self._quiet_since_s = 0.0
        self._mute: set[int] = set()
        self._reached: set[int] = set()
        """Units that have answered since a bridge last said that it did not get through to them."""
        self._counted: dict[Dropped, int] = dict(self._framing.dropped)
        self._drops = 0
        self._now: Callable[[], float] = asyncio.get_running_loop().time

    async def ready(self, timeout_s: float) -> None:
        """Opens the line unless it is.

        Raises:
            Unavailable: it cannot be.
        """
        async with self._opening:
            if self._line is None or self._line.lost:
                self._line = None
                self._framing = self.place.framing()
                self._counted, self._drops = dict(self._framing.dropped), 0
                self._silences = 0
                self._line = await self.place.line(timeout_s)
                for breaker in self._breakers.values():
                    breaker.wake()

    def close(self) -> None:
        """Hangs up."""
        if self._line is not None:
            self._line.hang_up()
            self._line = None

    def is_silent(self, unit: int) -> bool:
        """Whether a unit is left alone because it does not answer."""
        return self._breaker(unit).open

    async def ask(self, seat: Seat, ask: Ask) -> Answer:
        """The answer to one request, in turn.

        Raises:
            Silent: the unit said nothing, or is left alone because it did so before.
            Unavailable: the line is gone.
        """
        if len(self.seats) > 1 or not self._turns.take_at_once():
            await self._turns.take(seat)
        try:
            self._refuse_silent(ask.unit)
            return await (self._once if self._is_tcp else self._exchange)(ask, seat.timeout_s)
        finally:
            self._turns.give_back()

    async def run(self, seat: Seat, run: Run) -> Answer | None:
        """Leads a run to its end, on a TCP line; the answer to the request that was open then, None: none was.

        Raises:
            Silent: the unit of that request said nothing.
            Unavailable: the line is gone.
        """
        if len(self.seats) > 1 or not self._turns.take_at_once():
            await self._turns.take(seat)
        try:
            self._refuse_silent(run.open.unit)
            return await self._led(run, seat.timeout_s)
        finally:
            self._turns.give_back()

    def may_run(self, units: frozenset[int]) -> bool:
        """Whether nobody else has anything to do here, and these units answer."""
        alone = self._is_tcp and not self._gap_s and len(self.seats) == 1
        return alone and not any(self._breaker(unit).open for unit in units)

    def _refuse_silent(self, unit: int) -> None:
        if self._breaker(unit).open:
            raise Silent(f"{self.place.name}: unit {unit} gives no answer and is left alone for a while")

    async def probe(self, seat: Seat, ask: Ask) -> bool:
        """Asks a unit that is left alone, if it is time, in a moment when nobody is due; whether it answered.

        Raises:
            Unavailable: the line is gone.
        """
        breaker, began_s = self._breaker(ask.unit), self._now()
        if breaker.rests_s(began_s):
            return False
        timeout_s = self._probe_s(seat.timeout_s)
        span_s = timeout_s + self.place.on_the_wire_s(ask.nbytes)
        while not self._idle_for(span_s) and self._now() < began_s + _PATIENT_S:  # noqa: ASYNC110  # time must pass
            await asyncio.sleep(_LOOK_S)
        await self._turns.take(seat)
        try:
            if breaker.rests_s(self._now()):  # another machine has probed it meanwhile
                return False
            await self._exchange(ask, timeout_s)
        except Silent:
            return False
        finally:
            self._turns.give_back()
        return True

    # ---- one request ----

    async def _exchange(self, ask: Ask, timeout_s: float) -> Answer:
        if isinstance(self._framing, RtuFraming):
            first = self._framing.resync(ask)
            if first is not None:
                answer = await self._once(first, timeout_s)
                if answer.wrong:
                    return answer
        return await self._once(ask, timeout_s)

    async def _once(self, ask: Ask, timeout_s: float) -> Answer:
        line = self._ready_line()
        if self._gap_s:
            await self._silence_between_frames()
        began_s = self._now()
        until_s = began_s + timeout_s
        if not self._is_tcp:
            until_s += self.place.on_the_wire_s(ask.nbytes)
        line.send(self._framing.request(ask))
        line.until_s = until_s
        answer = await self._heard_of(ask, line, None, timeout_s)
        self._slowest_s = max(self._slowest_s * _FORGETS, self._quiet_since_s - began_s)
        return answer

    async def _led(self, run: Run, timeout_s: float) -> Answer | None:
        line, framing = self._ready_line(), self._framing
        if not isinstance(framing, TcpFraming):
            raise TypeError(f"{self.place.name}: a run needs transactions")
        stopped, data = line.read(self._now() + timeout_s), None
        try:
            run.start(line, framing, timeout_s, self._turns.waiting)
            data = await stopped
        finally:
            run.leave(awaited=data is not None)
            self._quiet_since_s = self._now()
            if run.answers:
                self._slowest_s = max(self._slowest_s * _FORGETS**run.answers, run.slowest_s)
                self._reached |= run.answered
                for unit in run.answered:
                    self._heard(unit)
        if run.over:
            return None
        return await self._heard_of(run.open, line, data, timeout_s)

    def _ready_line(self) -> Line:
        """The line, nothing lying there any more.

        Raises:
            Unavailable: it is gone.
        """
        line = self._line
        if line is None or line.lost:
            raise Unavailable(f"{self.place.name} {line.lost if line else 'is closed'}")
        late = line.drain()
        if late:
            self._framing.feed(late)
        return line

    async def _heard_of(self, ask: Ask, line: Line, data: bytes | None, timeout_s: float) -> Answer:
        """The answer to a request that was sent; `data` has come already, None: nothing was waited for yet."""
        framing, answer, wrong = self._framing, None, ""
        until_s = line.until_s
        began_s = until_s - timeout_s
        try:
            if data is None:
                data = await line.read(until_s)
            while data:
                answer = framing.feed(data)
                if answer is not None or self._now() >= until_s:  # a line that babbles always has something
                    break
                data = await line.read(until_s)
        finally:
            framing.settle()
            self._quiet_since_s = self._now()
            if framing.drops != self._drops:
                wrong = self._count()
        if answer is None:
            answer = self._not_answered(ask.unit, line, wrong, timeout_s)
        if answer.exception in _NO_TARGET and self._is_out_of_reach(ask.unit, self._quiet_since_s - began_s):
            raise Silent(f"{self.place.name}: unit {ask.unit} does not answer its bridge, exception {answer.exception}")
        self._heard(ask.unit)
        if answer.exception not in _NO_TARGET:
            self._reached.add(ask.unit)
        return answer

    async def _silence_between_frames(self) -> None:
        wait_s = self._quiet_since_s + self._gap_s - self._now()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _not_answered(self, unit: int, line: Line, wrong: str, timeout_s: float) -> Answer:
        """What the device said that cannot be used.

        Raises:
            Silent: nothing.
            Unavailable: the line is gone.
        """
        line.check()
        if wrong:
            return Answer(wrong=wrong)
        self._unanswered(unit, line)
        raise Silent(f"{self.place.name}: unit {unit} gives no answer within {timeout_s:g} s")

    def _is_out_of_reach(self, unit: int, took_s: float) -> bool:
        """Whether a bridge means the unit, and not one request: the unit has said nothing since it last did so."""
        self._bridge_s = max(self._bridge_s, took_s)
        if unit in self._reached:  # some devices call single registers so
            self._reached.discard(unit)
            return False
        self._silences = 0
        if self._breaker(unit).silent(self._now()):
            self._tell(unit, 1, "is left alone")
        return True

    def _unanswered(self, unit: int, line: Line) -> None:
        self._silences += 1
        self._mute.add(unit)
        if self._breaker(unit).silent(self._now()):
            self._tell(unit, 1, "is left alone")
        whole = self.place.serial is None and self._mute >= set(self._breakers)
        if whole and self._silences >= _HANG_UP_AFTER:
            line.hang_up()

    def _heard(self, unit: int) -> None:
        self._silences = 0
        if self._mute:
            if self._mute >= set(self._breakers):  # it was the line, not the units
                for breaker in self._breakers.values():
                    breaker.wake()
            self._mute.clear()
        if self._breaker(unit).answered():
            self._tell(unit, 0, "answers again")

    # ---- breakers and idle moments ----

    def _breaker(self, unit: int) -> Breaker:
        breaker = self._breakers.get(unit)
        if breaker is None:
            breaker = self._breakers[unit] = Breaker()
        return breaker

    def _probe_s(self, timeout_s: float) -> float:
        if not self._slowest_s:
            return timeout_s
        least_s = max(_LEAST_PROBE_S, _BRIDGES_VARY * self._bridge_s)
        return min(timeout_s, max(least_s, _ANSWERS_VARY * self._slowest_s))

    def _idle_for(self, span_s: float) -> bool:
        until_s = self._now() + span_s
        return not any(seat.busy or 0 < seat.due_s < until_s for seat in self.seats)

    def _tell(self, unit: int, is_open: int, text: str) -> None:
        log.info("unit=%d line=%s %s", unit, self.place.name, text)
        metrics.modbus_unit_silent.labels(self.place.name, str(unit)).set(is_open)

    def _count(self) -> str:
        """Counts what was dropped since; a cause that says the device did speak, "" where there is none."""
        spoke, self._drops = "", self._framing.drops
        for cause, count in self._framing.dropped.items():
            new = count - self._counted[cause]
            if new:
                metrics.modbus_dropped.labels(self.place.name, cause).inc(new)
                self._counted[cause] = count
                spoke = cause if cause in _SPOKE else spoke
        return spoke


_BUSES: Final[dict[tuple[int, str], Bus]] = {}
"""The lines in use, by event loop and place; an entry lives as long as somebody sits on it."""


@asynccontextmanager
async def seat_on(place: Place, timeout_s: float, number: int = 0) -> AsyncIterator[tuple[Bus, Seat]]:
    """A seat on the line at a place, the line being open; `number` is its place in the order of turns.

    Raises:
        Unavailable: it cannot be opened.
        ConfigError: another machine file says otherwise how this place is spoken to.
    """
    key = (id(asyncio.get_running_loop()), place.name)
    bus = _BUSES.get(key)
    if bus is None:
        bus = _BUSES[key] = Bus(place)
    if bus.place != place:
        raise ConfigError(
            f"{place.name}: another machine file names this line with another transport, baudrate, parity, stop_bits "
            "or gap_ms; say the same in both"
        )
    seat = Seat(timeout_s, number)
    bus.seats.add(seat)
    try:
        await bus.ready(timeout_s)
        yield bus, seat
    finally:
        bus.seats.discard(seat)
        if not bus.seats:
            del _BUSES[key]
            bus.close()
            await asyncio.sleep(0)  # a transport is closed one turn of the loop after it was aborted
