"""The one retry there is, and how a process ends."""

import asyncio
import itertools
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from pipeline import service
from pipeline.errors import BadData, ConfigError, Unavailable
from pipeline.service import FIRST_WAIT_S, GOOD_S, keep

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    return clock


class Enough(Exception):
    """Ends a loop that never ends."""


def failing(clock: Clock, lives: list[float | None]) -> Callable[[], Awaitable[None]]:
    """Attempts that live so many seconds and fail; None: one that returns."""
    left = list(lives)

    async def attempt() -> None:
        if not left:
            raise Enough
        life = left.pop(0)
        if life is not None:
            clock.now += life
            raise Unavailable("no answer")

    return attempt


async def test_waits_double_up_to_the_longest(clock: Clock) -> None:
    with pytest.raises(Enough):
        await keep("bus", failing(clock, [0.0] * 7), longest_wait_s=4.0)
    assert clock.slept == [FIRST_WAIT_S, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


async def test_wait_starts_small_again_after_a_good_minute(clock: Clock) -> None:
    with pytest.raises(Enough):
        await keep("bus", failing(clock, [0.0, 0.0, 0.0, GOOD_S, 0.0]))
    assert clock.slept == [FIRST_WAIT_S, 0.5, 1.0, FIRST_WAIT_S, 0.5]


async def test_attempt_that_returns_is_tried_again_soon(clock: Clock) -> None:
    with pytest.raises(Enough):
        await keep("bus", failing(clock, [0.0, 0.0, None, 0.0]))
    assert clock.slept == [FIRST_WAIT_S, 0.5, FIRST_WAIT_S, 0.5]


async def test_absence_is_logged_and_told_once_and_again_after_a_good_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    async def on_down(error: Unavailable) -> None:
        told.append(str(error))

    with caplog.at_level(logging.INFO, "pipeline.service"), pytest.raises(Enough):
        await keep("bus", failing(clock, [0.0, 0.0, 0.0, GOOD_S + 1, 0.0]), on_down=on_down)
    assert [record.getMessage() for record in caplog.records] == ["unavailable what=bus cause=no answer"] * 2
    assert told == ["no answer"] * 2


@pytest.mark.parametrize("error", [ConfigError("x"), BadData("x"), ValueError("x")])
async def test_everything_but_unavailable_passes(error: Exception, clock: Clock) -> None:
    async def attempt() -> None:
        raise error

    with pytest.raises(type(error)):
        await keep("bus", attempt)
    assert clock.slept == []


async def test_jitter_stays_within_a_quarter(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return 1.0

    monkeypatch.setattr(random, "uniform", uniform)
    with pytest.raises(Enough):
        await keep("bus", failing(clock, [0.0]))
    assert asked == [(0.75, 1.25)]


PROGRAM = """
import asyncio, logging, sys
from pipeline import service
from pipeline.errors import BadData, ConfigError, Unavailable

service.STOP_S = 0.6

async def sleeps():
    print("ready", flush=True)
    await asyncio.sleep(100)

async def unwinds():
    try:
        await sleeps()
    finally:
        print("unwinding", flush=True)
        await asyncio.sleep(0.2)
        print("done", flush=True)

async def hangs():
    try:
        await sleeps()
    finally:
        while True:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                pass

async def loses_the_first_cancellation():
    try:
        await sleeps()
    except asyncio.CancelledError:
        await asyncio.sleep(100)

async def raises(error):
    async with asyncio.TaskGroup() as tasks:
        async def inner():
            raise error
        tasks.create_task(inner())

async def returns():
    pass

async def blocks():
    import time
    await asyncio.sleep(0.5)
    time.sleep(1.0)
    await asyncio.sleep(100)

sys.exit(service.run(lambda: eval(sys.argv[1])))
"""


def run(call: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, call]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False)


def stopped(call: str, *signals: signal.Signals) -> tuple[int, str, float]:
    """Exit code, output, seconds from the first signal to the end."""
    command = [sys.executable, "-c", PROGRAM, call]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)  # two signals that arrive as one would be one
        said = process.stdout.read()
        return process.wait(timeout=20), said, time.monotonic() - began


def test_ending_by_itself_is_exit_code_0() -> None:
    assert run("returns()").returncode == 0


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        ("raises(ConfigError('bus.port: wrong'))", 78, "rootdx: bus.port: wrong\n"),
        ("raises(Unavailable('spool: disk full'))", 1, "rootdx: spool: disk full\n"),
    ],
)
def test_foreseen_end_is_one_sentence(call: str, code: int, said: str) -> None:
    done = run(call)
    assert (done.returncode, done.stderr) == (code, said)


def test_bug_is_exit_code_1_with_its_trace() -> None:
    done = run("raises(ValueError('a bug'))")
    assert done.returncode == 1
    assert "ValueError: a bug" in done.stderr
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_with_exit_code_0(number: signal.Signals) -> None:
    assert stopped("sleeps()", number)[0] == 0


def test_second_signal_does_not_cut_the_unwinding_short() -> None:
    code, said, _ = stopped("unwinds()", signal.SIGTERM, signal.SIGTERM)
    assert (code, said) == (0, "unwinding\ndone\n")


def test_cancellation_that_got_lost_is_repeated() -> None:
    code, _, seconds = stopped("loses_the_first_cancellation()", signal.SIGTERM)
    assert code == 0
    assert 0.2 < seconds < 5


def test_unwinding_that_hangs_is_ended() -> None:
    code, _, seconds = stopped("hangs()", signal.SIGTERM)
    assert code == 1
    assert 0.4 < seconds < 5


def test_wall_clock_is_nanoseconds() -> None:
    assert abs(service.wall_ns() / 1e9 - time.time()) < 1


async def test_what_is_away_comes_out_of_a_group_as_itself() -> None:
    """On Python before 3.11.4 raising inside `except*` wraps it, and the retry would not know it."""
    ended = asyncio.Event()

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        raise Unavailable("broker: gone")

    with pytest.raises(Unavailable, match="broker: gone"):
        await service.together(works=works(), fails=fails())
    assert ended.is_set()


async def test_a_bug_in_a_group_is_not_taken_for_something_away() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        await service.together(fails=fails())
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(10)
        yield link


def notified(systemd: socket.socket, call: str, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "NOTIFY_SOCKET": str(systemd.getsockname()), **more}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, call], stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True
    )


def test_systemd_is_told_of_the_beginning_and_the_end(systemd: socket.socket) -> None:
    with notified(systemd, "sleeps()") as process:
        assert systemd.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert systemd.recv(100) == b"STOPPING=1"
        assert process.wait(20) == 0


def test_the_loop_gives_a_sign_of_life_and_a_loop_that_hangs_none(systemd: socket.socket) -> None:
    """The time between signs is the loop's own, so it is waited for."""
    with notified(systemd, "blocks()", WATCHDOG_USEC="300000") as process:
        assert systemd.recv(100) == b"READY=1"
        times = []
        for _ in range(8):
            assert systemd.recv(100) == b"WATCHDOG=1"
            times.append(time.monotonic())
        process.kill()
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert sorted(gaps)[len(gaps) // 2] < 0.3
    assert max(gaps) > 0.9


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_a_watchdog_is_fed_when_it_is_ours(
    environment: dict[str, str], expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert service.watchdog_s() == expected


@pytest.mark.parametrize("place", ["", "nonsense", "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_to_tell_is_no_error(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    service.tell_systemd("READY=1")
    assert os.environ["NOTIFY_SOCKET"] == place
