"""State numbers of furnaces that tell none: from setpoints, temperatures, doors and elevator (section 2.2).

* A rule looks at the rows of one load at a time, so what came before does not matter.
* An opening of the door is loading when heating follows it; what came before may lie outside the window.
* What cannot be seen is not invented: a purge is part of the ramp, and unloading and loading through one opening of the
  door are told apart by the `batch` counter alone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from analytics.readings import held
from analytics.result import Bools, Floats, Ints
from analytics.window import Series, Window

UNKNOWN: Final = -1
_CLOSED, _DOOR, _TRANSFER, _QUENCH = range(4)


def runs(state: Ints) -> Ints:
    """(m, 2) first row and the row after the last of each run of one value.

    >>> runs(np.array([1, 1, 0, 2])).tolist()
    [[0, 2], [2, 3], [3, 4]]
    """
    heads = np.flatnonzero(np.append(True, np.diff(state) != 0)[: len(state)])
    return np.column_stack([heads, np.append(heads[1:], len(state))[: len(heads)]])


def sealed_quench(window: Window, names: Sequence[str], zones: Sequence[str], tolerance: float) -> Series:
    """States of a sealed quench by `names` on the rows of the first zone."""
    rows = window[zones[0]].good
    number = {name: place for place, name in enumerate(names)}
    bits = {role: held(window[role], rows.ts_ns) >= 0.5 for role in ("door1", "door2", "elevator_down")}
    coarse = np.select(
        [bits["elevator_down"], bits["door1"], bits["door2"]], [_QUENCH, _DOOR, _TRANSFER], default=_CLOSED
    )
    batch = held(window["batch"], rows.ts_ns) if "batch" in window else None
    state = np.full(len(rows), UNKNOWN, dtype=np.int64)
    before = UNKNOWN
    for first, stop in runs(coarse):
        part = slice(int(first), int(stop))
        if coarse[first] == _QUENCH:
            state[part], before = number["QUENCH"], number["QUENCH"]
        elif coarse[first] == _TRANSFER:
            state[part] = number["TRANSFER"]
        elif coarse[first] == _DOOR:
            loading = _loading(bits["door2"][part], None if batch is None else batch[part])
            state[part] = np.where(loading, number["LOAD"], number["UNLOAD"])
            before = int(state[stop - 1])
        elif before == number["QUENCH"]:
            state[part] = number["DRAIN"]
        elif before == number["LOAD"]:
            state[part] = _heating(window, rows.ts_ns[part], number, zones, tolerance)
    return Series(rows.ts_ns, np.where(state == UNKNOWN, np.nan, state), rows.quality, rows.every_s)


def _loading(door2: Bools, batch: Floats | None) -> Bools:
    """(n,) of the rows of an opening of the outer door: the next load comes in."""
    if batch is not None:
        stepped = np.flatnonzero(np.diff(batch) > 0)
        if len(stepped):
            return np.asarray(np.arange(len(door2)) > stepped[0], dtype=np.bool_)
    return np.full(len(door2), bool(door2.any()))


def _heating(window: Window, ts_ns: Ints, number: dict[str, int], zones: Sequence[str], tolerance: float) -> Ints:
    """RAMP, SOAK, BOOST, DIFFUSE and DROP_TO_QUENCH_T of one load, between its loading and its transfer."""
    setpoint = held(window[zones[0].replace("pv", "sp")], ts_ns)
    coldest = np.min([held(window[zone], ts_ns) for zone in zones], axis=0)
    reached = _first(smooth(coldest) >= setpoint - tolerance)
    highest = _last(setpoint >= np.nanmax(setpoint) - 0.5)
    place = np.arange(len(ts_ns))
    state = np.where(place < reached, number["RAMP"], number["SOAK"])
    if "atm.cp_sp" in window:
        carbon = held(window["atm.cp_sp"], ts_ns)
        boosting = (carbon >= np.nanmax(carbon) - 0.02) & (place >= reached)
        boost = _first(boosting), _last(boosting)
        if boosting.any() and np.nanmin(carbon) < np.nanmax(carbon) - 0.02:
            state[boost[0] : boost[1] + 1] = number["BOOST"]
            state[boost[1] + 1 :] = number["DIFFUSE"]
    state[np.maximum(reached, highest + 1) :] = number["DROP_TO_QUENCH_T"]
    return state


def smooth(value: Floats) -> Floats:
    """Running median over five rows; the ends as they are."""
    if len(value) < 5:
        return value
    middle = np.median(np.lib.stride_tricks.sliding_window_view(value, 5), axis=1)
    return np.concatenate([value[:2], middle, value[-2:]])


def _first(flags: Bools) -> int:
    return int(np.argmax(flags)) if flags.any() else len(flags)


def _last(flags: Bools) -> int:
    return len(flags) - 1 - int(np.argmax(flags[::-1])) if flags.any() else len(flags)


def batch(window: Window, names: Sequence[str], tolerance: float, off_below: float, cold: float) -> Series:
    """States LOAD, RAMP (HEAT), SOAK, COOL (QUENCH), UNLOAD and IDLE by setpoint, temperature and door.

    The setpoint is on above `off_below`; the charge has cooled below `cold`; all in Cel.
    """
    rows = window["zone1.pv"].good
    number = {name: place for place, name in enumerate(names)}
    setpoint = held(window["zone1.sp"], rows.ts_ns)
    door = held(window["door1"], rows.ts_ns) >= 0.5 if "door1" in window else np.zeros(len(rows), dtype=np.bool_)
    counter = held(window["batch"], rows.ts_ns) if "batch" in window else None
    value = smooth(rows.value)
    coarse = np.select([door, setpoint > off_below], [_DOOR, _TRANSFER], default=_CLOSED)
    state = np.full(len(rows), UNKNOWN, dtype=np.int64)
    spans = runs(coarse)
    before = UNKNOWN
    for place, (first, stop) in enumerate(spans):
        part = slice(int(first), int(stop))
        following = coarse[spans[place + 1][0]] if place + 1 < len(spans) else UNKNOWN
        if coarse[first] == _TRANSFER:
            state[part] = _hot(value[part], setpoint[part], number, tolerance)
        elif coarse[first] == _DOOR:
            loading = np.full(stop - first, following == _TRANSFER)
            if counter is not None and (np.diff(counter[part]) > 0).any():
                loading = _loading(door[part], counter[part])
            state[part] = np.where(loading, number["LOAD"], number["UNLOAD"])
            state[part] = UNKNOWN if following == UNKNOWN else state[part]
            if place and before == UNKNOWN and state[first] == number["LOAD"]:
                state[slice(*spans[place - 1])] = number["IDLE"]
        elif before in (number["SOAK"], number["RAMP"], number["COOL"]):
            cooling = np.arange(stop - first) < _first(value[part] < cold)
            state[part] = np.where(cooling, number["COOL"], number["IDLE"])
        elif before != UNKNOWN:
            state[part] = number["IDLE"]
        before = int(state[stop - 1])
    return Series(rows.ts_ns, np.where(state == UNKNOWN, np.nan, state), rows.quality, rows.every_s)


def _hot(value: Floats, setpoint: Floats, number: dict[str, int], tolerance: float) -> Ints:
    """RAMP until the setpoint is reached, SOAK until it falls, COOL from there."""
    highest = np.nanmax(setpoint)
    place = np.arange(len(value))
    state = np.where(place < _first(value >= highest - tolerance), number["RAMP"], number["SOAK"])
    state[_last(setpoint >= highest - 0.5) + 1 :] = number["COOL"]
    return state
