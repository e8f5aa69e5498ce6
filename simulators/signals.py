"""What a machine offers: its signals, its failures, its cycles.

- A machine is a pure function of (seed, faults, simulated time): `sample` may be asked for any time in any order.
- `sample` gives every signal in engineering units before quantisation; the server that carries it rounds it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Wire = Literal["modbus", "opcua", "mqtt"]
Kind = Literal["double", "int32", "uint32", "bool"]

SCAN_COUNTER = "scan_counter"
"""The tag a Modbus server fills itself: how many read requests have touched it."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One tag: its engineering range is [low, high] in `unit` (UCUM).

    `address` is spelled as in the machine file. `scale` and `offset` are the device's: value = raw * scale + offset.
    `digits` rounds what has no registers (OPC UA, MQTT); `kind` is its OPC UA type. A `counter` only ever grows.
    """

    name: str
    role: str
    unit: str
    low: float
    high: float
    address: str
    scale: float = 1.0
    offset: float = 0.0
    counter: bool = False
    digits: int | None = None
    kind: Kind = "double"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of the process: `tags[0]` shows it first, a fault file may name another of `tags`."""

    name: str
    tags: tuple[str, ...]
    magnitude: float
    text: str


@dataclass(frozen=True, slots=True)
class Phase:
    """A named part of a cycle, [start_s, end_s) in simulated seconds."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Cycle:
    """One shot, load, seam or rack as it really was; `features` in the units of the tags of the same name."""

    number: int
    start_s: float
    end_s: float
    phases: tuple[Phase, ...]
    features: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Burst:
    """A waveform of one cycle: `value` is (n, k) in the units of its channels, the first row at `start_s`."""

    name: str
    start_s: float
    period_s: float
    channels: tuple[str, ...]
    value: npt.NDArray[np.float32]


class Machine(Protocol):
    """A machine behind any protocol."""

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal (but the scan counter) at a simulated time, in engineering units."""
        ...

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Cycles that end in (after_s, until_s], in order of their ends."""
        ...


class BurstingMachine(Machine, Protocol):
    """A machine that also records fast signals, during its cycles alone."""

    def bursts(self, after_s: float, until_s: float) -> Iterator[Burst]:
        """Bursts of the cycles that end in (after_s, until_s], in order."""
        ...


def phase_at(phases: tuple[Phase, ...], t_s: float) -> Phase:
    """The phase that holds `t_s`; the last one after the end."""
    return next((phase for phase in phases if t_s < phase.end_s), phases[-1])


def lay_out(start_s: float, durations: Mapping[str, float]) -> tuple[Phase, ...]:
    """Phases one after the other from their durations in seconds."""
    phases = []
    for name, duration_s in durations.items():
        phases.append(Phase(name, start_s, start_s + duration_s))
        start_s += duration_s
    return tuple(phases)
