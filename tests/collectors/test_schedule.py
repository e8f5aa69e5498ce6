from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from collectors.schedule import SECOND_NS, Tick, ticks

START = 1_780_000_000 * SECOND_NS + 300_000_000


class Clocks:
    """A wall and a monotonic clock that only move when somebody sleeps or works."""

    def __init__(self) -> None:
        self.wall, self.mono = START, 5_000

    def work(self, seconds: float) -> None:
        self.wall += round(seconds * 1e9)
        self.mono += round(seconds * 1e9)

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.work(seconds)

    def ticks(self, every_s: float) -> AsyncIterator[Tick]:
        return ticks(every_s, lambda: self.wall, lambda: self.mono, self.sleep)


async def test_ticks_are_multiples_of_the_period_since_the_epoch() -> None:
    clocks = Clocks()
    source = clocks.ticks(1.0)
    got = [await anext(source) for _ in range(4)]
    assert [tick.ns for tick in got] == [1_780_000_001 * SECOND_NS + i * SECOND_NS for i in range(4)]
    assert all(tick.late == 0 for tick in got)
    assert clocks.wall == got[-1].ns


async def test_a_tick_due_during_work_is_skipped_and_counted() -> None:
    clocks = Clocks()
    source = clocks.ticks(1.0)
    first = await anext(source)
    clocks.work(2.4)
    second = await anext(source)
    assert second == Tick(first.ns + 3 * SECOND_NS, 2)
    assert (await anext(source)).late == 0


async def test_work_that_ends_exactly_on_a_tick_skips_it() -> None:
    clocks = Clocks()
    source = clocks.ticks(0.5)
    first = await anext(source)
    clocks.work(0.5)
    assert await anext(source) == Tick(first.ns + SECOND_NS, 1)


async def test_an_overslept_tick_is_stamped_with_the_newest_grid_time() -> None:
    clocks = Clocks()

    async def oversleep(seconds: float) -> None:
        clocks.work(seconds + 0.45)

    source = ticks(0.2, lambda: clocks.wall, lambda: clocks.mono, oversleep)
    tick = await anext(source)
    assert tick.late == 2
    assert 0 <= clocks.wall - tick.ns < 0.2 * SECOND_NS


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 86_400.0 * 365, -7.5])
async def test_a_stepped_wall_clock_realigns_without_late_ticks(step_s: Any) -> None:
    clocks = Clocks()
    source = clocks.ticks(1.0)
    before = await anext(source)
    clocks.wall += round(step_s * 1e9)
    after = await anext(source)
    assert after.late == 0
    assert after.ns % SECOND_NS == 0
    assert abs(after.ns - before.ns - round(step_s) * SECOND_NS) <= 2 * SECOND_NS
    assert (await anext(source)).ns == after.ns + SECOND_NS


async def test_a_step_during_a_long_sleep_is_noticed_within_seconds() -> None:
    clocks = Clocks()
    slept = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        if slept == 0.0:
            clocks.wall += 1_800 * SECOND_NS
        slept += seconds
        clocks.work(seconds)

    source = ticks(3600.0, lambda: clocks.wall, lambda: clocks.mono, sleep)
    tick = await anext(source)
    assert tick.ns % (3600 * SECOND_NS) == 0
    assert 0 <= clocks.wall - tick.ns < SECOND_NS


async def test_a_slewed_clock_is_followed() -> None:
    clocks = Clocks()
    source = clocks.ticks(1.0)
    last = await anext(source)
    for _ in range(50):
        clocks.wall += 20_000_000
        tick = await anext(source)
        assert tick == Tick(last.ns + SECOND_NS, 0)
        assert clocks.wall == tick.ns
        last = tick


@settings(deadline=None)
@given(st.lists(st.floats(0, 7.3), max_size=40), st.sampled_from([0.05, 0.2, 1.0, 2.5]))
def test_every_grid_point_is_a_tick_or_late(work: Any, every_s: Any) -> None:
    async def play() -> None:
        clocks = Clocks()
        source = clocks.ticks(every_s)
        first = await anext(source)
        counted, last = 0, first
        for seconds in work:
            clocks.work(seconds)
            last = await anext(source)
            counted += 1 + last.late
        assert last.ns - first.ns == counted * round(every_s * 1e9)

    coroutine = play()
    with pytest.raises(StopIteration):
        coroutine.send(None)
