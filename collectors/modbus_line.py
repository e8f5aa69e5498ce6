"""The bytes between us and a Modbus line: a TCP connection or a serial port.

* What comes is kept until it is read, at most `_MOST` bytes: a line that babbles is cut.
* A line that is lost says so at once, to whoever reads, in words.
* One reader at a time, and one timer for all its waits: it is set anew only when it was due too late or has gone off.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import serial
from pydantic import Field

from pipeline.errors import Unavailable
from pipeline.plant import Frozen

_MOST: Final = 65_536

Parity = Literal["none", "even", "odd"]
Baudrate = Annotated[int, Field(ge=300, le=4_000_000)]
_PARITY: Final = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}
_FAST_BAUD: Final = 19_200
_FAST_GAP_S: Final = 0.00175


class SerialLine(Frozen):
    """How a serial line is spoken on."""

    baudrate: Baudrate = 9_600
    parity: Parity = "none"
    stop_bits: Literal[1, 2] = 1

    @property
    def char_s(self) -> float:
        """Seconds one character takes: start, 8 data, parity and stop bits."""
        return (9 + (self.parity != "none") + self.stop_bits) / self.baudrate

    @property
    def gap_s(self) -> float:
        """Silence between frames: 3.5 characters, above 19,200 baud 1.75 ms (Modbus over serial line 1.02, 2.5.1.1)."""
        return _FAST_GAP_S if self.baudrate > _FAST_BAUD else 3.5 * self.char_s


class Line(asyncio.Protocol):
    """An open line. Made by `connect` or `open_port`; whoever made it hangs up."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Future[bytes] | None = None
        self.taker: Callable[[bytes], bool] | None = None
        """Gets what comes before whoever reads; whether that was for it."""
        self.until_s = 0.0
        """When whoever reads gives up, event loop time."""
        self._patience: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._data = bytearray()
        self._lost = ""
        self.write: Callable[[bytes], None] = lambda _: None
        """As `send`, for who looks after its errors."""
        self._close: Callable[[], None] = lambda: None

    @property
    def lost(self) -> str:
        """Why it is no more, "" while it is."""
        return self._lost

    def send(self, data: bytes) -> None:
        """Puts bytes on their way, on a line that is not lost yet.

        Raises:
            Unavailable: now it is.
        """
        try:
            self.write(data)
        except (OSError, RuntimeError) as error:  # RuntimeError: uvloop knows that the device hung up
            self.cannot_be_written(error)
            self.check()

    def cannot_be_written(self, error: Exception) -> None:
        """It is no more."""
        self.lose(f"cannot be written to: {error}")

    def read(self, until_s: float) -> "asyncio.Future[bytes]":
        """What will have come; nothing where the line is lost, or when it is `until_s` in the event loop's time.

        Cancelling is safe.
        """
        self._reader = reader = self._loop.create_future()
        if self._data or self._lost:
            reader.set_result(self.drain())
            return reader
        self.until_s = until_s
        if self._patience is None or until_s < self._due_s:
            self._be_patient()
        return reader

    def _be_patient(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._due_s = self.until_s
        self._patience = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        self._patience = None
        if self._reader is None or self._reader.done():
            return
        if self._loop.time() < self.until_s:  # another wait than the one it was set for
            self._be_patient()
        else:
            self._wake(b"")

    def _wake(self, data: bytes) -> bool:
        """Whether somebody waited, and got the data."""
        if self._reader is None or self._reader.done():
            return False
        self._reader.set_result(data)
        return True

    def drain(self) -> bytes:
        """What has come, perhaps nothing."""
        if not self._data:
            return b""
        data = bytes(self._data)
        self._data.clear()
        return data

    def stop(self) -> None:
        """Whoever reads gets nothing, now."""
        self._wake(b"")

    def hang_up(self) -> None:
        """Closes it."""
        self.lose("was closed")

    def lose(self, why: str) -> None:
        """It is no more."""
        if not self._lost:
            self._lost = why
            if self._patience is not None:
                self._patience.cancel()
            self._wake(b"")
            self._close()

    def check(self) -> None:
        """Raises where it is no more.

        Raises:
            Unavailable: saying why.
        """
        if self._lost:
            raise Unavailable(f"{self._name} {self._lost}")

    # ---- what asyncio calls ----

    def connection_made(self, transport: Any) -> None:  # uvloop's is no asyncio.Transport
        """TCP: connected."""
        self.write, self._close = transport.write, transport.abort
        if self._lost:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        if self.taker is not None and self.taker(data):
            return
        if not self._data and self._wake(data):
            return
        self._data += data
        if len(self._data) > _MOST:
            self.lose("sends without being asked")

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP: the other side has gone."""
        self.lose(f"has closed the connection: {exc}" if exc else "has closed the connection")


async def connect(host: str, port: int, timeout_s: float) -> Line:
    """A TCP connection.

    Raises:
        Unavailable: there is none within `timeout_s`.
    """
    name = f"{host}:{port}"
    line = Line(name)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().create_connection(lambda: line, host, port)
    except (OSError, TimeoutError) as error:
        line.hang_up()
        raise Unavailable(f"{name} accepts no connection: {error or 'no answer'}") from error
    return line


def open_port(port: str, how: SerialLine) -> Line:
    """A serial port, ours alone while it is open.

    Raises:
        Unavailable: it is not there, or somebody else has it.
    """
    loop = asyncio.get_running_loop()
    stop_bits = serial.STOPBITS_TWO if how.stop_bits == 2 else serial.STOPBITS_ONE
    try:
        device = serial.Serial(
            port, how.baudrate, parity=_PARITY[how.parity], stopbits=stop_bits, timeout=0, exclusive=True
        )
    except (OSError, ValueError) as error:  # pyserial's own error is an OSError
        raise Unavailable(f"{port} cannot be opened: {error}") from error
    line, handle = Line(port), device.fileno()

    def take() -> None:
        try:
            data = os.read(handle, 4_096)
        except BlockingIOError:
            return
        except OSError as error:
            line.lose(f"cannot be read: {error}")
            return
        if data:
            line.data_received(data)
        else:
            line.lose("was unplugged")

    def close() -> None:
        loop.remove_reader(handle)
        with contextlib.suppress(OSError):
            device.close()

    def write(data: bytes) -> None:
        os.write(handle, data)  # a request is 8 bytes; the kernel's buffer takes 4,096

    line.write, line._close = write, close  # noqa: SLF001  # made here, and nowhere else
    loop.add_reader(handle, take)
    return line
