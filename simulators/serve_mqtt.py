"""A machine that speaks MQTT itself, with a little buffer of its own.

- QoS 1; a message stays in the buffer until the broker has acknowledged it, and is sent again after a reconnect.
- One message is on the way at a time, so messages arrive in the order they were made, repeats included.
- The buffer is bounded: when it is full the oldest message is dropped and counted.
- A burst is one message on `device/<machine>/waveform/<name>` once its cycle has ended:
  `{"ts": ISO 8601 UTC of the first sample, "period_us", "channels": {name: [..]}}`.
- `ts` of a bundle is UTC ms of its end; it grows strictly with each message of a topic, unless a fault is on.
"""

import asyncio
import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import aiomqtt

from simulators.clock import SimClock
from simulators.faults import Faults
from simulators.serve_bursts import has_bursts, period_ns, stamp
from simulators.signals import Burst, BurstingMachine, Machine, Signal
from simulators.truth import Truth

GRID_S = 0.1
_SLOW_EVERY = 10
_BUFFER_MESSAGES = 10_000
_PUBACK_S = 2.0
_RETRY_S, _RETRY_MAX_S = 0.2, 2.0


class BundlingMachine(Machine, Protocol):
    """A machine that says when it has something to say each 100 ms."""

    def welding(self, t_s: float) -> bool:
        """Whether the bundle that ends at `t_s` is sent."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """One publication and, for the truth, the tags in it."""

    topic: str
    payload: bytes
    ts_ms: int
    values: Mapping[str, float]
    due_s: float = -math.inf


class MqttDevice:
    """A machine, its faults and its clock as messages."""

    def __init__(self, machine: BundlingMachine, signals: Sequence[Signal], faults: Faults, clock: SimClock) -> None:
        self._machine = machine
        self._faults = faults
        self._clock = clock
        self._topics: dict[str, list[tuple[Signal, str]]] = {}
        for signal in signals:
            topic, _, key = signal.address.partition(" ")
            self._topics.setdefault(topic, []).append((signal, key))
        self._last_ms = dict.fromkeys(self._topics, 0)
        self._late: list[Message] = []

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics, the fast one first."""
        return tuple(self._topics)

    def messages(self, step: int) -> list[Message]:
        """What is sent at grid point `step`, that is at `step` * 0.1 simulated seconds."""
        t_s = step * GRID_S
        slow = step % _SLOW_EVERY == 0
        fast_topic = self.topics[0]
        made = []
        if not self._faults.silent(t_s):
            for topic in self._topics:
                if slow or (topic == fast_topic and self._machine.welding(t_s)):
                    made += self._disturbed(self._message(topic, t_s), t_s, step)
        ready = [message for message in self._late if message.due_s <= t_s]
        self._late = [message for message in self._late if message.due_s > t_s]
        return made + ready

    def bursts(self, after_s: float, until_s: float) -> list[Message]:
        """Bursts of the cycles that end in (after_s, until_s], none of a machine that records none."""
        if not has_bursts(self._machine) or self._faults.silent(until_s):
            return []
        root = self.topics[0].rsplit("/", 1)[0]
        found = cast("BurstingMachine", self._machine).bursts(after_s, until_s)
        return [self._waveform(root, burst) for burst in found if burst.start_s >= self._clock.start_s]

    def _waveform(self, root: str, burst: Burst) -> Message:
        wall_ns = self._clock.wall_ns(burst.start_s)
        payload = {
            "ts": stamp(wall_ns).isoformat(timespec="microseconds"),
            "period_us": period_ns(burst, self._clock) / 1e3,
            "channels": {
                name: [float(f"{value:.7g}") for value in burst.value[:, column].tolist()]
                for column, name in enumerate(burst.channels)
            },
        }
        text = json.dumps(payload, separators=(",", ":"))
        return Message(f"{root}/waveform/{burst.name}", text.encode(), wall_ns // 1_000_000, {})

    def _message(self, topic: str, t_s: float) -> Message:
        ts_ms = max(self._last_ms[topic] + 1, self._clock.wall_ns(t_s) // 1_000_000)
        self._last_ms[topic] = ts_ms
        ts_ms += round(self._faults.size("clock_skew", t_s) * 1e3)
        sampled = self._machine.sample(t_s)
        payload: dict[str, float | int | None] = {"ts": ts_ms}
        values = {}
        for signal, key in self._topics[topic]:
            if self._faults.silent(t_s, frozenset((signal.name,))):
                continue
            value = self._value(signal, t_s, sampled[signal.name])
            values[signal.name] = value
            payload[key] = None if math.isnan(value) else int(value) if signal.digits == 0 else value
        return Message(topic, json.dumps(payload, separators=(",", ":")).encode(), ts_ms, values)

    def _value(self, signal: Signal, t_s: float, value: float) -> float:
        value = self._faults.disturbed(signal, t_s, value, lambda then_s: self._machine.sample(then_s)[signal.name])
        value = self._faults.size("sentinel", t_s, signal.name) or value
        return value if math.isnan(value) else float(round(value, signal.digits))

    def _disturbed(self, message: Message, t_s: float, step: int) -> list[Message]:
        if self._faults.at("duplicate", t_s):
            return [message, message]
        delay_s = self._faults.size("out_of_order", t_s)
        if delay_s and step % 5 == 0:
            due_s = t_s + delay_s
            self._late.append(Message(message.topic, message.payload, message.ts_ms, message.values, due_s))
            return []
        return [message]


class Publisher:
    """The device's buffer and its connection; `run` until cancelled."""

    def __init__(self, device: MqttDevice, clock: SimClock, truth: Truth) -> None:
        self._device = device
        self._clock = clock
        self._truth = truth
        self._buffer: deque[Message] = deque()
        self._filled = asyncio.Event()
        self._stopped = False
        self.dropped = 0

    async def run(self, host: str, port: int) -> None:
        """Make messages and send them to the broker for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._make(), name="bundles")
            tasks.create_task(self._send(host, port), name="publications")

    async def _make(self) -> None:
        step = math.ceil(self._clock.now_s() / GRID_S)
        try:
            while True:
                step = self._make_until(step, math.floor(self._clock.now_s() / GRID_S + 1e-6))
                wait_s = (self._clock.wall_ns(step * GRID_S) - self._clock.wall()) * 1e-9
                await asyncio.sleep(max(0.001, wait_s))
        finally:
            self._stopped = True
            self._filled.set()

    def _make_until(self, step: int, newest: int) -> int:
        """Messages of the grid points from `step` to `newest`; returns the next one."""
        # After a long sleep of the computer only what fits the buffer is made.
        for made in range(max(step, newest - _BUFFER_MESSAGES), newest + 1):
            for message in (*self._device.messages(made), *self._device.bursts((made - 1) * GRID_S, made * GRID_S)):
                self._keep(message)
        return max(step, newest + 1)

    def _keep(self, message: Message) -> None:
        if len(self._buffer) >= _BUFFER_MESSAGES:
            self._buffer.popleft()
            self.dropped += 1
        self._buffer.append(message)
        self._filled.set()

    async def _send(self, host: str, port: int) -> None:
        wait_s = _RETRY_S
        while not self._stopped:
            try:
                async with aiomqtt.Client(host, port, timeout=_PUBACK_S) as client, asyncio.TaskGroup() as tasks:
                    wait_s = _RETRY_S
                    watch = tasks.create_task(_watch(client), name="broker connection")
                    await self._drain(client)
                    watch.cancel()
            except* aiomqtt.MqttError:
                pass
            await asyncio.sleep(0.0 if self._stopped else wait_s)
            wait_s = min(_RETRY_MAX_S, 2.0 * wait_s)

    async def _drain(self, client: aiomqtt.Client) -> None:
        # Before Python 3.12 `asyncio.wait_for`, which aiomqtt waits with, may lose a cancellation: hence `_stopped`.
        while not self._stopped:
            await self._filled.wait()
            while self._buffer and not self._stopped:
                message = self._buffer[0]
                await self._publish(client, message)
                # A full buffer may have dropped it while its acknowledgement was on the way.
                if self._buffer and self._buffer[0] is message:
                    self._buffer.popleft()
            self._filled.clear()

    async def _publish(self, client: aiomqtt.Client, message: Message) -> None:
        """Returns once the broker has it; it may have it as well where this ends in another way."""
        told = self._truth.unanswered
        try:
            await client.publish(message.topic, message.payload, qos=1, timeout=_PUBACK_S)
            told = self._truth.served
        finally:
            if message.values:
                told(message.ts_ms * 1_000_000, message.values)


async def _watch(client: aiomqtt.Client) -> None:
    """Raise when the connection is gone: a publication that waits for its PUBACK would not notice."""
    async for _ in client.messages:
        pass
