"""What the collector tests read from: a Modbus device that can misbehave, and a spool in memory."""

import asyncio
import contextlib
import copy
import os
import struct
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collectors.protocols import MachineFile
from collectors.source import Opening, Reading, Source
from pipeline.errors import SpoolFull
from pipeline.model import CAUSES, Batch, Body, Cause, Event, Tally, Waveform
from pipeline.plant import Machine

ASSET = "hansung/ansan1/casting/line1/dc1"
TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


def machine(
    source: Mapping[str, Any], tags: Sequence[Mapping[str, Any]], path: str = "casting/line1/dc1", **more: Any
) -> Machine[Any]:
    filled = [{"unit": "1", "name": f"t{i}"} | dict(tag) for i, tag in enumerate(tags)]
    return MachineFile.model_validate(
        {"path": path, "name": "주조기 1", "process": "casting", "source": dict(source), "tag": filled} | more
    )


def opening(one: Machine[Any], clock: Callable[[], int], memory: str = "", client_id: str = "test") -> Opening:
    return Opening(ASSET, one.tag, clock, client_id, memory, one.waveform)


@asynccontextmanager
async def _on_tcp(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.01)


@dataclass
class RawModbus:
    """A Modbus TCP server of thirty lines that shares no code with ours."""

    words: dict[tuple[str, int], int] = field(default_factory=dict)
    refuse: Callable[[str, int, int], int] = lambda table, start, count: 0
    mute: bool = False
    short: bool = False
    delay_s: float = 0.0
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                code, start, count = struct.unpack(">BHH", await reader.readexactly(length - 1))
                self.requests.append((TABLES[code], start, count))
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.mute:
                    continue
                pdu = self._answer(code, start, count)
                writer.write(struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu)
        writer.close()

    def _answer(self, code: int, start: int, count: int) -> bytes:
        table = TABLES[code]
        refused = self.refuse(table, start, count)
        if refused:
            return bytes([code | 0x80, refused])
        words = [self.words.get((table, start + i), 0) for i in range(count - self.short)]
        if code <= 2:
            data = np.packbits(np.array(words, np.uint8), bitorder="little").tobytes()
        else:
            data = struct.pack(f">{len(words)}H", *words)
        return bytes([code, len(data)]) + data

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


def crc16(frame: bytes) -> bytes:
    """The slow and obvious checksum, which shares no table with ours."""
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


