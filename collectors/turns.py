"""Who asks next on a line that takes one request at a time.

* Fair: every seat gets one turn a round, and who comes back from a pause joins the round that is on.
* Steady: in a round the order is that of the seats' numbers, so a machine is read at the same place of every tick.
* Cancelling is safe, before and after the turn is given.
"""

import asyncio
import heapq
import itertools
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Seat:
    """One machine at the line: what it is doing, so that a probe finds an idle moment.

    Attributes:
        timeout_s: longest wait for an answer.
        number: its place in a round.
        busy: it is scanning.
        due_s: when it will scan next, event loop time; 0: not known.
        round: the last one in which it had a turn.
    """

    timeout_s: float
    number: int = 0
    busy: bool = False
    due_s: float = 0.0
    round: int = 0


class Turns:
    """The turns of one line."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []
        """Whoever waits for a turn, as a heap."""
        self._given = False
        self._round = 0
        self._count = itertools.count()

    def take_at_once(self) -> bool:
        """Takes the line if it is free, for a seat that is alone: nobody else can be due, so why wait for them."""
        taken, self._given = not self._given, True
        return taken

    async def take(self, seat: Seat) -> None:
        """Waits until the line is this seat's; whoever got it calls `give_back`."""
        loop = asyncio.get_running_loop()
        seat.round = max(seat.round + 1, self._round)
        mine: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self.waiting, (seat.round, seat.number, next(self._count), mine))
        if not self._given:
            self._given = True
            loop.call_soon(self.give_back)  # not at once: others are due in the same moment
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # it was given in the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """The line is the next one's."""
        while self.waiting:
            number, _, _, waiter = heapq.heappop(self.waiting)
            if not waiter.done():
                self._round = number
                waiter.set_result(None)
                return
        self._given = False
