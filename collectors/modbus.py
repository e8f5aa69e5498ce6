"""Modbus TCP devices, polled on the grid; see modbus.md.

* One connection a device, one request in flight, no retries; nothing is ever written to the device.
* A request the device refuses spoils exactly the tags behind it; no answer at all ends the session.
* The scanning runs in a task of its own, so that a slow disk delays no scan: what it read waits in a bounded buffer,
  and the gateway takes it as one batch.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field, PositiveFloat
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ModbusPDU

from collectors.buffer import Buffer
from collectors.registers import FUNCTION, Block, Decoder, Limits, learn, plan, point_of
from collectors.scaling import Scaling
from collectors.schedule import period_ns, ticks
from collectors.source import Arrival, Missed, Opening, Reading, Source
from collectors.stopping import ended
from pipeline import metrics
from pipeline.errors import Unavailable
from pipeline.model import EARLIEST_NS, LATEST_NS, Batch, Cause, Codes, Floats, Quality
from pipeline.plant import Tag

log = logging.getLogger(__name__)

_BUFFER_ROWS: Final = 50_000
_BUFFER_SCANS: Final = 1_024
_TRIES_AT_OPENING: Final = 4
_CONFIGURATION: Final = frozenset({1, 2, 3})
"""Exceptions that say the machine file is wrong: illegal function, illegal address, illegal value."""


class Modbus(Source):
    """A Modbus TCP device, polled."""

    protocol: Literal["modbus"] = "modbus"
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    timeout_s: PositiveFloat = 1.0
    """Longest wait for the connection and for each answer."""
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    """Registers one request may ask for."""
    max_coils: Annotated[int, Field(ge=1, le=2000)] = 2000
    """Coils or discrete inputs one request may ask for."""
    max_gap: Annotated[int, Field(ge=0, le=124)] = 8
    """Registers without tag that may be read along to save a request."""
    sentinels: tuple[int, ...] = ()
    """Raw integers that mean "no sensor" (say 32767, -32768): bad, never a number."""
    time_tag: str | None = None
    """Tag that holds the device's own time in milliseconds since 1970; its rows are stamped with it."""
    pace: Literal["tick", "full"] = "tick"
    """`full` scans back to back without a grid, for replays; no row is ever late or missing then."""

    @property
    def arrival(self) -> Arrival:
        """On the grid, or in a replay whenever the device steps on."""
        return "polled" if self.pace == "tick" else "kept"

    @property
    def limits(self) -> Limits:
        """What one request may ask for."""
        return Limits(self.max_registers, self.max_coils, self.max_gap)

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses addresses that are none, values longer than a request, a time tag that is not there."""
        for index, tag in enumerate(tags):
            point = point_of(index, tag)
            if point.size > self.limits.of(point.table)[0]:
                raise ValueError(
                    f"tag {tag.name!r}: {point.type} takes {point.size} registers in one request, "
                    f"and max_registers = {self.max_registers}"
                )
        if self.time_tag is not None and self.time_tag not in {tag.name for tag in tags}:
            raise ValueError(f"time_tag = {self.time_tag!r} is not the name of a tag of this machine")

    def open(self, opening: Opening) -> AbstractAsyncContextManager["ModbusSession"]:
        """A connection, proven by reading everything once."""
        return _open(self, opening)


@asynccontextmanager
async def _open(source: Modbus, opening: Opening) -> AsyncIterator["ModbusSession"]:
    device = _Device(source, opening)
    try:
        await device.connect()
        session = ModbusSession(source, opening, device)
        await session.settle()
        scanning = asyncio.create_task(session.scan_for_ever(), name=f"scan {opening.asset}")
        try:
            yield session
        finally:
            await ended(scanning)
    finally:
        device.close()


class _Raw(ModbusPDU):
    """An answer kept as bytes: NumPy decodes it, so a list of integers would be made for nothing."""

    data = b""

    def decode(self, data: bytes) -> None:
        self.data = data


_RAW: Final = tuple(type(f"_Raw{code}", (_Raw,), {"function_code": code}) for code in FUNCTION.values())


class _Request(ModbusPDU):
    """A read request, encoded once."""

    def __init__(self, block: Block, unit_id: int) -> None:
        super().__init__(dev_id=unit_id, address=block.start, count=block.count)
        self.function_code = FUNCTION[block.table]
        self._encoded = block.start.to_bytes(2, "big") + block.count.to_bytes(2, "big")

    def encode(self) -> bytes:
        return self._encoded


@dataclass(frozen=True, slots=True)
class _Answer:
    """The data of one block, or the quality its tags get instead."""

    data: bytes
    quality: Quality = Quality.GOOD
    refused: bool = False


class _Device:
    """The connection: asks for blocks."""

    def __init__(self, source: Modbus, opening: Opening) -> None:
        self._source = source
        self._client = AsyncModbusTcpClient(
            source.host,
            port=source.port,
            name=opening.client_id,
            timeout=source.timeout_s,
            retries=0,
            reconnect_delay=0,  # the gateway opens again; a client that reconnects by itself waits up to 300 s
            trace_connect=self._link,
        )
        for answer in _RAW:
            self._client.register(answer)
        self._waiting = False
        outcomes = [metrics.requests.labels(opening.asset, name) for name in ("answered", "refused", "silent")]
        self._answered, self._refused, self._silent = outcomes

    def _link(self, up: bool) -> None:  # noqa: FBT001  # pymodbus calls it so
        pending = self._client.ctx.response_future
        if not up and self._waiting and not pending.done():  # else a cut link is noticed only after the timeout
            pending.set_exception(ConnectionException("connection lost"))

    async def connect(self) -> None:
        """Connects once.

        Raises:
            Unavailable: no connection.
        """
        if not await self._client.connect():
            raise Unavailable(f"{self._source.host}:{self._source.port} accepts no connection")

    def close(self) -> None:
        """Hangs up."""
        self._client.close()

    def request(self, block: Block) -> _Request:
        """What asks for a block."""
        return _Request(block, self._source.unit_id)

    async def ask(self, block: Block, request: _Request) -> _Answer:
        """The answer to one request.

        Raises:
            Unavailable: there was none.
        """
        if not self._client.connected:
            raise Unavailable(f"{self._source.host}:{self._source.port} has closed the connection")
        self._waiting = True
        try:
            answer = await self._client.execute(False, request)  # noqa: FBT003  # pymodbus's signature
        except (ModbusException, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "closed" not in str(error):
                raise
            self._silent.inc()  # RuntimeError: uvloop knows that the device hung up, pymodbus does not yet
            raise Unavailable(f"{self._source.host}:{self._source.port} gives no answer: {error}") from error
        finally:
            self._waiting = False
        if isinstance(answer, _Raw) and answer.function_code == request.function_code:
            self._answered.inc()
            data = answer.data[1:]
            if len(data) == block.nbytes:
                return _Answer(data)
            return _Answer(bytes(block.nbytes), Quality.BAD_COMMUNICATION_ERROR)
        self._refused.inc()
        wrong = answer.exception_code in _CONFIGURATION
        quality = Quality.BAD_CONFIGURATION_ERROR if wrong else Quality.BAD_COMMUNICATION_ERROR
        return _Answer(bytes(block.nbytes), quality, refused=wrong)


@dataclass(frozen=True, slots=True)
class _Scan:
    """Everything read at one tick: (tags,) columns in file order."""

    tick_ns: int
    ts_ns: int
    value: Floats
    quality: Codes
    late: int


class ModbusSession:
    """A live connection; `readings` merges what the scanning task has put into the buffer."""

    def __init__(self, source: Modbus, opening: Opening, device: _Device) -> None:
        self._source, self._opening, self._device = source, opening, device
        self._names = tuple(tag.name for tag in opening.tags)
        self._scaling = Scaling(opening.tags)
        self._time = None if source.time_tag is None else self._names.index(source.time_tag)
        self._every = period_ns(source.every_s)
        self._before: _Scan | None = None
        tags = len(self._names)
        self._order = np.arange(tags, dtype=np.uint16)
        self._buffer: Buffer[_Scan] = Buffer(max(2, min(_BUFFER_SCANS, _BUFFER_ROWS // tags)))
        self._use(plan([point_of(i, tag) for i, tag in enumerate(opening.tags)], source.limits))

    def _use(self, blocks: list[Block]) -> None:
        self._blocks = blocks
        self._requests = [self._device.request(block) for block in blocks]
        self._decoder = Decoder(blocks, len(self._names))
        self._behind = [np.array([point.tag for point in block.points], np.intp) for block in blocks]
        self._integers = self._decoder.integers()

    async def settle(self) -> None:
        """Reads everything until the plan asks for nothing in vain; the proof that the device answers.

        Raises:
            Unavailable: it does not.
        """
        for _ in range(_TRIES_AT_OPENING):
            blocks = self._blocks
            scan, silence = await self._scan(self._opening.clock(), 0)
            if silence is not None:
                raise silence
            if self._source.pace == "full":  # a replay may have stepped on because it was read
                self._put_if_new(scan)
            if self._blocks is blocks:
                break
        refused = scan.quality == Quality.BAD_CONFIGURATION_ERROR
        if refused.any():
            names = ",".join(self._names[i] for i in np.flatnonzero(refused)[:20])
            log.warning("address refused asset=%s tags=%s", self._opening.asset, names)

    def _learn(self, refused: frozenset[Block]) -> bool:
        better = learn(self._blocks, refused, self._source.limits)
        if better is not None:
            self._use(better)
        return better is not None

    async def _ask_all(self) -> tuple[list[bytes], Codes, frozenset[Block], Unavailable | None]:
        """Data and qualities (tags,) of one scan, the requests refused, and the silence that cut it short."""
        answers: list[bytes] = []
        quality = np.zeros(len(self._names), np.uint32)
        refused: list[Block] = []
        silence: Unavailable | None = None
        for block, request, behind in zip(self._blocks, self._requests, self._behind, strict=True):
            if silence is None:
                try:
                    answer = await self._device.ask(block, request)
                except Unavailable as error:
                    silence = error
            if silence is not None:
                answer = _Answer(bytes(block.nbytes), Quality.BAD_NO_COMMUNICATION)
            answers.append(answer.data)
            if answer.quality:
                quality[behind] = answer.quality
            if answer.refused:
                refused.append(block)
        return answers, quality, frozenset(refused), silence

    async def _scan(self, tick_ns: int, late: int) -> tuple[_Scan, Unavailable | None]:
        answers, quality, refused, silence = await self._ask_all()
        raw = self._decoder.decode(answers)
        if self._source.sentinels:
            quality[self._integers & np.isin(raw, self._source.sentinels) & (quality == 0)] = Quality.BAD_SENSOR_FAILURE
        value, quality = self._scaling.judge(raw, quality)
        ts_ns = tick_ns if self._time is None else _device_time(float(value[self._time]))
        if ts_ns is None:  # the device's clock is not to be believed
            quality[quality == 0] = Quality.UNCERTAIN
            ts_ns = tick_ns
        if refused or any(block.stage == 1 for block in self._blocks):
            self._learn(refused)
        return _Scan(tick_ns, ts_ns, value, quality, late), silence

    async def scan_for_ever(self) -> None:
        """Fills the buffer until the device falls silent; owned by the context manager of the session."""
        try:
            if self._source.pace == "full":
                await self._scan_at_full_pace()
            else:
                await self._scan_on_the_grid()
        except Unavailable as error:
            self._buffer.end(error)
        except Exception as error:  # noqa: BLE001  # a bug: it surfaces where the readings are taken
            self._buffer.end(error)

    async def _scan_on_the_grid(self) -> None:
        late, counted = 0, metrics.ticks_late.labels(self._opening.asset)
        async for tick in ticks(self._source.every_s, self._opening.clock):
            late += tick.late + self._buffer.full
            counted.inc(tick.late + self._buffer.full)
            if self._buffer.full:
                continue
            scan, silence = await self._scan(tick.ns, late)
            self._buffer.put(scan)
            late = 0
            if silence is not None:
                raise silence

    async def _scan_at_full_pace(self) -> None:
        while True:
            await self._buffer.room()
            scan, silence = await self._scan(self._opening.clock(), 0)
            self._put_if_new(scan)
            if silence is not None:
                raise silence

    def _put_if_new(self, scan: _Scan) -> None:
        """A device that keeps its own time and says all the same again has not stepped on."""
        before, self._before = self._before, scan
        if (
            self._time is None
            or before is None
            or scan.ts_ns != before.ts_ns
            or not np.array_equal(scan.value, before.value, equal_nan=True)
            or not np.array_equal(scan.quality, before.quality)
        ):
            self._buffer.put(scan)

    async def readings(self) -> AsyncIterator[Reading]:
        """Every scan since the last reading, merged into one batch."""
        while True:
            yield self._merge(await self._buffer.take())

    def _merge(self, scans: list[_Scan]) -> Reading:
        tags = len(self._names)
        batch = Batch(
            self._opening.asset,
            self._names,
            np.repeat(np.array([scan.ts_ns for scan in scans], np.int64), tags),
            self._order if len(scans) == 1 else np.tile(self._order, len(scans)),
            scans[0].value if len(scans) == 1 else np.concatenate([scan.value for scan in scans]),
            scans[0].quality if len(scans) == 1 else np.concatenate([scan.quality for scan in scans]),
        )
        if self._source.pace == "full":
            return Reading((batch,))
        missed = tuple(
            Missed(scan.tick_ns - scan.late * self._every, scan.late, Cause.LATE) for scan in scans if scan.late
        )
        first = scans[0].tick_ns - scans[0].late * self._every
        return Reading((batch,), missed, ticks=(first, scans[-1].tick_ns))


def _device_time(milliseconds: float) -> int | None:
    """A device's own time in nanoseconds; None where it cannot be one."""
    if not EARLIEST_NS / 1e6 <= milliseconds <= LATEST_NS / 1e6:
        return None
    whole = int(milliseconds)
    return whole * 1_000_000 + round((milliseconds - whole) * 1e6)
