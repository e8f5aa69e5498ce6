"""A device behind Modbus TCP; values are computed when they are read.

- Only function codes 1 to 4 are known; everything else, every write included, gets exception 1.
- One request is answered from one instant; nothing is remembered between requests but the scan counter.
- A device that is silent keeps its connections open and answers nothing, as a hung controller does.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.faults import Faults
from simulators.registers import Register, Table, decode, encode, parse_register
from simulators.signals import SCAN_COUNTER, Machine, Signal
from simulators.truth import Truth

_TABLES: dict[int, Table] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_WORD_BITS = 16


@dataclass(frozen=True, slots=True)
class Request:
    """A read; `count` is in registers, or in bits rounded up to 16 for the bit tables."""

    table: Table
    address: int
    count: int


class Silence(Exception):
    """The device does not answer this request."""


class Refusal(Exception):
    """The device answers with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Device(Protocol):
    """What stands behind the server."""

    def extents(self) -> Mapping[Table, Sequence[tuple[int, int]]]:
        """Ranges [first, end) of each table that may be read."""
        ...

    def answer(self, request: Request) -> Sequence[int]:
        """`count` registers or bits; may raise Silence or Refusal."""
        ...

    def left(self, request: Request, words: Sequence[int]) -> None:
        """The answer is on the wire; `words` has the bits really asked for."""
        ...


class MachineDevice:
    """A machine, its faults and its truth as registers."""

    def __init__(
        self, machine: Machine, signals: Sequence[Signal], faults: Faults, clock: SimClock, truth: Truth
    ) -> None:
        self._machine = machine
        self._places = [(signal, parse_register(signal.address)) for signal in signals]
        self._faults = faults
        self._clock = clock
        self._truth = truth
        self._scans = 0
        self._read_ns = 0

    def extents(self) -> Mapping[Table, Sequence[tuple[int, int]]]:
        """The registers of the tags."""
        found: dict[Table, list[tuple[int, int]]] = {}
        for _, register in self._places:
            found.setdefault(register.table, []).append((register.number, register.end))
        return found

    def answer(self, request: Request) -> list[int]:
        """Registers of this instant."""
        end = request.address + request.count
        self._read_ns = self._clock.wall()
        t_s = self._clock.sim_s(self._read_ns)
        touched = [
            (signal, register)
            for signal, register in self._places
            if register.table == request.table and register.number < end and register.end > request.address
        ]
        names = frozenset(signal.name for signal, _ in touched)
        if self._faults.silent(t_s, names):
            raise Silence
        for name in names:
            if code := int(self._faults.size("exception", t_s, name)):
                raise Refusal(code)
        self._scans += SCAN_COUNTER in names
        return self._image(request, touched, t_s)

    def left(self, request: Request, words: Sequence[int]) -> None:
        """Tell the truth about every tag that lies wholly in the answer."""
        if not self._truth.wanted:
            return
        end, values = request.address + len(words), {}
        for signal, register in self._places:
            if register.table == request.table and request.address <= register.number and register.end <= end:
                own = [int(word) for word in words[register.number - request.address : register.end - request.address]]
                values[signal.name] = decode(register, own) * signal.scale + signal.offset
        self._truth.served(self._read_ns, values)

    def _image(self, request: Request, touched: list[tuple[Signal, Register]], t_s: float) -> list[int]:
        values = self._machine.sample(t_s)
        values[SCAN_COUNTER] = float(self._scans)
        words = [0] * request.count
        for signal, register in touched:
            for number, word in enumerate(self._words(signal, register, t_s, values[signal.name]), register.number):
                if 0 <= number - request.address < request.count:
                    words[number - request.address] = word
        return words

    def _words(self, signal: Signal, register: Register, t_s: float, value: float) -> list[int]:
        value = self._faults.disturbed(signal, t_s, value, lambda then_s: self._machine.sample(then_s)[signal.name])
        code = self._faults.size("sentinel", t_s, signal.name)
        words = encode(register, code or (value - signal.offset) / signal.scale)
        return words[::-1] if self._faults.at("word_order", t_s, signal.name) else words


