"""Modbus devices over TCP, RTU over TCP or a serial line, polled on the grid; see modbus.md.

* Nothing is ever written to a device: function codes 1 to 4, no others.
* Machine files that name the same place share one connection and take turns on it (`modbus_bus`).
* What comes back is decoded only when it is the answer to what was asked (`modbus_frame`).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from collectors.device_clock import TOLERANCE_S, Allowance
from collectors.end_of_cycle import Span, Trigger
from collectors.modbus_bus import Place, seat_on
from collectors.modbus_line import Baudrate, Parity, SerialLine
from collectors.modbus_readout import Lane, Readout
from collectors.modbus_session import CycleTags, ModbusSession, Pace, remembered
from collectors.registers import ORDERS, Limits, Order, Point, forbidden_of, point_of
from collectors.source import Arrival, Opening, Source
from collectors.stopping import ended
from pipeline.plant import Frozen, Tag

_TCP_GAP: Final = 8
_REQUEST_CHARS: Final = 20
"""Characters a request costs beside its data: 8 asked, 5 answered, twice 3.5 of silence."""
_TURNAROUND_S: Final = 0.005
"""What a device takes to begin its answer."""
_SERIAL_UNITS: Final = range(1, 248)


def _range(text: str) -> str:
    forbidden_of(text)
    return text


class EndOfCycle(Frozen):
    """Tags that are read once a cycle."""

    trigger: str
    """A tag that is polled: a bit that rises, or a counter that moves on, when a cycle has ended."""
    tags: tuple[str, ...] = Field(min_length=1)
    """What is read then; their rows carry the time at which the trigger was seen."""
    rolls_at: PositiveInt | None = None
    """The highest number that the counter shows, after which it begins at 0; none: the highest its registers hold."""


class Modbus(Source):
    """Modbus devices, polled."""

    protocol: Literal["modbus"] = "modbus"
    transport: Literal["tcp", "rtu_over_tcp", "serial"] = "tcp"
    """What is spoken: Modbus TCP, RTU frames through a converter, RTU frames on a serial port."""
    host: str = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    serial_port: str = ""
    """As /dev/ttyUSB0; better the stable name below /dev/serial/by-id."""
    baudrate: Baudrate = 9_600
    parity: Parity = "none"
    stop_bits: Literal[1, 2] = 1
    gap_ms: NonNegativeFloat | None = None
    """Silence between frames; none: 3.5 characters on a serial line, nothing on TCP."""
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    """Of the tags whose address names none."""
    timeout_s: PositiveFloat = 1.0
    """Longest wait for the connection and for each answer."""
    profile: str = ""
    """Name of a device profile; it gives what the file leaves out (see `profiles`)."""
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    """Registers one request may ask for."""
    max_coils: Annotated[int, Field(ge=1, le=2000)] = 2000
    """Coils or discrete inputs one request may ask for."""
    max_gap: Annotated[int, Field(ge=0, le=124)] | None = None
    """Registers without tag that may be read along to save a request; none: as many as cost less than that."""
    forbidden: tuple[Annotated[str, AfterValidator(_range)], ...] = ()
    """Numbers that must not be read, not even along with others, as holding:100-199."""
    order: Order = "ABCD"
    """Byte order of values of several registers whose address names none."""
    sentinels: tuple[int, ...] = ()
    """Raw integers that mean "no sensor" (say 32767, -32768): bad, never a number."""
    time_tag: str | None = None
    """Tag that holds the device's own time in milliseconds since 1970; its rows are stamped with it."""
    clock_tolerance_s: PositiveFloat = TOLERANCE_S
    """How far that time may be off, either way: what is read is of now. With `pace` full it may be any time."""
    pace: Literal["tick", "full"] = "tick"
    """`full` scans back to back without a grid, for replays; no row is ever late or missing then."""
    block: tuple[EndOfCycle, ...] = ()
    """Tags that are read once a cycle instead of at every tick."""

    @model_validator(mode="after")
    def _check_place(self) -> "Modbus":
        wants, other = ("serial_port", "host") if self.transport == "serial" else ("host", "serial_port")
        if not getattr(self, wants):
            raise ValueError(f"{wants} is missing; transport = {self.transport!r} needs it")
        if getattr(self, other):
            raise ValueError(f"{other} has no meaning with transport = {self.transport!r}; remove one of them")
        return self

    @property
    def arrival(self) -> Arrival:
        """On the grid, or in a replay whenever the device steps on."""
        return "polled" if self.pace == "tick" else "kept"

    @property
    def place(self) -> Place:
        """Where the line is; machines that name the same one share it."""
        if self.transport == "serial":
            how = SerialLine(baudrate=self.baudrate, parity=self.parity, stop_bits=self.stop_bits)
            gap_s = how.gap_s if self.gap_ms is None else self.gap_ms / 1e3
            return Place(self.serial_port, self.transport, serial=how, gap_s=gap_s)
        name = f"{self.host}:{self.port}"
        return Place(name, self.transport, self.host, self.port, gap_s=(self.gap_ms or 0.0) / 1e3)

    @property
    def limits(self) -> Limits:
        """What one request may ask for."""
        gap = self._worthwhile_gap() if self.max_gap is None else self.max_gap
        return Limits(self.max_registers, self.max_coils, gap, tuple(forbidden_of(text) for text in self.forbidden))

    def _worthwhile_gap(self) -> int:
        """Registers that are read along in less time than a request of their own takes."""
        serial = self.place.serial
        return _TCP_GAP if serial is None else int((_REQUEST_CHARS + _TURNAROUND_S / serial.char_s) / 2)

    def points(self, tags: Sequence[Tag]) -> list[Point]:
        """Where the tags lie.

        Raises:
            ValueError: an address is none.
        """
        points = [point_of(i, tag, self.order) for i, tag in enumerate(tags)]
        return [replace(point, unit=self.unit_id) if point.unit is None else point for point in points]

    def on_demand(self, tags: Sequence[Tag]) -> frozenset[str]:
        """Strings, which give events, and what is read once a cycle."""
        strings = {tags[point.tag].name for point in self.points(tags) if point.type == "string"}
        return frozenset(strings.union(*(one.tags for one in self.block)))

    def other_orders(self, tag: Tag) -> tuple[Tag, ...]:
        """The same registers in the other byte orders, for a number of several registers; else none."""
        point = point_of(0, tag, self.order)
        if point.type in ("bit", "bits", "string") or point.size == 1:
            return ()
        unit = "" if point.unit is None else f"{point.unit}/"
        where = f"{unit}{point.table}:{point.start}:{point.type}"
        return tuple(tag.model_copy(update={"address": f"{where}:{o}"}) for o in ORDERS if o != point.order)

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses addresses that are none, values longer than a request, names of tags that are not there."""
        limits, points = self.limits, self.points(tags)
        for tag, point in zip(tags, points, strict=True):
            if point.size > limits.of(point.table)[0]:
                kind = tag.address.split(":")[2] if point.type == "string" else point.type
                raise ValueError(
                    f"tag {tag.name!r}: {kind} takes {point.size} registers in one request, "
                    f"and max_registers = {self.max_registers}"
                )
            if limits.forbids(point.table, point.start, point.end):
                raise ValueError(f"tag {tag.name!r}: {tag.address} lies in forbidden = {list(self.forbidden)}")
            if self.transport != "tcp" and point.unit not in _SERIAL_UNITS:
                raise ValueError(f"tag {tag.name!r}: unit {point.unit} is not between 1 and 247, as on a serial line")
            self._check_words(tag, point)
        names = {tag.name for tag in tags}
        if self.time_tag is not None and self.time_tag not in names - self.on_demand(tags):
            raise ValueError(f"time_tag = {self.time_tag!r} is not the name of a polled number of this machine")
        bits = {tag.name for tag, point in zip(tags, points, strict=True) if point.type == "bit"}
        self._check_blocks(names, names - self.on_demand(tags), bits)

    @staticmethod
    def _check_words(tag: Tag, point: Point) -> None:
        if point.type == "string" and (tag.values or tag.loop or tag.sentinels):
            raise ValueError(f"tag {tag.name!r}: a string has no values, loop or sentinels")
        if point.type.startswith("float") and tag.values:
            raise ValueError(f"tag {tag.name!r}: values need a whole number, and {point.type} is none")
        if tag.context and not (tag.values or point.type == "string"):
            raise ValueError(f"tag {tag.name!r}: context needs a text: a string, or values that say what numbers mean")

    def _check_blocks(self, names: set[str], polled: set[str], bits: set[str]) -> None:
        seen: set[str] = set()
        for one in self.block:
            unknown = [name for name in (one.trigger, *one.tags) if name not in names]
            if unknown:
                raise ValueError(f"block: {unknown[0]!r} is not the name of a tag of this machine")
            if one.trigger not in polled:
                raise ValueError(f"block: trigger = {one.trigger!r} must be a number that is polled, outside of blocks")
            twice = [name for name in one.tags if name in seen or one.tags.count(name) > 1]
            if twice:
                raise ValueError(f"block: tag {twice[0]!r} is named twice; a tag is read by one block")
            seen |= set(one.tags)
            if one.rolls_at is not None and bits >= {one.trigger}:
                raise ValueError(f"block: trigger = {one.trigger!r} is a bit, which counts nothing; remove rolls_at")

    def open(self, opening: Opening) -> AbstractAsyncContextManager[ModbusSession]:
        """A seat on the line, proven by reading everything once."""
        return _open(self, opening)


@asynccontextmanager
async def _open(source: Modbus, opening: Opening) -> AsyncIterator[ModbusSession]:
    async with seat_on(source.place, source.timeout_s, source.unit_id) as (bus, seat):
        session = _session(source, opening, Lane(bus, seat, source.unit_id, opening.asset))
        await session.settle()
        tasks = [asyncio.create_task(session.scan_for_ever(), name=f"scan {opening.asset}")]
        if session.several:
            tasks.append(asyncio.create_task(session.probe_for_ever(), name=f"probe {opening.asset}"))
        try:
            yield session
        finally:
            for task in tasks:
                await ended(task)


def _session(source: Modbus, opening: Opening, lane: Lane) -> ModbusSession:
    tags, points = opening.tags, source.points(opening.tags)
    index = {tag.name: i for i, tag in enumerate(tags)}
    once = {index[name] for one in source.block for name in one.tags}
    last = dict(remembered(opening.memory, "cycle"))

    def readout(which: set[int]) -> Readout:
        return Readout(tags, [point for point in points if point.tag in which], source.limits, lane, source.sentinels)

    cycles = [
        CycleTags(one.trigger, at, Trigger(_span(points[at], one.rolls_at), last.get(one.trigger)), readout(which))
        for one in source.block
        for at, which in [(index[one.trigger], {index[name] for name in one.tags})]
    ]
    time = None if source.time_tag is None else index[source.time_tag]
    is_full, tolerance_s = source.pace == "full", source.clock_tolerance_s
    pace = Pace(source.every_s, is_full, time, None if is_full else Allowance(tolerance_s, tolerance_s))
    return ModbusSession(opening, pace, readout(set(index.values()) - once), cycles)


def _span(point: Point, rolls_at: int | None) -> Span | None:
    """What a trigger shows; None: so much that it never rolls over."""
    if rolls_at is not None:
        return Span(0, rolls_at)
    if point.type == "bit":
        return Span(0, 1)
    if point.type == "bits":
        return Span(0, (1 << (point.bits[1] - point.bits[0] + 1)) - 1)
    if point.type.startswith("float"):
        return None
    if point.type.startswith("u"):
        return Span(0, (1 << 16 * point.size) - 1)
    half = 1 << (16 * point.size - 1)
    return Span(-half, half - 1)
