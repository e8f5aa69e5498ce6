"""Simulated seconds and wall nanoseconds, one line through both.

- Simulated second `start_s` is the wall instant `origin_ns`; from there simulated time runs `speed` times as fast.
- Every stamp a device sends and every time in the truth file is wall time, so they compare with a collector's.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimClock:
    """The device's clock: `wall` gives ns UTC, `speed` is simulated seconds per wall second."""

    wall: Callable[[], int]
    origin_ns: int
    speed: float = 1.0
    start_s: float = 0.0

    def now_s(self) -> float:
        """Simulated time now, in seconds."""
        return self.sim_s(self.wall())

    def sim_s(self, wall_ns: int) -> float:
        """Simulated time, in seconds, of a wall instant in ns UTC."""
        return self.start_s + (wall_ns - self.origin_ns) * 1e-9 * self.speed

    def wall_ns(self, sim_s: float) -> int:
        """Wall instant, in ns UTC, of a simulated time in seconds."""
        return self.origin_ns + round((sim_s - self.start_s) / self.speed * 1e9)
