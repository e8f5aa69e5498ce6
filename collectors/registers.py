"""Modbus addresses to requests, and the answers' bytes to numbers. Pure: no network, no clock.

* An address is `table:number[:type[:order]]`, the number counted from 0 as on the wire.
* A plan reads every value in exactly one request, never splits a value and never exceeds the device's limits.
* Decoding is one gather of byte positions a type, computed when the plan is made; no Python object a value.

    order of a value A B C D (A most significant)      as the registers hold it
    ABCD  most significant word first (default)        AB CD
    CDAB  words reversed                               CD AB
    BADC  bytes swapped in each word                   BA DC
    DCBA  all bytes reversed                           DC BA
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import numpy as np
import numpy.typing as npt

from pipeline.model import Floats
from pipeline.plant import Tag

Table = Literal["coil", "discrete", "holding", "input"]

FUNCTION: Final[dict[Table, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""Function code that reads a table."""
_DTYPE: Final = {"int16": ">i2", "uint16": ">u2", "int32": ">i4", "uint32": ">u4", "float32": ">f4", "float64": ">f8"}
_WORDS: Final = {name: int(dtype[-1]) // 2 for name, dtype in _DTYPE.items()}
_ORDERS: Final = ("ABCD", "CDAB", "BADC", "DCBA")
_ADDRESS: Final = re.compile(r"(?P<table>[a-z]+):(?P<number>\d{1,5})(:(?P<type>\w+))?(:(?P<order>\w+))?")
_LAST_NUMBER: Final = 65_535


@dataclass(frozen=True, slots=True)
class Point:
    """Where one tag lies: `size` registers (or one bit) of `table` from `start` on."""

    tag: int
    table: Table
    start: int
    size: int
    type: str
    order: str

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


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for: registers, bits, and the registers without tag it may bridge."""

    registers: int
    bits: int
    gap: int

    def of(self, table: Table) -> tuple[int, int]:
        """Longest request and widest bridge, in units of the table."""
        bits = table in ("coil", "discrete")
        return (self.bits, self.gap * 16) if bits else (self.registers, self.gap)


def point_of(index: int, tag: Tag) -> Point:
    """The place a tag's address means.

    Raises:
        ValueError: names the tag, the address and what was expected.
    """
    found = _ADDRESS.fullmatch(tag.address)
    if found is None:
        raise ValueError(
            f"tag {tag.name!r}: address {tag.address!r} is not of the form table:number[:type[:order]], "
            "e.g. holding:0:int16 or input:10:float32:CDAB or coil:3"
        )
    table, number = found["table"], int(found["number"])
    if table not in FUNCTION:
        raise ValueError(f"tag {tag.name!r}: table {table!r} is none of {', '.join(FUNCTION)}")
    if table in ("coil", "discrete"):
        if found["type"]:
            raise ValueError(f"tag {tag.name!r}: a {table} is one bit and has no type; write {table}:{number}")
        kind, order, size = "bit", "ABCD", 1
    else:
        kind, order = found["type"] or "uint16", found["order"] or "ABCD"
        if kind not in _DTYPE:
            raise ValueError(f"tag {tag.name!r}: type {kind!r} is none of {', '.join(_DTYPE)}")
        if order not in _ORDERS:
            raise ValueError(f"tag {tag.name!r}: order {order!r} is none of {', '.join(_ORDERS)}")
        size = _WORDS[kind]
    if number + size - 1 > _LAST_NUMBER:
        raise ValueError(f"tag {tag.name!r}: {tag.address} ends beyond number {_LAST_NUMBER}, the last there is")
    return Point(index, cast("Table", table), number, size, kind, order)


def plan(points: Iterable[Point], limits: Limits, stage: int = 0) -> list[Block]:
    """As few requests as the limits allow, by table and number."""
    blocks: list[Block] = []
    run: list[Point] = []
    end = 0
    for point in sorted(points, key=lambda p: (p.table, p.start, p.end)):
        if run:
            longest, bridge = limits.of(point.table)
            joins = point.table == run[0].table and point.start - end <= bridge
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
    return changed + plan(good, Limits(limits.registers, limits.bits, 0), 2)


def _alone(points: Iterable[Point], stage: int) -> list[Block]:
    return [_block([point], point.end, stage) for point in points]


class Decoder:
    """Turns the answers of one plan into raw numbers, in tag order."""

    def __init__(self, blocks: Sequence[Block], tags: int) -> None:
        self._tags = tags
        self.nbytes = sum(block.nbytes for block in blocks)
        columns: dict[str, tuple[list[int], list[list[int]]]] = {}
        base = 0
        for block in blocks:
            for point in block.points:
                tag, where = columns.setdefault(_DTYPE.get(point.type, "bit"), ([], []))
                tag.append(point.tag)
                where.append(_places(point, block, base))
            base += block.nbytes
        bits_tag, bits_where = columns.pop("bit", ([], []))
        self._bits = (np.array(bits_tag, np.intp), np.array(bits_where, np.intp).reshape(-1)) if bits_tag else None
        self._numbers = [
            (dtype, np.array(tag, np.intp), np.array(where, np.intp)) for dtype, (tag, where) in columns.items()
        ]

    def decode(self, answers: Sequence[bytes]) -> Floats:
        """Raw numbers (tags,) from the data of every block in plan order; zeros stand for one that did not answer."""
        data = np.frombuffer(b"".join(answers), np.uint8)
        raw = np.zeros(self._tags, np.float64)
        with np.errstate(all="ignore"):
            for dtype, tag, where in self._numbers:
                raw[tag] = data[where].view(dtype)[:, 0]
        if self._bits is not None:
            tag, place = self._bits
            raw[tag] = (data[place >> 3] >> (place & 7).astype(np.uint8)) & 1
        return raw

    def integers(self) -> npt.NDArray[np.bool_]:
        """Which tags (tags,) hold an integer type."""
        mask = np.zeros(self._tags, np.bool_)
        for dtype, tag, _ in self._numbers:
            mask[tag] = dtype[1] != "f"
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
