"""A simulated machine as the window that its tags would fill, and what it really did.

Nothing is served and nothing waits: a simulator is a pure function of simulated time, read here as a gateway would.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

import numpy as np

from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Quality, Waveform
from simulators.faults import DISTURBANCES, Fault, Faults
from simulators.registers import parse_register
from simulators.run import MODELS, Model
from simulators.signals import BurstingMachine, Cycle, Machine, Signal

ORIGIN_NS: Final = 1_780_000_000_000_000_000
"""Simulated second 0."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """A window and the truth of it: the cycles that began and ended in it. Truth times are simulated seconds."""

    window: Window
    truth: tuple[Cycle, ...]


def to_ns(sim_s: float) -> int:
    """Wall time of a simulated second, ns UTC."""
    return ORIGIN_NS + round(sim_s * SECOND_NS)


def simulated(
    model: str | Model,
    until_s: float,
    *,
    every_s: float = 1.0,
    seed: int = 7,
    faults: Sequence[Fault] = (),
    roles: Sequence[str] = (),
    bursts: bool = False,
) -> Simulated:
    """The machine from simulated second 0 to `until_s`, read every `every_s`; all roles or the named ones.

    A machine that is not served is told as its model. With `bursts` also what it recorded fast, a burst `shot_curve` as
    role `shot.curve`.
    The faults of the process and `gap`, `stuck`, `nan`, `scale`, `spike`, `sentinel`, `counter_reset`, `bad_status`
    and `unresponsive` do to the window what they do to the line.
    """
    made = MODELS[model] if isinstance(model, str) else model
    timeline = Faults(tuple(faults), seed)
    machine = made.make(seed, timeline)
    times = np.arange(0.37 * every_s, until_s, every_s)
    rows, ended = _read(machine, times, until_s)
    series = {
        signal.role: _series(signal, made, timeline, times, [row[signal.name] for row in rows], every_s)
        for signal in made.signals
        if signal.name in rows[0] and (not roles or signal.role in roles)
    }
    cycles = tuple(cycle for cycle in ended if cycle.start_s >= every_s)
    waves = _waves(machine, until_s) if bursts else {}
    return Simulated(Window("test/plant/line/machine", to_ns(0.0), to_ns(until_s), series, waves), cycles)


def pieces(  # noqa: PLR0913  # what `simulated` takes, and how it is cut
    made: Model,
    until_s: float,
    *,
    piece_s: float,
    overlap_s: float,
    every_s: float = 1.0,
    seed: int = 7,
    faults: Sequence[Fault] = (),
    bursts: bool = False,
) -> Iterator[Window]:
    """The machine over a time too long for one window: pieces of `piece_s`, each with the end of that before it."""
    timeline = Faults(tuple(faults), seed)
    machine = made.make(seed, timeline)
    before: dict[str, Series] = {}
    waves: dict[str, tuple[Waveform, ...]] = {}
    for begin_s in np.arange(0.0, until_s, piece_s).tolist():
        end_s = min(begin_s + piece_s, until_s)
        times = np.arange(begin_s + 0.37 * every_s, end_s, every_s)
        rows = [machine.sample(t) for t in times.tolist()]
        first_ns = to_ns(max(0.0, begin_s - overlap_s))
        series = {
            signal.role: _series(signal, made, timeline, times, [row[signal.name] for row in rows], every_s)
            for signal in made.signals
            if signal.name in rows[0]
        }
        series = {role: _joined(before.get(role), one, first_ns) for role, one in series.items()}
        if bursts:
            new = _waves(machine, end_s, begin_s)
            waves = {
                role: (*(w for w in waves.get(role, ()) if w.ts_ns >= first_ns), *new.get(role, ()))
                for role in {*waves, *new}
            }
        yield Window("test/plant/line/machine", first_ns, to_ns(end_s), series, waves)
        before = series


def _joined(before: Series | None, new: Series, first_ns: int) -> Series:
    if before is None:
        return new
    kept = before.between(first_ns, 2**62)
    return Series(
        np.concatenate([kept.ts_ns, new.ts_ns]), np.concatenate([kept.value, new.value]),
        np.concatenate([kept.quality, new.quality]), new.every_s,
    )  # fmt: skip


def _read(
    machine: Machine, times: "np.ndarray[tuple[int], np.dtype[np.float64]]", until_s: float
) -> tuple[list[dict[str, float]], list[Cycle]]:
    """Rows and cycles hour by hour: a machine that was asked for what is long past makes it all again."""
    rows: list[dict[str, float]] = []
    ended: list[Cycle] = []
    for hour_s in np.arange(0.0, until_s, 3600.0).tolist():
        last_s = min(hour_s + 3600.0, until_s)
        rows += [machine.sample(t) for t in times[(times >= hour_s) & (times < last_s)].tolist()]
        ended += machine.cycles(hour_s, last_s)
    return rows, ended


def _waves(machine: Machine, until_s: float, from_s: float = 0.0) -> dict[str, tuple[Waveform, ...]]:
    found: dict[str, tuple[Waveform, ...]] = {}
    for burst in cast("BurstingMachine", machine).bursts(from_s, until_s):
        role, period_ns = burst.name.replace("_", "."), round(burst.period_s * SECOND_NS)
        wave = Waveform("test", burst.name, to_ns(burst.start_s), period_ns, burst.channels, burst.value)
        found[role] = (*found.get(role, ()), wave)
    return found


def _series(
    signal: Signal,
    model: Model,
    faults: Faults,
    times: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    values: list[float],
    every_s: float,
) -> Series:
    step = _step(signal, model)
    if not any(fault.type in DISTURBANCES for fault in faults.entries):
        plain = np.array(values, dtype=np.float64)
        ts_ns = ORIGIN_NS + np.rint(times * SECOND_NS).astype(np.int64)
        return Series.of(ts_ns, np.rint(plain / step) * step if step else plain, every_s=every_s)
    kept: list[tuple[int, float, int]] = []
    for t, value in zip(times.tolist(), values, strict=True):
        if faults.silent(t, frozenset({signal.name})):
            continue
        shown = faults.disturbed(signal, t, value, partial(_held, value))
        bad = any(f.active(t) and f.tag == signal.name and f.type in {"sentinel", "bad_status"} for f in faults.entries)
        code = Quality.BAD_SENSOR_FAILURE if bad or not math.isfinite(shown) else Quality.GOOD
        kept.append((to_ns(t), math.nan if code else (round(shown / step) * step if step else shown), code))
    columns = tuple(zip(*kept, strict=True)) or ((), (), ())
    return Series.of(columns[0], columns[1], columns[2], every_s)


def _step(signal: Signal, model: Model) -> float:
    """What the device rounds to: the scale of an integer register, or its digits."""
    if model.wire == "modbus":
        return 0.0 if parse_register(signal.address).is_float else signal.scale
    return 0.0 if signal.digits is None else 10.0**-signal.digits


def _held(value: float, _at_s: float) -> float:
    return value
