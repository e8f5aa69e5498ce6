"""A process: logging, signals, exit codes; and the only retry there is.

* `main` runs one coroutine to its end; SIGTERM and SIGINT cancel it once, and it has `STOP_S` to unwind.
* Exit code 0 after a stop, 78 after a ConfigError (nobody should retry), 1 after a bug.
* `keep` is the only place that retries `Unavailable`: exponential, jittered, reset after a good minute.
* systemd is told when the process is up and when it stops, and is given a sign of life by the event loop itself: where
  it asks for one (WatchdogSec=), a loop that hangs is restarted, and one that only waits for a device is not.
"""

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final, NoReturn

import uvloop

from pipeline.errors import EXIT_CONFIG, ConfigError, Unavailable

log = logging.getLogger(__name__)

STOP_S: Final = 20.0
"""Seconds a process may take to unwind after a signal."""
FIRST_WAIT_S: Final = 0.25
LONGEST_WAIT_S: Final = 15.0
GOOD_S: Final = 60.0
"""After this long without failure the wait starts small again."""


def wall_ns() -> int:
    """The wall clock; the one place that reads it."""
    return time.time_ns()


async def keep(
    name: str,
    attempt: Callable[[], Awaitable[None]],
    *,
    longest_wait_s: float = LONGEST_WAIT_S,
    on_down: Callable[[Unavailable], Awaitable[None]] | None = None,
) -> NoReturn:
    """Runs `attempt` again and again while it raises `Unavailable` (or returns); everything else passes through.

    Logs the transition, not every try. `on_down` is told of the first failure after a good attempt.
    """
    wait_s, failing_since = FIRST_WAIT_S, 0.0
    while True:
        started = time.monotonic()
        try:
            await attempt()
        except Unavailable as error:
            good = time.monotonic() - started >= GOOD_S
            if failing_since == 0.0 or good:
                failing_since = time.monotonic()
                log.warning("unavailable what=%s cause=%s", name, error)
                if on_down is not None:
                    await on_down(error)
            wait_s = FIRST_WAIT_S if good else wait_s
        else:
            wait_s = FIRST_WAIT_S
        await asyncio.sleep(wait_s * random.uniform(0.75, 1.25))
        wait_s = min(wait_s * 2, longest_wait_s)


async def together(**work: Coroutine[Any, Any, None]) -> None:
    """Runs named coroutines until one fails, which ends the others.

    Raises:
        Unavailable: itself, not in a group, so that `keep` sees it. (Before Python 3.11.4 whatever is raised inside
            `except*` comes out wrapped in one.)
    """
    lost: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, one in work.items():
                tasks.create_task(one, name=name)
    except* Unavailable as group:
        lost = _leaves(group)
    if lost:
        raise Unavailable(str(lost[0])) from lost[0]


def configure_logging(level: str = "INFO") -> None:
    """Key=value lines on standard error."""
    logging.basicConfig(
        force=True, level=level, stream=sys.stderr, format="%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"
    )
    for noisy in ("asyncua", "pymodbus", "mqtt", "httpx", "httpcore"):  # the last two tell addresses, which let in
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Runs a process until it ends or is told to, and returns its exit code.

    What was imported stays for good, so the garbage collector does not look at it again: it took 50 ms every 20 s of a
    gateway, a tick late each time.
    """
    gc.collect()
    gc.freeze()
    wrong: list[BaseException] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(main))
    except* (ConfigError, Unavailable) as group:
        wrong = _leaves(group)
    for error in wrong:
        sys.stderr.write(f"rootdx: {error}\n")
    if not wrong:
        return 0
    return EXIT_CONFIG if any(isinstance(error, ConfigError) for error in wrong) else 1


@contextlib.contextmanager
def reload_asked() -> Iterator[asyncio.Event]:
    """An event that is set each time somebody wants the files read again: SIGHUP, `systemctl reload`."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


async def _until_signal(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(main(), name="main")
    asked = asyncio.Event()

    def ask() -> None:
        if not asked.is_set():  # a second signal must not cut the unwinding short
            asked.set()
            tell_systemd("STOPPING=1")
            work.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    insisting = asyncio.create_task(_insist(work, asked), name="insist")
    living = asyncio.create_task(_live(), name="watchdog")
    try:
        await work
    except asyncio.CancelledError:
        log.info("stopped")
    finally:
        insisting.cancel()
        living.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def tell_systemd(word: str) -> None:
    """A datagram to where systemd listens; where nobody does, nothing."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if place[:1] not in {"/", "@"}:
        return
    address = "\0" + place[1:] if place[0] == "@" else place
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.settimeout(0)
        link.sendto(word.encode(), address)


def watchdog_s() -> float | None:
    """How often systemd wants a sign of life of this process, s; None: not at all."""
    asked, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(asked) / 1e6 if asked.isdecimal() and int(asked) and whose == str(os.getpid()) else None


async def _live() -> None:
    """Up, and alive for as long as the loop turns: thrice in the time that systemd allows."""
    tell_systemd("READY=1")
    allowed_s = watchdog_s()
    while allowed_s is not None:
        tell_systemd("WATCHDOG=1")
        await asyncio.sleep(allowed_s / 3)


async def _insist(work: "asyncio.Task[None]", asked: asyncio.Event) -> None:
    """Cancels again: before Python 3.12 a cancellation can get lost in `asyncio.wait_for` inside a library.

    After STOP_S the process ends as it is. What is durable stays durable, so that is a crash and no worse.
    """
    await asked.wait()
    await asyncio.sleep(STOP_S / 2)
    work.cancel()
    await asyncio.sleep(STOP_S / 2)
    log.error("did not stop within seconds=%.0f", STOP_S)
    os._exit(1)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
