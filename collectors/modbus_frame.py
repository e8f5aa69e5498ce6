"""Modbus frames: a read request to bytes, and what comes back to an answer. Pure: no network, no clock.

* Only function codes 1 to 4 can be asked for; no frame made here writes.
* An answer is taken only when everything it says of itself is what was asked: transaction id (TCP) or checksum (RTU),
  unit, function code and length. Anything else is dropped, counted by cause, and never decoded.
* Fed with any bytes in any pieces it neither fails nor holds more than one frame and a half.

    TCP     transaction (2)  protocol 0 (2)  length (2)  unit (1)  function (1)  count (1)  data
    RTU                                                  unit (1)  function (1)  count (1)  data  CRC (2, low first)
    refused                                              unit (1)  function + 128 (1)  exception (1)
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final, Literal

Dropped = Literal["stale", "unit", "function", "length", "crc", "garbage", "echo"]
"""Why bytes from a device were not taken: the answer to an earlier request, of another unit, to another function, of
another length, with a wrong checksum; no frame at all; our own request heard back."""
DROPPED: Final[tuple[Dropped, ...]] = ("stale", "unit", "function", "length", "crc", "garbage", "echo")

_READS: Final = frozenset({1, 2, 3, 4})
_REFUSED: Final = 0x80
_LONGEST: Final = 260
"""Bytes of the longest frame of either kind."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One read request.

    Attributes:
        unit: of the device, 0 to 255.
        function: 1 to 4.
        start: first number, counted from 0.
        count: registers or bits.
        nbytes: length of the answer's data.
        pdu: function, start and count as they are sent.
        tail: what follows the transaction in a TCP frame that asks.
        fits: what follows the transaction in a TCP frame that answers as asked, up to the data.

    Raises:
        ValueError: the function is none that reads.
    """

    unit: int
    function: int
    start: int
    count: int
    nbytes: int = field(init=False, repr=False, compare=False)
    pdu: bytes = field(init=False, repr=False, compare=False)
    tail: bytes = field(init=False, repr=False, compare=False)
    fits: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:  # made once, asked for years
        if self.function not in _READS:
            raise ValueError(f"function {self.function} does not read")
        nbytes = (self.count + 7) // 8 if self.function <= 2 else self.count * 2
        pdu = bytes([self.function]) + self.start.to_bytes(2, "big") + self.count.to_bytes(2, "big")
        unit = bytes([self.unit])
        put = object.__setattr__
        put(self, "nbytes", nbytes)
        put(self, "pdu", pdu)
        put(self, "tail", b"\0\0" + (len(pdu) + 1).to_bytes(2, "big") + unit + pdu)
        put(self, "fits", b"\0\0" + (nbytes + 3).to_bytes(2, "big") + unit + bytes([self.function, nbytes & 0xFF]))


@dataclass(slots=True)
class Answer:
    """What a device said to a request: `data`, or the number of an `exception`, or something `wrong`."""

    data: bytes = b""
    exception: int = 0
    wrong: str = ""


class Framing(ABC):
    """One connection's way of putting requests into frames and of finding the answer in what comes back."""

    def __init__(self) -> None:
        self.dropped: dict[Dropped, int] = dict.fromkeys(DROPPED, 0)
        """How many frames, or runs of bytes that are none, were not taken."""
        self.drops = 0
        """The sum of them."""
        self._buffer = bytearray()
        self._asked: Ask | None = None

    @abstractmethod
    def request(self, ask: Ask) -> bytes:
        """The frame that asks; from now on `feed` looks for its answer."""

    @abstractmethod
    def feed(self, data: bytes) -> Answer | None:
        """Takes bytes as they came; the answer once it is there. Asks for nothing: None, and the bytes are dropped."""

    def settle(self) -> str:
        """No more is awaited: what is left is dropped. Says what was wrong with it, "" where nothing had come."""
        self._asked = None
        return self._flush() if self._buffer else ""

    @abstractmethod
    def _flush(self) -> str: ...

    def _drop(self, cause: Dropped, nbytes: int) -> str:
        self.dropped[cause] += 1
        self.drops += 1
        del self._buffer[:nbytes]
        return cause

    def _read(self, ask: Ask, pdu: bytes) -> Answer:
        """What a frame of the right unit and transaction says."""
        if len(pdu) == 2 and pdu[0] == ask.function | _REFUSED:
            return Answer(exception=pdu[1])
        if pdu[0] != ask.function:
            return Answer(wrong="function")
        if len(pdu) < 2 or pdu[1] != len(pdu) - 2 or pdu[1] != ask.nbytes:
            return Answer(wrong="length")
        return Answer(pdu[2:])


