"""A device's clock deceives nobody for longer than a minute. Pure; how protocols use it is tested with them."""

import itertools

import pytest

from collectors.bursts import plausible
from collectors.device_clock import Allowance, DeviceClock
from pipeline.model import EARLIEST_NS, Phase

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
NOW = 1_780_000_000 * SECOND


def clock(**allowance: float) -> DeviceClock:
    return DeviceClock("a", Allowance(**allowance))


@pytest.mark.parametrize("offset", [9 * HOUR, 23 * HOUR, HOUR, 301 * SECOND, -8 * DAY, EARLIEST_NS - NOW, -NOW])
def test_a_wrong_clock_is_not_believed_even_once(offset: int) -> None:
    device = clock()
    assert not device.believed(NOW + offset, NOW)
    (raised,) = device.events(NOW)
    assert (raised.phase, raised.data["offset_s"]) == (Phase.RAISED, offset / SECOND)


@pytest.mark.parametrize("behind", [9 * HOUR, 301 * SECOND, 3 * DAY])
def test_a_clock_that_stays_behind_is_not_believed_after_a_minute(behind: int) -> None:
    device = clock()
    for second in range(0, 200, 7):
        now = NOW + second * SECOND
        jitter = (second * 37 % 10) * SECOND // 20
        assert device.believed(now - behind - jitter, now) is (second < 70)  # the first after two windows of 30 s
    assert [event.phase for event in device.events(NOW)] == [Phase.RAISED]


@pytest.mark.parametrize("speed", [1.2, 10.0, 5000.0])
def test_a_backlog_that_is_caught_up_with_is_believed_to_its_end(speed: float) -> None:
    device, began = clock(), NOW - 20 * 60 * SECOND
    for second in itertools.count(0, 5):
        now = NOW + second * SECOND
        said = min(now, began + round(second * speed * SECOND))
        assert device.believed(said, now)
        if said == now:
            break
    assert device.events(NOW) == []


def test_several_backlogs_one_after_the_other_are_no_wrong_clock() -> None:
    device = clock()
    for second in range(0, 600, 5):
        into = second % 200
        assert device.believed(NOW - 2 * DAY + into * 600 * SECOND, NOW + second * SECOND)


def test_what_is_older_than_anybody_keeps_it_is_not_believed_and_the_rest_is() -> None:
    device = clock(backlog_s=86_400.0)
    said = [device.believed(NOW - 2 * DAY + i * HOUR, NOW + i * 10 * SECOND) for i in range(48)]
    assert not any(said[:24])
    assert all(said[36:])


def test_what_is_known_to_be_old_is_believed_and_tells_nothing_of_the_clock() -> None:
    device = clock()
    assert device.believed(NOW - 400 * DAY, NOW, kept=True)
    assert not device.believed(EARLIEST_NS + 30 * SECOND, NOW, kept=True)
    assert device.events(NOW) == []
    assert not device.believed(NOW + HOUR, NOW, kept=True)  # but for what is still to come
    assert [event.phase for event in device.events(NOW)] == [Phase.RAISED]


def test_two_devices_behind_one_source_do_not_make_the_event_come_and_go() -> None:
    device, told = clock(), []
    for second in range(300):
        now = NOW + second * SECOND
        assert device.believed(now, now)
        if second < 100:
            assert not device.believed(now + 9 * HOUR, now)
        told += device.events(now)
    assert [event.phase for event in told] == [Phase.RAISED, Phase.CLEARED]
    assert told[0].id == told[1].id
    assert told[1].ts_ns - NOW == (99 + 60) * SECOND


def test_the_event_goes_on_over_a_restart() -> None:
    first = clock()
    first.believed(0, NOW)
    (raised,) = first.events(NOW)
    second = DeviceClock("a", Allowance(), first.onset_ns)
    assert not second.believed(0, NOW + SECOND)
    assert second.events(NOW + SECOND) == []
    assert second.believed(NOW + 90 * SECOND, NOW + 90 * SECOND)
    assert [event.id for event in second.events(NOW)] == [raised.id]


def test_clocks_without_a_battery_begin_where_nothing_is_plausible() -> None:
    assert not plausible(EARLIEST_NS, NOW)
    assert not plausible(EARLIEST_NS + 200 * DAY, NOW)
    assert plausible(NOW - 20 * 365 * DAY, NOW)
