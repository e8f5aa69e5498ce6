"""Columns as frames of pandas or polars: aware times, numbers as numbers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

Frame = Any
"""A frame of pandas or of polars."""
Columns = dict[str, Any]
"""Lists or arrays of one length, by name; times are aware datetimes, `time` is int64 ns UTC."""


def pandas_frame(columns: Columns, index: str | None, zone: ZoneInfo, units: Mapping[str, str]) -> Frame:
    """Columns as a frame of pandas, `index` as its index of time, units in `attrs`."""
    import pandas as pd  # noqa: PLC0415  # an extra

    frame = pd.DataFrame({
        name: pd.to_datetime(values, unit="ns", utc=True).tz_convert(zone) if name == index
        else pd.to_datetime(pd.Series(values), utc=True).dt.tz_convert(zone) if _are_times(values)
        else values
        for name, values in columns.items()
    })  # fmt: skip
    frame = frame if index is None else frame.set_index(index)
    frame.attrs["units"] = dict(units)
    return frame


def polars_frame(columns: Columns, zone: ZoneInfo) -> Frame:
    """Columns as a frame of polars; `time` in ns."""
    import polars as pl  # noqa: PLC0415  # an extra

    made = {}
    for name, values in columns.items():
        if name == "time" and isinstance(values, np.ndarray):
            made[name] = pl.Series(name, values).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone.key)
        elif _are_times(values):
            made[name] = pl.Series(name, values, dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone(zone.key)
        else:
            made[name] = pl.Series(name, values, strict=False)
    return pl.DataFrame(made)


def feature_columns(sets: Sequence[Sequence[str] | None], values: Sequence[Sequence[float | None] | None]) -> Columns:
    """A column of every feature that one of the cycles has, NaN where a cycle has none."""
    names = list(dict.fromkeys(name for some in sets for name in some or ()))
    made = {name: np.full(len(sets), np.nan) for name in names}
    for row, (some, numbers) in enumerate(zip(sets, values, strict=True)):
        for name, number in zip(some or (), numbers or (), strict=True):
            made[name][row] = np.nan if number is None else number
    return made


def _are_times(values: Any) -> bool:
    return isinstance(values, list) and any(isinstance(one, datetime) for one in values[:50])