class _Exchange:
    """Carries one answer from pymodbus's action to its trace hooks.

    pymodbus runs action, encoding and sending of one request without giving way, so one slot is enough.
    """

    def __init__(self, device: Device, unit_id: int) -> None:
        self._device = device
        self._unit_id = unit_id
        self._request: Request | None = None
        self._mute = False

    async def act(self, *asked: Any) -> ExcCodes | None:
        """Fill pymodbus's registers just before it copies them into the answer."""
        function, first, address, count, registers, values = asked
        self._request, self._mute = None, False
        table = _TABLES.get(function)
        if table is None or values is not None:
            return ExcCodes.ILLEGAL_FUNCTION
        bits = table in ("coil", "discrete")
        request = Request(table, address, count * _WORD_BITS if bits else count)
        try:
            words = self._device.answer(request)
        except Silence:
            self._mute = True
            return ExcCodes.DEVICE_BUSY
        except Refusal as refusal:
            return ExcCodes(refusal.code)
        self._request = request
        if bits:
            _pack(registers, address, words)
        else:
            registers[address - first : address - first + count] = words
        return None

    def pdu(self, sending: bool, pdu: ModbusPDU) -> ModbusPDU:  # noqa: FBT001 - pymodbus calls it so
        """Note what leaves; whatever is no read leaves as exception 1."""
        if sending and pdu.dev_id != self._unit_id:
            return _exception(pdu, ExcCodes.GATEWAY_NO_RESPONSE)
        if sending and pdu.function_code & 0x7F not in _TABLES:
            return _exception(pdu, ExcCodes.ILLEGAL_FUNCTION)
        if sending and self._request:
            request, self._request = self._request, None
            self._device.left(request, pdu.registers or [int(bit) for bit in pdu.bits])
        return pdu

    def packet(self, sending: bool, data: bytes) -> bytes:  # noqa: FBT001 - pymodbus calls it so
        """Swallow the answer of a silent device."""
        if sending and self._mute:
            self._mute = False
            return b""
        return data


class _Handler(ServerRequestHandler):
    """Answers as a task of the loop; pymodbus's detour through its thread-safe queue costs half the rate."""

    def handle_later(self) -> None:
        self._answering = self.loop.create_task(self.handle_request())  # type: ignore[no-untyped-call]


class _Server(ModbusTcpServer):
    def callback_new_connection(self) -> ServerRequestHandler:
        return _Handler(self, self.trace_packet, self.trace_pdu, self.trace_connect)  # type: ignore[no-untyped-call]


def _pack(registers: list[int], address: int, bits: Sequence[int]) -> None:
    """Set single bits in pymodbus's packed words, bit 0 first."""
    for number, bit in enumerate(bits, address):
        word, mask = number // _WORD_BITS, 1 << number % _WORD_BITS
        if word < len(registers):
            registers[word] = registers[word] | mask if bit else registers[word] & ~mask


def _blocks(device: Device) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
    """Pymodbus's four tables; an unused one gets an entry that cannot be read."""
    extents = device.extents()
    bits = []
    bit_tables: tuple[Table, ...] = ("coil", "discrete")
    for table in bit_tables:
        end = max((end for _, end in extents.get(table, ())), default=1)
        bits.append([SimData(0, values=[False] * -(-end // _WORD_BITS) * _WORD_BITS, datatype=DataType.BITS)])
    words = []
    word_tables: tuple[Table, ...] = ("holding", "input")
    for table in word_tables:
        numbers = sorted({n for first, end in extents.get(table, ()) for n in range(first, end)})
        words.append([SimData(n, values=0, datatype=DataType.REGISTERS) for n in numbers] or [SimData(0)])
    return bits[0], bits[1], words[0], words[1]


def _exception(pdu: ModbusPDU, code: ExcCodes) -> ModbusPDU:
    return ExceptionResponse(pdu.function_code & 0x7F, code, device_id=pdu.dev_id, transaction=pdu.transaction_id)


@asynccontextmanager
async def open_modbus(device: Device, host: str, port: int, unit_id: int = 1) -> AsyncIterator[int]:
    """Serve a device while entered; yields the port, a free one when 0 was asked for.

    Other unit ids get exception 11, as a gateway without that device answers.
    """
    exchange = _Exchange(device, unit_id)
    server = _Server(
        [
            SimDevice(unit_id, simdata=_blocks(device), action=exchange.act),
            SimDevice(0, simdata=SimData(0, datatype=DataType.REGISTERS)),
        ],
        address=(host, port),
        trace_pdu=exchange.pdu,
        trace_packet=exchange.packet,
    )
    try:
        await server.serve_forever(background=True)
    except RuntimeError as exc:
        raise InputError(f"{host}:{port}: cannot listen there; is the port taken? Give another one, or 0") from exc
    listener: asyncio.Server = server.transport  # type: ignore[assignment]
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]
