"""Modbus addresses to requests, and the answers' bytes to numbers. Pure: no network, no clock.

* An address is `[unit/]table:number[:type[:order[:encoding]]]`, the number counted from 0 as on the wire.
* A plan reads every value in exactly one request, never splits a value, never exceeds the device's limits and never
  touches a forbidden number.
* Decoding is one gather of byte positions a type, computed when the plan is made; no Python object a value.

    order of a value A B C D (A most significant)      as the registers hold it
    ABCD  most significant word first (default)        AB CD
    CDAB  words reversed                               CD AB
    BADC  bytes swapped in each word                   BA DC
    DCBA  all bytes reversed                           DC BA
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast

import numpy as np
import numpy.typing as npt

from pipeline.model import Floats
from pipeline.plant import Tag

Table = Literal["coil", "discrete", "holding", "input"]

FUNCTION: Final[dict[Table, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""Function code that reads a table."""
_DTYPE: Final = {
    "int16": ">i2",
    "uint16": ">u2",
    "int32": ">i4",
    "uint32": ">u4",
    "int64": ">i8",
    "uint64": ">u8",
    "float32": ">f4",
    "float64": ">f8",
}
_WORDS: Final = {name: int(dtype[-1]) // 2 for name, dtype in _DTYPE.items()}
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
ORDERS: Final[tuple[Order, ...]] = ("ABCD", "CDAB", "BADC", "DCBA")
_SWAPS: Final = ("ABCD", "BADC")
"""Orders of what lies within one register, or runs through registers from the first on."""
_ENCODINGS: Final = ("utf-8", "ascii", "euc-kr")
_ADDRESS: Final = re.compile(
    r"((?P<unit>\d{1,3})/)?(?P<table>[a-z]+):(?P<number>\d{1,5})"
    r"(:(?P<type>\w+(-\d+)?))?(:(?P<order>\w+))?(:(?P<encoding>[\w-]+))?"
)
_BITS: Final = re.compile(r"bits?(?P<low>\d{1,2})(-(?P<high>\d{1,2}))?")
_STRING: Final = re.compile(r"string(?P<nbytes>[1-9]\d{0,2})")
_RANGE: Final = re.compile(r"(?P<table>[a-z]+):(?P<first>\d{1,5})(-(?P<last>\d{1,5}))?")
_MOST_CHARACTERS: Final = 250
_LAST_NUMBER: Final = 65_535


@dataclass(frozen=True, slots=True)
class Point:
    """Where one tag lies: `size` registers (or one bit) of `table` from `start` on.

    Attributes:
        tag: index of the tag.
        type: `bit`, a number's type, `bits` or `string`.
        order: of the bytes.
        unit: of the device on its line; None: the source's.
        bits: lowest and highest bit of a bit field.
        nbytes: characters of a string.
        encoding: of a string.
    """

    tag: int
    table: Table
    start: int
    size: int
    type: str
    order: str
    unit: int | None = None
    bits: tuple[int, int] = (0, 15)
    nbytes: int = 0
    encoding: str = ""

    @property
    def end(self) -> int:
        """The number after its last register or bit."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Block:
    """One request: `count` registers or bits of `table` from `start` on, and the points it answers."""

    table: Table
    start: int
    count: int
    points: tuple[Point, ...]
    stage: int = 0
    """0 planned, 1 read alone to find the culprit, 2 merged again without bridges, 3 alone for good."""

    @property
    def nbytes(self) -> int:
        """Length of the answer's data."""
        return (self.count + 7) // 8 if self.table in ("coil", "discrete") else self.count * 2

    @property
    def unit(self) -> int | None:
        """Of the device on its line; None: the source's."""
        return self.points[0].unit


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Numbers of a table that must not be read, not even along with others."""

    table: Table
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for: registers, bits, the registers without tag it may bridge, and never these."""

    registers: int
    bits: int
    gap: int
    forbidden: tuple[Forbidden, ...] = ()

    def of(self, table: Table) -> tuple[int, int]:
        """Longest request and widest bridge, in units of the table."""
        bits = table in ("coil", "discrete")
        return (self.bits, self.gap * 16) if bits else (self.registers, self.gap)

    def forbids(self, table: Table, start: int, end: int) -> bool:
        """Whether one of the numbers from `start` up to, not including, `end` must not be read."""
        return any(one.table == table and one.first < end and start <= one.last for one in self.forbidden)


def forbidden_of(text: str) -> Forbidden:
    """`table:first[-last]` as a range.

    Raises:
        ValueError: it is not of this form.
    """
    found = _RANGE.fullmatch(text)
    if found is None or found["table"] not in FUNCTION:
        raise ValueError(f"{text!r} is not of the form table:first[-last], e.g. holding:100-199")
    first, last = int(found["first"]), int(found["last"] or found["first"])
    if not first <= last <= _LAST_NUMBER:
        raise ValueError(f"{text!r}: the first number must not be above the last, nor that above {_LAST_NUMBER}")
    return Forbidden(cast("Table", found["table"]), first, last)


def point_of(index: int, tag: Tag, order: Order = "ABCD") -> Point:
    """The place a tag's address means; `order` is that of values of several registers that name none.

    Raises:
        ValueError: names the tag, the address and what was expected.
    """
    found = _ADDRESS.fullmatch(tag.address)
    if found is None:
        raise ValueError(
            f"tag {tag.name!r}: address {tag.address!r} is not of the form [unit/]table:number[:type[:order]], "
            "e.g. holding:0:int16 or input:10:float32:CDAB or coil:3 or 2/holding:0"
        )
    table, number = found["table"], int(found["number"])
    if table not in FUNCTION:
        raise ValueError(f"tag {tag.name!r}: table {table!r} is none of {', '.join(FUNCTION)}")
    unit = int(found["unit"]) if found["unit"] else None
    if unit is not None and unit > 255:
        raise ValueError(f"tag {tag.name!r}: unit {unit} is above 255")
    if table in ("coil", "discrete"):
        if found["type"]:
            raise ValueError(f"tag {tag.name!r}: a {table} is one bit and has no type; write {table}:{number}")
        point = Point(index, cast("Table", table), number, 1, "bit", "ABCD", unit)
    else:
        point = _in_registers(Point(index, cast("Table", table), number, 1, "uint16", "ABCD", unit), tag, found, order)
    if number + point.size - 1 > _LAST_NUMBER:
        raise ValueError(f"tag {tag.name!r}: {tag.address} ends beyond number {_LAST_NUMBER}, the last there is")
    return point


def _in_registers(point: Point, tag: Tag, found: re.Match[str], default: Order) -> Point:
    """A value of one or more registers: number, bit field or text."""
    kind, order, encoding = found["type"] or "uint16", found["order"] or "", found["encoding"]
    bits, text = _BITS.fullmatch(kind), _STRING.fullmatch(kind)
    if kind not in _DTYPE and bits is None and text is None:
        raise ValueError(f"tag {tag.name!r}: type {kind!r} is none of {', '.join(_DTYPE)}, bit3, bits4-7, string16")
    orders = ORDERS if kind in _DTYPE else _SWAPS
    if order and order not in orders:
        raise ValueError(f"tag {tag.name!r}: order {order!r} is none of {', '.join(orders)}")
    if encoding and text is None:
        raise ValueError(f"tag {tag.name!r}: only a string has an encoding, {kind} has none")
    if bits is not None:
        low, high = int(bits["low"]), int(bits["high"] or bits["low"])
        if not low <= high <= 15 or ("-" in kind) != kind.startswith("bits"):
            raise ValueError(f"tag {tag.name!r}: {kind!r} names no bits of a register; write bit0 to bit15 or bits4-7")
        return replace(point, type="bits", order=order or "ABCD", bits=(low, high))
    if text is not None:
        nbytes, encoding = int(text["nbytes"]), encoding or "utf-8"
        if encoding not in _ENCODINGS:
            raise ValueError(f"tag {tag.name!r}: encoding {encoding!r} is none of {', '.join(_ENCODINGS)}")
        if nbytes > _MOST_CHARACTERS:
            raise ValueError(f"tag {tag.name!r}: a string has at most {_MOST_CHARACTERS} bytes, the most in one answer")
        size = (nbytes + 1) // 2
        return replace(point, type="string", order=order or "ABCD", size=size, nbytes=nbytes, encoding=encoding)
    words = _WORDS[kind]
    return replace(point, type=kind, order=order or (default if words > 1 else "ABCD"), size=words)


def plan(points: Iterable[Point], limits: Limits, stage: int = 0) -> list[Block]:
    """As few requests as the limits allow, by unit, table and number."""
    blocks: list[Block] = []
    run: list[Point] = []
    end = 0
    for point in sorted(points, key=lambda p: (-1 if p.unit is None else p.unit, p.table, p.start, p.end)):
        if run:
            longest, bridge = limits.of(point.table)
            joins = (point.unit, point.table) == (run[0].unit, run[0].table) and point.start - end <= bridge
            joins = joins and not limits.forbids(point.table, end, point.start)
            if not joins or max(end, point.end) - run[0].start > longest:
                blocks.append(_block(run, end, stage))
                run, end = [], 0
        run.append(point)
        end = max(end, point.end)
    if run:
        blocks.append(_block(run, end, stage))
    return blocks


def _block(run: list[Point], end: int, stage: int) -> Block:
    return Block(run[0].table, run[0].start, end - run[0].start, tuple(run), stage)


def learn(blocks: Sequence[Block], refused: frozenset[Block], limits: Limits) -> list[Block] | None:
    """A better plan after the device refused some requests; None when there is nothing to learn.

    A refused request of several tags is read tag by tag; those that answer then are merged again, without bridges,
    and stay so; were the merged ones refused again, they are read alone for good.
    """
    changed: list[Block] = []
    good: list[Point] = []
    for block in blocks:
        if block.stage == 1 and block not in refused:
            good.extend(block.points)
        elif block.stage == 1:
            changed.extend(_alone(block.points, 3))
        elif block in refused and len(block.points) > 1:
            changed.extend(_alone(block.points, 1 if block.stage == 0 else 3))
        else:
            changed.append(block)
    if changed == list(blocks):
        return None
    return changed + plan(good, replace(limits, gap=0), 2)


def _alone(points: Iterable[Point], stage: int) -> list[Block]:
    return [_block([point], point.end, stage) for point in points]


class Decoder:
    """Turns the answers of one plan into raw numbers and texts, in tag order."""

    def __init__(self, blocks: Sequence[Block], tags: int) -> None:
        self._tags = tags
        columns: dict[str, tuple[list[int], list[list[int]]]] = {}
        fields: list[tuple[int, int, int]] = []
        self._texts: list[tuple[Point, list[int]]] = []
        base = 0
        for block in blocks:
            for point in block.points:
                if point.type == "string":
                    self._texts.append((point, _places(point, block, base)[: point.nbytes]))
                    continue
                if point.type == "bits":
                    low, high = point.bits
                    fields.append((point.tag, low, (1 << (high - low + 1)) - 1))
                dtype = ">u2" if point.type == "bits" else _DTYPE.get(point.type, "bit")
                tag, where = columns.setdefault(dtype, ([], []))
                tag.append(point.tag)
                where.append(_places(point, block, base))
            base += block.nbytes
        bits_tag, bits_where = columns.pop("bit", ([], []))
        self._bits = (np.array(bits_tag, np.intp), np.array(bits_where, np.intp).reshape(-1)) if bits_tag else None
        self._numbers = [
            (dtype, np.array(tag, np.intp), np.array(where, np.intp)) for dtype, (tag, where) in columns.items()
        ]
        self._fields = tuple(np.array(column, np.int64) for column in zip(*fields, strict=True)) if fields else None

    def decode(self, data: bytes) -> Floats:
        """Raw numbers (tags,) from the data of every block in plan order; zeros stand for one that did not answer."""
        raw: Floats = self.decode_all(data, 1)[0]
        return raw

    def decode_all(self, data: bytes, readings: int) -> Floats:
        """Raw numbers (readings, tags) from the data of as many readings, one behind the other."""
        octets = np.frombuffer(data, np.uint8).reshape(readings, -1)
        raw = np.zeros((readings, self._tags), np.float64)
        with np.errstate(all="ignore"):
            for dtype, tag, where in self._numbers:
                raw[:, tag] = octets.take(where, 1).view(dtype)[:, :, 0]
        if self._fields is not None:
            tag, low, mask = self._fields
            raw[:, tag] = (raw[:, tag].astype(np.int64) >> low) & mask
        if self._bits is not None:
            tag, place = self._bits
            raw[:, tag] = (octets.take(place >> 3, 1) >> (place & 7).astype(np.uint8)) & 1
        return raw

    def texts(self, data: bytes) -> Iterator[tuple[int, str | None]]:
        """Index and text of every string; None where the bytes are no text of its encoding."""
        for point, places in self._texts:
            said = bytes(data[place] for place in places).split(b"\0", 1)[0]
            try:
                text = said.decode(point.encoding).strip()
            except UnicodeDecodeError:
                text = None
            yield point.tag, text if text is None or text.isprintable() else None

    def integers(self) -> npt.NDArray[np.bool_]:
        """Which tags (tags,) hold a whole number of their own, not a bit field."""
        mask = np.zeros(self._tags, np.bool_)
        for dtype, tag, _ in self._numbers:
            mask[tag] = dtype[1] != "f"
        if self._fields is not None:
            mask[self._fields[0]] = False
        return mask


def _places(point: Point, block: Block, base: int) -> list[int]:
    """Byte positions of a value, most significant first; for a bit its position counted in bits."""
    at = point.start - block.start
    if point.type == "bit":
        return [base * 8 + at]
    words = [[base + 2 * (at + i), base + 2 * (at + i) + 1] for i in range(point.size)]
    if point.order in ("CDAB", "DCBA"):
        words.reverse()
    if point.order in ("BADC", "DCBA"):
        words = [[low, high] for high, low in words]
    return [place for word in words for place in word]
