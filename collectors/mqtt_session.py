"""What one machine's messages become: readings that are acknowledged when the session is resumed.

* Messages are decoded together, as many as came while the last ones were made durable.
* A reading is bounded in rows; the messages are acknowledged after the last of their readings.
* With a will or a limit of silence, a device that has gone leaves one row a tag that says so.
"""

import asyncio
import base64
import binascii
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import numpy as np

from collectors.device_clock import Allowance, DeviceClock
from collectors.mqtt_burst import Bursts
from collectors.mqtt_decode import MOST_ROWS, Decoder, Route, Said, Unreadable
from collectors.mqtt_link import Link
from collectors.mqtt_packets import Message
from collectors.mqtt_recent import DIGEST, Recent
from collectors.mqtt_routes import Routes, is_text, key_of
from collectors.payload import Stamps
from collectors.scaling import Scaling
from collectors.silence import Silence
from collectors.source import Opening, Reading
from collectors.texts import Texts, clean
from pipeline import metrics
from pipeline.errors import BadData, Unavailable
from pipeline.model import MOST_VALUES, Batch, Body, Event, Severity

log = logging.getLogger(__name__)

_NOTE_EVERY_S: Final = 600.0
_MOST_NOTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Watch:
    """How one learns that a device has gone: nothing for `silence_s`, or what its will says."""

    silence_s: float | None = None
    topic: str = ""
    online: str = ""
    offline: str = ""

    @property
    def asked(self) -> bool:
        """Whether anybody wants to know."""
        return self.silence_s is not None or bool(self.topic)


