"""Readings back to back on a TCP line that one machine has for itself, in callbacks alone: no task is woken in between.

* An answer is taken here only where it is whole, alone, and right in everything it says of itself, as nearly all are.
  Anything else ends the run, and goes the ordinary way with the request that is open: nothing is judged here.
* It ends after a whole reading, too: when whoever takes them has had enough, or somebody else wants the line.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from collectors.modbus_frame import Ask, TcpFraming
from collectors.modbus_line import Line
from pipeline.errors import Unavailable

_HEAD: Final = 9


class Run:
    """One run; made by whoever reads, led by `Bus.run`.

    Args:
        asks: the requests of one reading, in order, at least one.
        take: gets the data of each whole reading; True: and wants the next.

    Attributes:
        data: what came of a reading that is not whole.
        answers: how many there were.
        over: it ended with a whole reading, and no request is open.
        slowest_s: the longest wait for an answer.
    """

    def __init__(self, asks: Sequence[Ask], take: Callable[[bytes], bool | None]) -> None:
        self.asks, self._deliver = asks, take
        self._tails = [ask.tail for ask in asks]
        self._fitting = [(ask.fits, _HEAD + ask.nbytes) for ask in asks]
        self.data: list[bytes] = []
        self.answers = 0
        self.over = False
        self.slowest_s = 0.0
        self._wants: Callable[[], bool] = bool

    @property
    def open(self) -> Ask:
        """The request that was sent last."""
        return self.asks[len(self.data)]

    @property
    def answered(self) -> frozenset[int]:
        """The units that gave an answer."""
        return frozenset(ask.unit for ask in self.asks[: self.answers])

    def start(self, line: Line, framing: TcpFraming, timeout_s: float, wants: Callable[[], bool]) -> None:
        """Sends the first request; `wants` says whether somebody else waits for the line.

        Raises:
            Unavailable: the line is lost.
        """
        self._line, self._framing, self._timeout_s, self._wants = line, framing, timeout_s, wants
        self._now = asyncio.get_running_loop().time
        self._number = framing.transaction
        self._sent_s = self._now()
        line.taker = self._take
        self._send()

    def leave(self, *, awaited: bool) -> None:
        """What comes from now on is the ordinary way's; `awaited`: the answer to the open request as well."""
        self._line.taker = None
        self._framing.asked(self.open if awaited and not self.over else None, self._number)

    def _send(self) -> None:
        self._number = self._number % 0xFFFF + 1
        number = self._number.to_bytes(2, "big")
        at = len(self.data)
        fits, self._size = self._fitting[at]
        self._fits = number + fits
        self._line.until_s = self._sent_s + self._timeout_s
        self._line.send(number + self._tails[at])

    def _take(self, data: bytes) -> bool:
        """Whether it was what is awaited."""
        if len(data) != self._size or not data.startswith(self._fits):
            return False
        now_s = self._now()
        took_s = now_s - self._sent_s
        if took_s > self.slowest_s:  # noqa: PLR1730  # a call to max costs as much as all the rest of this line
            self.slowest_s = took_s
        self._sent_s = now_s
        self.answers += 1
        self.data.append(data[_HEAD:])
        if len(self.data) == len(self._tails):
            whole = self.data[0] if len(self.data) == 1 else b"".join(self.data)
            self.data.clear()
            if not self._deliver(whole) or self._wants():
                self.over = True
                self._line.stop()
                return True
        with contextlib.suppress(Unavailable):  # the line tells whoever waits for it
            self._send()
        return True
