"""Lags, thermal masses and noise: signals as pure functions of (seed, time).

- The same seed and time give the same value, whatever was asked before, how often or in which order.
- Noise is a hash of (seed, signal, quantised time); there is no generator whose state could run away.
- What depends on the past is carried from cycle to cycle by `Timeline`, which rebuilds itself when asked for an
  earlier time than it still holds.
"""

import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from statistics import NormalDist
from typing import Generic, Protocol, TypeVar

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_NORMAL = NormalDist()


@lru_cache(maxsize=4096)
def _signal_key(signal: str) -> int:
    return zlib.crc32(signal.encode())


def _mix(value: int) -> int:
    """Splitmix64's finaliser: every input bit reaches every output bit."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Noise:
    """Noise of one machine; `every_s` is how long one draw holds."""

    def __init__(self, seed: int) -> None:
        self._seed = _mix((seed * _GOLDEN + 1) & _MASK)

    def uniform(self, signal: str, t_s: float, every_s: float = 0.1) -> float:
        """A draw from the open interval (0, 1)."""
        # The millionth keeps 0.1 s * 3 and 0.3 s in the same quantum.
        quantum = math.floor(t_s / every_s + 1e-6)
        mixed = _mix((self._seed ^ (_signal_key(signal) << 32)) + (quantum * _GOLDEN) & _MASK)
        return ((_mix(mixed) >> 11) + 0.5) * 2.0**-53

    def normal(self, signal: str, t_s: float, sigma: float = 1.0, every_s: float = 0.1) -> float:
        """A draw from N(0, sigma), in the unit of sigma."""
        return sigma * _NORMAL.inv_cdf(self.uniform(signal, t_s, every_s))


def relax(start: float, target: float, elapsed_s: float, tau_s: float) -> float:
    """First-order lag: where `start` is after `elapsed_s` on its way to `target`."""
    return target + (start - target) * math.exp(-elapsed_s / tau_s)


def ramp(t_s: float, start_s: float, end_s: float) -> float:
    """0 before `start_s`, 1 after `end_s`, linear between."""
    if end_s <= start_s:
        return 1.0 if t_s >= start_s else 0.0
    return min(1.0, max(0.0, (t_s - start_s) / (end_s - start_s)))


class Span(Protocol):
    """Anything with a number and a beginning and an end in simulated seconds."""

    @property
    def number(self) -> int:
        """1 for the first."""
        ...

    @property
    def start_s(self) -> float:
        """Begin, in simulated seconds."""
        ...

    @property
    def end_s(self) -> float:
        """Begin of the next."""
        ...


SpanT = TypeVar("SpanT", bound=Span)


class Timeline(Generic[SpanT]):
    """Consecutive cycles, made when asked for, at most `keep` of them held.

    `following` gets a cycle and returns the next; it must depend on nothing else that changes.
    """

    def __init__(self, first: Callable[[], SpanT], following: Callable[[SpanT], SpanT], keep: int = 64) -> None:
        self._first = first
        self._following = following
        self._held: deque[SpanT] = deque((first(),), maxlen=keep)

    def at(self, t_s: float) -> SpanT:
        """The cycle that has begun last at `t_s`; the first one before the first begins."""
        self._reach(lambda newest: newest.end_s > t_s, lambda oldest: oldest.start_s <= t_s)
        return next((cycle for cycle in reversed(self._held) if cycle.start_s <= t_s), self._held[0])

    def number(self, number: int) -> SpanT:
        """The cycle of that number, the first one's or later."""
        self._reach(lambda newest: newest.number >= number, lambda oldest: oldest.number <= number)
        return next(cycle for cycle in self._held if cycle.number == number)

    def completed(self, after_s: float, until_s: float) -> Iterator[SpanT]:
        """Cycles that end in (after_s, until_s], in order."""
        cycle = self.at(after_s)
        while cycle.end_s <= until_s:
            if cycle.end_s > after_s:
                yield cycle
            cycle = self.number(cycle.number + 1)

    def _reach(self, far_enough: Callable[[SpanT], bool], not_too_far: Callable[[SpanT], bool]) -> None:
        if not not_too_far(self._held[0]):
            self._held.clear()
            self._held.append(self._first())
        while not far_enough(self._held[-1]):
            self._held.append(self._following(self._held[-1]))
