"""What a payload says: at a path of JSON, as plain text, in its bytes; and times as devices write them."""

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, Literal

import numpy as np

TimeUnit = Literal["s", "ms", "us", "ns", "iso"]
NOTHING: Final = object()
"""What `walk` finds where there is nothing."""
_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = {
    "point": re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII),
    "comma": re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d{1,3})?", re.ASCII),
}
_DIGITS: Final = 20
_LONGEST: Final = 64
"""Characters of a number."""


def walk(value: Any, path: Sequence[str]) -> Any:
    """What lies at a path, or NOTHING."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, NOTHING)
        elif isinstance(value, list) and step.isdecimal() and len(step) < 10 and int(step) < len(value):
            value = value[int(step)]
        else:
            return NOTHING
    return value


@dataclass(frozen=True, slots=True)
class Stamps:
    """How a device writes its time: where, in which unit, and in which zone where a text does not say."""

    path: str | None
    unit: TimeUnit
    zone: tzinfo = UTC


def time_of(said: Any, unit: TimeUnit, zone: tzinfo = UTC) -> int | None:
    """A device's time in nanoseconds, None where it is none; a text is ISO 8601 whatever the unit.

    Floats keep microseconds; a text of digits alone is a number, unless the unit is `iso`.
    """
    if isinstance(said, str):
        if unit != "iso" and said.isdecimal() and len(said) <= _DIGITS:
            return int(said) * _NS[unit]
        try:
            then = datetime.fromisoformat(said)
            aware = then if then.tzinfo else then.replace(tzinfo=zone)
            return (aware - _EPOCH) // timedelta(microseconds=1) * 1000
        except (ValueError, OverflowError):
            return None
    if unit == "iso" or isinstance(said, bool) or not isinstance(said, int | float):
        return None
    if isinstance(said, int):
        return said * _NS[unit]
    us = said * (_NS[unit] / 1000)
    return round(us) * 1000 if np.isfinite(us) else None


def number_of(text: str, decimal: str) -> float | None:
    """A number written with a decimal point or comma, None where it is none.

    Groups of thousands are refused: 1,250 would be another number in the next country.

    >>> number_of(" 25,4 ", "comma"), number_of("-1e3", "point"), number_of("25,4", "point")
    (25.4, -1000.0, None)
    """
    text = text.strip()
    if len(text) > _LONGEST or not _NUMBER[decimal].fullmatch(text):
        return None
    return float(text.replace(",", "."))


def unpacked(payload: bytes, field: tuple[struct.Struct, int]) -> int | float | None:
    """The number at a place of the bytes, None where they end before it."""
    layout, at = field
    if len(payload) < at + layout.size:
        return None
    said: int | float = layout.unpack_from(payload, at)[0]
    return said
