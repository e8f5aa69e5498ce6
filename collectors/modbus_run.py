"""Readings back to back on a TCP line that one machine has for itself, in callbacks alone: no task is woken in between.

* An answer is taken here only where it is whole, alone, and right in everything it says of itself, as nearly all are.
  Anything else ends the run, and goes the ordinary way with the request that is open: nothing is judged here.
* It ends after a whole reading, too: when whoever takes them has had enough, or somebody else wants the line.
"""

import asyncio
from collections.abc import Callable, Sequence, Sized
from typing import Final

from collectors.modbus_frame import Ask, TcpFraming
from collectors.modbus_line import Line

_HEAD: Final = 9


class Run:
    """One run; made by whoever reads, led by `Bus.run`.

    Args:
        asks: the requests of one reading, in order, at least one.
        take: gets the data of each whole reading; True: and wants the next.

    Attributes:
        data: what came of a reading that is not whole.
        readings: how many were whole.
        over: it ended with a whole reading, and no request is open.
        slowest_s: the longest wait for an answer.
    """

    def __init__(self, asks: Sequence[Ask], take: Callable[[bytes], bool | None]) -> None:
        self.asks, self._deliver = asks, take
        self._frames = [(ask.fits, _HEAD + ask.nbytes, ask.tail) for ask in asks]
        self._blocks = len(asks)
        self.data: list[bytes] = []
        self.readings = 0
        self.over = False
        self.slowest_s = 0.0

    @property
    def open(self) -> Ask:
        """The request that was sent last."""
        return self.asks[len(self.data)]

    @property
    def answers(self) -> int:
        """How many there were."""
        return self.readings * len(self.asks) + len(self.data)

    @property
    def answered(self) -> frozenset[int]:
        """The units that gave one."""
        return frozenset(ask.unit for ask in self.asks[: self.answers])

    def start(self, line: Line, framing: TcpFraming, timeout_s: float, waiting: Sized) -> None:
        """Sends the first request; `waiting` holds whoever else wants the line.

        Raises:
            Unavailable: the line is lost.
        """
        self._line, self._framing, self._timeout_s, self._waiting = line, framing, timeout_s, waiting
        self._now, self._write = asyncio.get_running_loop().time, line.write
        self._sent_s = self._now()
        line.taker, line.until_s = self._take, self._sent_s + timeout_s
        frame = framing.request(self.open)
        self._number = framing.transaction
        self._fits, self._size = frame[:2] + self.open.fits, _HEAD + self.open.nbytes
        line.send(frame)

    def leave(self, *, awaited: bool) -> None:
        """What comes from now on is the ordinary way's; `awaited`: the answer to the open request as well."""
        self._line.taker = None
        self._framing.asked(self.open if awaited and not self.over else None, self._number)

    def _take(self, data: bytes) -> bool:
        """Whether it was what is awaited. Written without calls of our own: it is run for every answer."""
        if len(data) != self._size or not data.startswith(self._fits):
            return False
        now_s = self._now()
        took_s = now_s - self._sent_s
        if took_s > self.slowest_s:  # noqa: PLR1730  # a call to max costs as much as all the rest of this line
            self.slowest_s = took_s
        self._sent_s = now_s
        self.data.append(data[_HEAD:])
        at = len(self.data)
        if at == self._blocks:
            whole = b"".join(self.data)
            self.data.clear()
            self.readings += 1
            at = 0
            if not self._deliver(whole) or self._waiting:
                self.over = True
                self._line.stop()
                return True
        self._number = number = self._number % 0xFFFF + 1
        transaction = number.to_bytes(2, "big")
        fits, self._size, tail = self._frames[at]
        self._fits = transaction + fits
        self._line.until_s = now_s + self._timeout_s
        try:
            self._write(transaction + tail)
        except (OSError, RuntimeError) as error:
            self._line.cannot_be_written(error)  # which tells whoever waits for it
        return True