@dataclass
class RtuBus:
    """Slaves on one line, speaking raw RTU frames; a unit that is not there says nothing."""

    slaves: dict[int, RawModbus]
    mangle: Callable[[bytes], bytes] = lambda frame: frame
    requests: list[tuple[int, str, int, int]] = field(default_factory=list)
    unread: bytearray = field(default_factory=bytearray)
    wrong: int = 0

    async def heard(self, data: bytes, send: Callable[[bytes], object]) -> None:
        self.unread += data
        while len(self.unread) >= 8:
            frame = bytes(self.unread[:8])
            del self.unread[:8]
            if crc16(frame[:6]) != frame[6:]:
                self.wrong += 1
                continue
            unit, code, start, count = struct.unpack(">BBHH", frame[:6])
            self.requests.append((unit, TABLES[code], start, count))
            slave = self.slaves.get(unit)
            if slave is None or slave.mute:
                continue
            if slave.delay_s:
                await asyncio.sleep(slave.delay_s)
            answer = bytes([unit]) + slave._answer(code, start, count)
            send(self.mangle(answer + crc16(answer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(256):
                await self.heard(data, writer.write)
        writer.close()

    def on_tcp(self) -> AbstractAsyncContextManager[int]:
        return _on_tcp(self.serve)

    @asynccontextmanager
    async def on_a_line(self) -> AsyncIterator[str]:
        """A pty stands for the cable: what it lets through is bytes, as a serial port does."""
        ours, theirs = os.openpty()
        tty.setraw(ours)
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        came: asyncio.Queue[bytes] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, lambda: came.put_nowait(os.read(ours, 256)))

        async def answer() -> None:
            while True:
                await self.heard(await came.get(), lambda frame: os.write(ours, frame))

        answering = asyncio.create_task(answer())
        try:
            yield os.ttyname(theirs)
        finally:
            await stopped(answering)
            loop.remove_reader(ours)
            os.close(ours)
            os.close(theirs)


@asynccontextmanager
async def serving(device: RawModbus, port: int = 0) -> AsyncIterator[int]:
    server = await asyncio.start_server(device.serve, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        device.cut()
        await server.wait_closed()
        await asyncio.sleep(0.01)  # the handlers see their ends


@dataclass
class Bridge:
    """A Modbus TCP bridge to slaves on one serial bus: one request at a time, whoever asks.

    Attributes:
        slaves: those that answer; a mute one is switched off.
        exception: what it says of a slave that does not: 11 of one that is silent, 10 where it finds no way.
        patience_s: how long it waits for a slave.
    """

    slaves: dict[int, RawModbus]
    exception: int = 11
    patience_s: float = 0.45
    requests: list[int] = field(default_factory=list)
    connections: int = 0
    bus: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                tid, _, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
                code, start, count = struct.unpack(">BHH", await reader.readexactly(length - 1))
                self.requests.append(unit)
                slave = self.slaves.get(unit)
                async with self.bus:
                    if slave is None or slave.mute:
                        await asyncio.sleep(self.patience_s)
                        pdu = bytes([code | 0x80, self.exception])
                    else:
                        pdu = slave._answer(code, start, count)
                        await asyncio.sleep(slave.delay_s)
                writer.write(struct.pack(">HHHB", tid, 0, len(pdu) + 1, unit) + pdu)
        writer.close()

    def on_tcp(self) -> AbstractAsyncContextManager[int]:
        return _on_tcp(self.serve)


class MemorySpool:
    """A spool that a test can fill, kill and look into."""

    def __init__(self, bodies: Sequence[Body] = (), notes: Mapping[str, str] | None = None) -> None:
        self.notes: dict[str, str] = dict(notes or {})
        self.bodies: list[Body] = list(bodies)
        self.full = False
        self.delay_s = 0.0
        self.appends = 0
        self.appended = asyncio.Event()

    async def append(self, bodies: Sequence[Body], notes: Mapping[str, str]) -> int:
        await asyncio.sleep(self.delay_s)
        if self.full:
            raise SpoolFull("no room")
        self.bodies.extend(bodies)
        self.notes.update(notes)
        self.appends += 1
        self.appended.set()
        return self.appends

    def after_a_kill(self) -> "MemorySpool":
        """What a process started after SIGKILL finds."""
        return MemorySpool(copy.copy(self.bodies), dict(self.notes))

    @property
    def batches(self) -> list[Batch]:
        return [body for body in self.bodies if isinstance(body, Batch)]

    @property
    def waveforms(self) -> list[Waveform]:
        return [body for body in self.bodies if isinstance(body, Waveform)]

    @property
    def tallies(self) -> list[Tally]:
        return [body for body in self.bodies if isinstance(body, Tally)]

    def events(self, kind: str = "") -> list[Event]:
        return [body for body in self.bodies if isinstance(body, Event) and body.kind.startswith(kind)]

    def rows(self) -> int:
        return sum(len(batch) for batch in self.batches)

    def expected(self) -> int:
        return sum(int(tally.expected.sum()) for tally in self.tallies)

    def missing(self, *causes: Cause) -> int:
        columns = [CAUSES.index(cause) for cause in causes or CAUSES]
        return sum(int(tally.missing[:, columns].sum()) for tally in self.tallies)

    async def until(self, condition: Callable[["MemorySpool"], object], patience_s: float = 8.0) -> None:
        async with asyncio.timeout(patience_s):
            while not condition(self):
                self.appended.clear()
                await self.appended.wait()


async def stopped(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def first_readings(source: Source, opened: Opening, count: int) -> list[Reading]:
    found: list[Reading] = []
    async with asyncio.timeout(8), source.open(opened) as session:
        readings = session.readings()
        while len(found) < count:
            found.append(await anext(readings))
        await readings.aclose()  # type: ignore[attr-defined]  # all of ours are generators
    return found
