"""A clock the test moves."""

from collections.abc import Callable

import pytest

from simulators.clock import SimClock


class Now:
    """Simulated seconds since a fixed instant of wall time."""

    def __init__(self, now_s: float) -> None:
        self._origin_ns = 1_700_000_000_000_000_000
        self._now_ns = 0
        self.set_s(now_s)
        self.clock = SimClock(lambda: self._now_ns, self._origin_ns)

    def set_s(self, now_s: float) -> None:
        self._now_ns = self._origin_ns + round(now_s * 1e9)


@pytest.fixture
def clock_at() -> Callable[[float], Now]:
    return Now