class TcpFraming(Framing):
    """Frames with a header that names transaction and length."""

    _HEAD: Final = 7

    def __init__(self) -> None:
        super().__init__()
        self.transaction = 0
        """Of the last request."""
        self._fits = b""

    def request(self, ask: Ask) -> bytes:
        """See `Framing`."""
        self.transaction = self.transaction % 0xFFFF + 1
        self._asked = ask
        number = self.transaction.to_bytes(2, "big")
        self._fits = number + ask.fits
        return number + ask.tail

    def asked(self, ask: Ask | None, number: int) -> None:
        """Somebody else has asked, last with this transaction; None: and was answered."""
        self.transaction, self._asked = number, ask
        self._fits = b"" if ask is None else number.to_bytes(2, "big") + ask.fits

    def feed(self, data: bytes) -> Answer | None:
        """See `Framing`."""
        ask = self._asked
        if ask is not None and not self._buffer and data.startswith(self._fits) and len(data) == 9 + ask.nbytes:
            self._asked = None  # as nearly all of them: whole, alone, and right in everything it says of itself
            return Answer(data[9:])
        self._buffer += data
        while len(self._buffer) > self._HEAD:
            length = int.from_bytes(self._buffer[4:6], "big")
            if self._buffer[2:4] != b"\0\0" or not 2 <= length <= _LONGEST - 6:
                self._drop("garbage", len(self._buffer))  # the next frame's start is lost with it
                return None
            if len(self._buffer) < 6 + length:
                return None
            frame = bytes(self._buffer[: 6 + length])
            answer = self._take(frame)
            if answer is not None:
                return answer
        return None

    def _take(self, frame: bytes) -> Answer | None:
        ask = self._asked
        if ask is None or int.from_bytes(frame[:2], "big") != self.transaction:
            self._drop("stale", len(frame))
            return None
        answer = Answer(wrong="unit") if frame[6] != ask.unit else self._read(ask, frame[7:])
        if answer.wrong:
            self._drop(answer.wrong, len(frame))  # type: ignore[arg-type]  # one of them, as written above
        else:
            del self._buffer[: len(frame)]
        self._asked = None
        return answer

    def _flush(self) -> str:
        return ""  # the rest of a frame is on its way; its transaction will tell


class RtuFraming(Framing):
    """Frames told apart by their checksum alone.

    An answer carries no transaction, so a late one of the same unit, function and length is not to be told from the
    right one: whoever asks must not let such a pair happen (`owes`).
    """

    _TAIL: Final = 5
    """Bytes of a frame beside its data."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = b""
        self._owed: dict[int, set[tuple[int, int]]] = {}
        self._spoken: set[int] = set()

    def request(self, ask: Ask) -> bytes:
        """See `Framing`."""
        if self._buffer:
            self._flush()
        self._asked = ask
        frame = bytes([ask.unit]) + ask.pdu
        self._sent = frame + checksum(frame)
        self._owed.setdefault(ask.unit, set()).add((ask.function, ask.nbytes))
        return self._sent

    def resync(self, ask: Ask) -> Ask | None:
        """What to ask first, because an earlier answer of the same shape may still come; None: nothing.

        Devices answer in order, so an answer of another shape proves that the earlier one will not come any more. Of a
        unit that has said nothing on this line yet, anything may still come from the time before.
        """
        shapes = self._owed.get(ask.unit, set())
        if ask.unit not in self._spoken:
            shapes = shapes | {(ask.function, ask.nbytes)}
        if (ask.function, ask.nbytes) not in shapes:
            return None
        step = 8 if ask.function <= 2 else 1
        for count in (ask.count - step, ask.count + step, *range(1, 64 * step, step)):
            if count <= 0:
                continue
            other = Ask(ask.unit, ask.function, min(ask.start, 0x10000 - count), count)
            if other.nbytes <= _LONGEST - 10 and (ask.function, other.nbytes) not in shapes:
                return other
        return None

    def feed(self, data: bytes) -> Answer | None:
        """See `Framing`."""
        self._buffer += data
        ask = self._asked
        if ask is None:
            self._drop("stale", len(self._buffer))
            return None
        if self._sent and self._buffer.startswith(self._sent):
            self._drop("echo", len(self._sent))
            self._sent = b""
        while True:
            at, size = self._find(ask)
            if not size:
                break
            if at:
                self._drop("garbage", at)
            answer = self._take(ask, bytes(self._buffer[: size - 2]), size)
            if answer is not None:
                return answer
        if self._head(ask) and len(self._buffer) >= self._TAIL + ask.nbytes:
            return self._wrong("crc")
        if len(self._buffer) > _LONGEST + _LONGEST // 2:
            self._drop("garbage", len(self._buffer))
        return None

    def _find(self, ask: Ask) -> tuple[int, int]:
        """Place and size of the first whole frame; size 0: there is none yet."""
        for at in range(len(self._buffer) - self._TAIL + 1):
            if at and self._buffer[at] != ask.unit:
                continue
            function = self._buffer[at + 1]
            size = self._TAIL if function & _REFUSED else self._TAIL + self._buffer[at + 2]
            known = function & ~_REFUSED in _READS
            end = at + size
            if known and end <= len(self._buffer):
                body = bytes(self._buffer[at : end - 2])
                if checksum(body) == bytes(self._buffer[end - 2 : end]):
                    return at, size
        return 0, 0

    def _take(self, ask: Ask, frame: bytes, size: int) -> Answer | None:
        """An answer that fits; another one is late, and the right one may still come."""
        answer = Answer(wrong="unit") if frame[0] != ask.unit else self._read(ask, frame[1:])
        if answer.wrong:
            self._drop(answer.wrong, size)  # type: ignore[arg-type]  # one of them, as written above
            return None
        del self._buffer[:size]
        self._asked = None
        self._owed.pop(ask.unit, None)
        self._spoken.add(ask.unit)
        return answer

    def _wrong(self, cause: Dropped) -> Answer:
        self._drop(cause, len(self._buffer))
        self._asked = None
        return Answer(wrong=cause)

    def _head(self, ask: Ask) -> bool:
        return self._buffer.startswith(bytes([ask.unit, ask.function, ask.nbytes & 0xFF]))

    def _flush(self) -> str:
        return self._drop("garbage", len(self._buffer))


def checksum(frame: bytes) -> bytes:
    """CRC-16 of Modbus, low byte first.

    >>> checksum(bytes.fromhex("010300000001")).hex()
    '840a'
    """
    crc = 0xFFFF
    for byte in frame:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc.to_bytes(2, "little")


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_TABLE: Final = tuple(_entry(byte) for byte in range(256))