class MqttSession:
    """A live subscription; acknowledges what was yielded when it is resumed."""

    link: Link

    def __init__(  # what the settings say, each by itself
        self,
        opening: Opening,
        routes: Routes,
        stamps: Stamps,
        allowance: Allowance,
        watch: Watch,
        most: int,
    ) -> None:
        self._asset, self._clock = opening.asset, opening.clock
        self._routes, self._watch = routes, watch
        memory = _remembered(opening.memory)
        self._recent = Recent(most, memory.get("recent", ""))
        self._texts = Texts(opening.asset, memory.get("texts", {}))
        self._silence = Silence(opening.asset, memory.get("silent", 0))
        self._device = DeviceClock(opening.asset, allowance, memory.get("clock", 0))
        self._decoder = Decoder(opening.asset, opening.clock, stamps, self._device)
        self._bursts = Bursts(opening, stamps.unit, self._device)
        self._burst_topics = frozenset(self._bursts.topics)
        self.topics = tuple(
            dict.fromkeys([*routes.filters, *self._bursts.topics, *([watch.topic] if watch.topic else [])])
        )
        self._noted: dict[str, float] = {}
        self._heard_s = time.monotonic()
        self._scaling = Scaling(())
        self._names: tuple[str, ...] = ()
        self._learn_tags()

    def _learn_tags(self) -> None:
        tags = self._routes.tags
        self._scaling = Scaling(tags)
        self._names = tuple(tag.name for tag in tags)
        self._worded = any(tag.values for tag in tags)
        self._rowed = np.array([i for i, tag in enumerate(tags) if not is_text(tag)], np.uint16)

    async def readings(self) -> AsyncIterator[Reading]:
        """What was published since the last reading; the resumption acknowledges it."""
        while True:
            try:
                messages = await self._next()
            except Unavailable:
                if self._watch.asked and (gone := self._gone("connection lost")):
                    yield gone
                raise
            if not messages and (gone := self._gone(f"nothing for {self._watch.silence_s:g} s")):
                yield gone
            if self._burst_topics:
                for brought in self._read_bursts(messages):
                    yield brought
            for reading in self._read(messages):
                yield reading
            self.link.acknowledge(messages)

    async def _next(self) -> list[Message]:
        """What has come; nothing when the device has been silent for too long."""
        if self._watch.silence_s is None or self._silence.onset_ns:
            return await self.link.take()
        try:
            left = self._heard_s + self._watch.silence_s - time.monotonic()
            async with asyncio.timeout(max(0.0, left)):
                return await self.link.take()
        except TimeoutError:
            return []

    # ---- rows, texts and what the device's will says ----

    def _read(self, messages: Sequence[Message]) -> Iterator[Reading]:
        events: list[Event] = []
        before = self._state()
        for message in messages:
            if message.topic in self._burst_topics:
                continue
            if message.topic == self._watch.topic:
                yield from self._flush(events, before)
                before = self._state()
                yield from self._willed(message)
                continue
            self._take(message, events)
            if len(self._decoder.said.ts_ns) >= MOST_ROWS:
                yield from self._flush(events, before)
                before = self._state()
        yield from self._flush(events, before)

    def _take(self, message: Message, events: list[Event]) -> None:
        route = self._routes.route(self._asset, message.topic)
        if route is None:
            return
        now = time.monotonic()
        digest = blake2b(route.key + message.payload, digest_size=DIGEST).digest()
        if self._recent.known(route.key, digest):
            self._heard_s = now
            metrics.duplicates_refused.labels(self._asset).inc()
            return
        said = self._decoder.said
        rows, texts = len(said.ts_ns), len(said.texts)
        try:
            own_time = self._decoder.read(route, message.payload, kept=message.retain)
        except Unreadable as error:
            events.extend(self._note(message, error, "message", error.cause))
            return
        if len(said.ts_ns) == rows and len(said.texts) == texts:
            self._barren(route, message, events)
            return
        self._heard_s = route.gave_s = now
        self._alive = self._alive or not message.retain  # nobody knows how old a retained one is
        if own_time:
            self._recent.learn(route.key, digest, again=message.qos > 0)
            self._learned = True
        elif message.retain:  # nobody knows how old it is
            said.cut(rows, texts)
            metrics.bad_data.labels(self._asset, "retained_without_time").inc()

    def _barren(self, route: Route, message: Message, events: list[Event]) -> None:
        """A message without anything that is listed: counted, and told where its topic brings nothing else either."""
        if time.monotonic() - route.gave_s < _NOTE_EVERY_S:
            metrics.bad_data.labels(self._asset, "nothing_found").inc()
            return
        wanted = ", ".join(sorted({".".join(one.at.path) for one in route.fields if one.at.path})[:10])
        error = BadData(f"nothing in it that a tag names ({wanted}); compare the paths of the tags with the message")
        events.extend(self._note(message, error, "message", "nothing_found"))

    _learned = _alive = False

    def _state(self) -> tuple[int, int]:
        return self._silence.onset_ns, self._device.onset_ns

    def _flush(self, events: list[Event], before: tuple[int, int]) -> Iterator[Reading]:
        """What the messages so far have said, as one reading."""
        said, found = self._decoder.taken(), self._routes.new()
        if found:
            self._learn_tags()
        now = self._clock()
        bodies: list[Body] = []
        told: list[Event] = []
        if said.ts_ns:
            bodies.append(self._batch(said, told))
        tags = self._routes.tags
        told += [event for i, ts, text in said.texts if (event := self._texts.said(tags[i], text, ts))]
        if self._alive:
            back = self._silence.ends(now)
            events += [back] if back else []
            self._alive = False
        events += self._device.events(now)
        bodies += [*told, *events]
        events.clear()
        changed = self._learned or bool(told) or before != self._state()
        self._learned = False
        if bodies or found:
            yield Reading(tuple(bodies), memory=self._memory() if changed else None, found=found)

    def _batch(self, said: Said, told: list[Event]) -> Batch:
        tag = np.array(said.tag, np.uint16)
        raw = np.array(said.raw, np.float64)
        if self._worded:
            told += self._texts.of_numbers(self._routes.tags, tag, raw, said.ts_ns)
        value, quality = self._scaling.judge(raw, np.array(said.quality, np.uint32), tag)
        if self._watch.asked:
            self._silence.heard(tag, value, quality)
        return Batch(self._asset, self._names, np.array(said.ts_ns, np.int64), tag, value, quality)

    # ---- a device that has gone ----

    def _gone(self, cause: str) -> Reading | None:
        fallen = self._silence.falls(self._names, self._rowed, self._clock(), cause)
        if fallen is None:
            return None
        rows, event = fallen
        return Reading((rows, event) if len(rows) else (event,), memory=self._memory())

    def _willed(self, message: Message) -> Iterator[Reading]:
        said = message.payload.decode("utf-8", "replace").strip()
        if said == self._watch.offline:
            gone = self._gone("last will")
            if gone is not None:
                yield gone
        elif said == self._watch.online:
            now = self._clock()
            self._heard_s = time.monotonic()
            back = self._silence.ends(now)
            if back is not None:
                yield Reading((back,), memory=self._memory())
        else:
            metrics.bad_data.labels(self._asset, "unknown_will").inc()

    # ---- bursts ----

    def _read_bursts(self, messages: Sequence[Message]) -> Iterator[Reading]:
        """Waveforms, as many at once as fit; what is learned of a message goes with what it brought."""
        part: list[Body] = []
        size = 0
        for message in messages:
            if message.topic not in self._burst_topics:
                continue
            self._heard_s = time.monotonic()
            key = key_of("burst " + message.topic)
            digest = blake2b(key + message.payload, digest_size=DIGEST).digest()
            if self._recent.known(key, digest):
                metrics.duplicates_refused.labels(self._asset).inc()
                continue
            try:
                found, own_time = self._bursts.read(message.topic, message.payload, kept=message.retain)
            except BadData as error:
                part.extend(self._note(message, error, "waveform", "waveform"))
                continue
            if message.retain and not own_time:
                metrics.bad_data.labels(self._asset, "retained_without_time").inc()
                continue
            more = sum(one.value.size for one in found)
            if part and size + more > MOST_VALUES:
                yield Reading(tuple(part), memory=self._memory())
                part, size = [], 0
            part.extend(found)
            size += more
            self._recent.learn(key, digest, again=True)
        if part:
            yield Reading(tuple(part), memory=self._memory())

    # ---- what is told and remembered ----

    def _note(self, message: Message, error: BadData, what: str, cause: str) -> list[Event]:
        """Counts a message nobody can read; one event a topic now and then."""
        metrics.bad_data.labels(self._asset, cause).inc()
        topic, now = clean(message.topic), time.monotonic()
        if now - self._noted.get(topic, -_NOTE_EVERY_S) < _NOTE_EVERY_S:
            return []
        if len(self._noted) >= _MOST_NOTED:
            del self._noted[next(iter(self._noted))]
        self._noted[topic] = now
        head = clean(message.payload[:80].decode("utf-8", "replace"))
        log.warning("message refused asset=%s topic=%s error=%s", self._asset, topic, error)
        text, data = clean(f"{topic}: {error}"), {"topic": topic, "head": head}
        kind = f"{what}.refused"
        return [Event(self._asset, kind, self._clock(), text, severity=Severity.WARNING, key=topic, data=data)]

    def _memory(self) -> str:
        silent, clock = self._state()
        said: dict[str, Any] = {"recent": self._recent.text(), "texts": self._texts.state()}
        said |= ({"silent": silent} if silent else {}) | ({"clock": clock} if clock else {})
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _remembered(memory: str) -> dict[str, Any]:
    """What a session before wanted to be told; nothing where another protocol's did."""
    try:
        said = json.loads(memory)
        base64.b64decode(said.get("recent", ""))
    except (ValueError, AttributeError, binascii.Error):
        return {}
    return {str(key): value for key, value in said.items()}
