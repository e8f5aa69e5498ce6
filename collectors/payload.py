"""What a JSON payload says at a path, and times as devices write them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np

TimeUnit = Literal["s", "ms", "us", "ns", "iso"]
NOTHING: Final = object()
"""What `walk` finds where there is nothing."""
_NS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def walk(value: Any, path: Sequence[str]) -> Any:
    """What lies at a path, or NOTHING."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, NOTHING)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return NOTHING
    return value


def time_of(said: Any, unit: TimeUnit) -> int | None:
    """A device's time in nanoseconds, None where it is none; floats keep microseconds."""
    if unit == "iso":
        try:
            then = datetime.fromisoformat(said)
        except (TypeError, ValueError):
            return None
        aware = then if then.tzinfo else then.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1) * 1000
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    if isinstance(said, int):
        return said * _NS[unit]
    us = said * (_NS[unit] / 1000)
    return round(us) * 1000 if np.isfinite(us) else None
