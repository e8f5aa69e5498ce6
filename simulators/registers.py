"""Numbers in Modbus registers and back.

- `ABCD` is big-endian, `CDAB` swaps words, `BADC` bytes within words, `DCBA` both; for 64 bits the same, longer.
- Integers are rounded and held at the ends of their type, as a device's own scaling block does.

Address as in a machine file: `table:number[:type[:order]]`, zero-based.
"""

import math
import struct
from dataclasses import dataclass
from typing import Literal, cast, get_args

from simulators.errors import InputError

Table = Literal["coil", "discrete", "holding", "input"]
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]

_FORMATS = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f", "float64": "d"}
_BITS = ("coil", "discrete")


@dataclass(frozen=True, slots=True)
class Register:
    """Where a value lives and how it is written; `type` is "bit" in the bit tables."""

    table: Table
    number: int
    type: str
    order: Order = "ABCD"

    @property
    def size(self) -> int:
        """Bits or registers it takes."""
        return 1 if self.type == "bit" else struct.calcsize(_FORMATS[self.type]) // 2

    @property
    def end(self) -> int:
        """The first number behind it."""
        return self.number + self.size

    @property
    def is_float(self) -> bool:
        """Whether it can hold NaN."""
        return self.type.startswith("float")


def parse_register(address: str) -> Register:
    """The register an address names; `InputError` when it names none."""
    table, _, rest = address.partition(":")
    number, _, rest = rest.partition(":")
    kind, _, order = rest.partition(":")
    kind = "bit" if table in _BITS and not kind else kind
    known = kind in _FORMATS if table not in _BITS else kind == "bit"
    if table not in get_args(Table) or not number.isdigit() or not known or (order or "ABCD") not in get_args(Order):
        raise InputError(
            f"address {address!r}: expected table:number[:type[:order]], table one of {', '.join(get_args(Table))}, "
            f"type one of {', '.join(_FORMATS)} (none for coil and discrete), order one of {', '.join(get_args(Order))}"
        )
    return Register(cast("Table", table), int(number), kind, cast("Order", order or "ABCD"))


def encode(register: Register, raw: float) -> list[int]:
    """The registers (or the bit) of a raw number."""
    if register.type == "bit":
        return [int(raw != 0)]
    code = _FORMATS[register.type]
    data = struct.pack(f">{code}", raw if register.is_float else _held(code, raw))
    words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    return _ordered(words, register.order)


def decode(register: Register, words: list[int]) -> float:
    """The raw number in registers (or in a bit) that `encode` would have written."""
    if register.type == "bit":
        return float(words[0])
    data = b"".join(word.to_bytes(2, "big") for word in _ordered(words, register.order))
    return float(struct.unpack(f">{_FORMATS[register.type]}", data)[0])


def _held(code: str, raw: float) -> int:
    bits = 8 * struct.calcsize(code)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if code.islower() else (0, (1 << bits) - 1)
    if math.isnan(raw):
        return low
    return round(min(float(high), max(float(low), raw)))


def _ordered(words: list[int], order: Order) -> list[int]:
    """Swap words and bytes; every order is its own inverse."""
    words = words[:: -1 if order in ("CDAB", "DCBA") else 1]
    if order in ("BADC", "DCBA"):
        words = [(word & 0xFF) << 8 | word >> 8 for word in words]
    return words
