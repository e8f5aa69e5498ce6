"""Devices that speak MQTT themselves: topic and JSON payload to rows; see mqtt.md.

* A message is acknowledged after its rows are durable, never before; the broker keeps what is not acknowledged.
* A message that carries its own time is stored once, however often the broker sends it.
* What the device did not say is no row; what it said and is no number is a bad row.
"""

import asyncio
import base64
import contextlib
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import aiomqtt
import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from collectors.bursts import plausible
from collectors.mqtt_burst import Bursts, place_of
from collectors.payload import NOTHING, TimeUnit, time_of, walk
from collectors.scaling import Scaling
from collectors.source import Arrival, Opening, Reading, Source
from pipeline import metrics
from pipeline.errors import BadData, ConfigError, Unavailable
from pipeline.model import MOST_VALUES, Batch, Body, Event, Quality, Severity
from pipeline.plant import Tag, WaveformEntry
from pipeline.settings import read_secret

log = logging.getLogger(__name__)

_ADDRESS: Final = re.compile(r"(?P<topic>[^\s#+]+)(?:\s+(?P<path>\S+))?")
_KEEPALIVE_S: Final = 15
_LEAVE_S: Final = 2.0
_QOS: Final = 1
_REFUSED: Final = 0x80
_NO_ENTRY: Final = frozenset({4, 5, 134, 135})
"""CONNACK codes of a broker that knows us and does not let us in."""
_REMEMBERED_S: Final = 60.0
"""An acknowledgement older than this has reached the broker, or the connection would be dead by now."""
_DIGEST: Final = 8
_NOTE_EVERY_S: Final = 600.0


class Mqtt(Source):
    """A device that publishes JSON to a broker."""

    protocol: Literal["mqtt"] = "mqtt"
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    user: str | None = None
    password_file: Path | None = None
    timeout_s: PositiveFloat = 10.0
    """Longest wait for the broker's answer."""
    time: str | None = None
    """Path of the device's own time in the payload; without it the gateway's clock is used."""
    time_unit: TimeUnit = "ms"
    """`iso` is a text as 2026-05-01T08:00:00+09:00; without offset it is UTC."""
    session: Literal["kept", "clean"] = "kept"
    """`kept`: the broker keeps what comes while the gateway is away; `clean`: it forgets us when we leave."""
    max_buffer: PositiveInt = 1000
    """Messages held in memory; full means: not acknowledged, so the broker sends them again after a reconnect."""

    @property
    def arrival(self) -> Arrival:
        """Whether the broker keeps what comes while nobody listens."""
        return "kept" if self.session == "kept" else "pushed"

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses addresses that are not a topic and a path."""
        for tag in tags:
            if not _ADDRESS.fullmatch(tag.address):
                raise ValueError(
                    f"tag {tag.name!r}: address {tag.address!r} is not '<topic> <json path>', e.g. 'plant/f03/pv "
                    "zone.1.temp'; a topic has no spaces and no wildcards"
                )

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        """Refuses addresses that are no topic with options."""
        for one in waveforms:
            place_of(one)

    def open(self, opening: Opening) -> AbstractAsyncContextManager["MqttSession"]:
        """A persistent session at the broker."""
        return _open(self, opening)


class _Arrivals(asyncio.Queue[aiomqtt.Message]):
    """A bounded queue that counts what it has no room for; none of that is acknowledged."""

    dropped = 0
    lost = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Takes the message, or counts it."""
        if not self.full():
            super().put_nowait(item)
        elif item.qos:
            self.dropped += 1
        else:
            self.lost += 1

    def take(self) -> list[aiomqtt.Message]:
        """Everything that is there, without waiting."""
        return [self.get_nowait() for _ in range(self.qsize())]


@asynccontextmanager
async def _open(source: Mqtt, opening: Opening) -> AsyncIterator["MqttSession"]:
    arrivals = _Arrivals(source.max_buffer)
    client = aiomqtt.Client(
        source.host,
        source.port,
        identifier=opening.client_id,
        username=source.user,
        password=None if source.password_file is None else read_secret(source.password_file),
        clean_session=source.session == "clean",
        keepalive=_KEEPALIVE_S,
        timeout=source.timeout_s,
        queue_type=lambda maxsize: arrivals,  # type: ignore[arg-type]  # noqa: ARG005  # so that we can empty it
    )
    client._client.connect_timeout = source.timeout_s  # noqa: SLF001
    client._client.manual_ack_set(True)  # noqa: FBT003, SLF001  # only before connecting does it hold for what waits there
    session = MqttSession(source, opening, client, arrivals)
    async with contextlib.AsyncExitStack() as stack:
        with _as_unavailable(source):
            await stack.enter_async_context(_quietly_left(client))
            granted = await client.subscribe([(topic, _QOS) for topic in session.topics])
        for topic, code in zip(session.topics, granted, strict=True):
            if _number_of(code) >= _REFUSED:
                raise ConfigError(f"{source.host}:{source.port} does not let {opening.client_id} read topic {topic!r}")
        yield session


@asynccontextmanager
async def _quietly_left(client: aiomqtt.Client) -> AsyncIterator[None]:
    """Leaving a broker that is gone is no error of its own."""
    await client.__aenter__()
    try:
        yield
    finally:
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await client.__aexit__(None, None, None)


@contextlib.contextmanager
def _as_unavailable(source: Mqtt) -> Iterator[None]:
    where = f"{source.host}:{source.port}"
    try:
        yield
    except aiomqtt.exceptions.MqttConnectError as error:
        if _number_of(error.rc) in _NO_ENTRY:
            raise ConfigError(f"{where} refuses user {source.user!r}: {error}; check user and password_file") from error
        raise Unavailable(f"{where}: {error}") from error
    except (aiomqtt.MqttError, OSError) as error:
        raise Unavailable(f"{where}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Row:
    """One value a payload holds."""

    ts_ns: int
    tag: int
    raw: float
    quality: int


class _Recent:
    """Digests of the messages that may come again: those of the last minute, and the last one of each topic."""

    def __init__(self, topics: Sequence[str], most: int, text: str) -> None:
        self._most = max(1024, most)
        data = base64.b64decode(text)
        digests = [data[i : i + _DIGEST] for i in range(0, len(data), _DIGEST)]
        self._latest = dict(zip(topics, digests + [bytes(_DIGEST)] * len(topics), strict=False))
        self._seen: dict[bytes, float] = dict.fromkeys(digests[len(topics) :], time.monotonic())

    def known(self, message: bytes) -> bool:
        """Whether it was stored before."""
        return message in self._seen or message in self._latest.values()

    def learn(self, topic: str, message: bytes) -> None:
        """It will be stored now."""
        self._seen[message] = time.monotonic()
        self._latest[topic] = message

    def text(self) -> str:
        """What is still worth knowing: the last one of each topic, then the recent ones."""
        limit = time.monotonic() - _REMEMBERED_S
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] >= limit and len(self._seen) <= self._most:
                break
            del self._seen[oldest]
        return base64.b64encode(b"".join([*self._latest.values(), *self._seen])).decode()


class MqttSession:
    """A live subscription; acknowledges what was yielded when it is resumed."""

    def __init__(self, source: Mqtt, opening: Opening, client: aiomqtt.Client, arrivals: _Arrivals) -> None:
        self._source, self._opening, self._client, self._arrivals = source, opening, client, arrivals
        self._names = tuple(tag.name for tag in opening.tags)
        self._scaling = Scaling(opening.tags)
        self._time = None if source.time is None else source.time.split(".")
        self._paths: dict[str, list[tuple[int, list[str]]]] = {}
        for index, tag in enumerate(opening.tags):
            found = _ADDRESS.fullmatch(tag.address)
            if found is not None:
                path = found["path"].split(".") if found["path"] else []
                self._paths.setdefault(found["topic"], []).append((index, path))
        self._bursts = Bursts(opening, source.time_unit)
        self.topics = tuple(dict.fromkeys([*self._paths, *self._bursts.topics]))
        self._recent = _Recent(self.topics, source.max_buffer, opening.memory)
        self._noted: dict[str, float] = {}

    async def readings(self) -> AsyncIterator[Reading]:
        """What was published since the last reading; the resumption acknowledges it."""
        with _as_unavailable(self._source):
            async for first in self._client.messages:
                messages = [first, *self._arrivals.take()]
                for brought in self._read_bursts(messages):
                    yield brought
                reading = self._read(messages)
                if reading is not None:
                    yield reading
                for message in messages:
                    if message.qos:
                        self._client._client.ack(message.mid, message.qos)  # noqa: SLF001  # no public way in 2.5
                self._check_room()

    def _check_room(self) -> None:
        lost, self._arrivals.lost = self._arrivals.lost, 0
        if lost:
            metrics.bad_data.labels(self._opening.asset, "buffer_full").inc(lost)
        if self._arrivals.dropped and self._arrivals.empty():
            raise Unavailable(
                f"{self._arrivals.dropped} messages found no room (max_buffer = {self._source.max_buffer}); "
                "connecting again so that the broker sends them again"
            )

    def _read(self, messages: Sequence[aiomqtt.Message]) -> Reading | None:
        rows: list[_Row] = []
        events: list[Event] = []
        learned = False
        for message in messages:
            topic, payload = str(message.topic), _bytes(message)
            if topic not in self._paths:
                continue
            digest = blake2b(topic.encode() + b"\0" + payload, digest_size=_DIGEST).digest()
            try:
                found, own_time = self._rows(topic, payload)
            except BadData as error:
                events.extend(self._note(topic, payload, error, "message", "not_json"))
                continue
            if own_time and self._recent.known(digest):
                metrics.duplicates_refused.labels(self._opening.asset).inc()
            elif message.retain and not own_time:  # nobody knows how old it is
                metrics.bad_data.labels(self._opening.asset, "retained_without_time").inc()
            else:
                rows.extend(found)
                if own_time:
                    self._recent.learn(topic, digest)
                    learned = True
        if not rows and not events:
            return None
        bodies: list[Body] = [self._batch(rows)] if rows else []
        return Reading((*bodies, *events), memory=self._recent.text() if learned else None)

    def _read_bursts(self, messages: Sequence[aiomqtt.Message]) -> Iterator[Reading]:
        """Waveforms, as many at once as fit; what is learned of a message goes with what it brought."""
        part: list[Body] = []
        size = 0
        for message in messages:
            topic, payload = str(message.topic), _bytes(message)
            if topic not in self._bursts.topics:
                continue
            digest = blake2b(b"burst\0" + topic.encode() + b"\0" + payload, digest_size=_DIGEST).digest()
            if self._recent.known(digest):
                metrics.duplicates_refused.labels(self._opening.asset).inc()
                continue
            try:
                found, own_time = self._bursts.read(topic, payload)
            except BadData as error:
                part.extend(self._note(topic, payload, error, "waveform", "waveform"))
                continue
            if message.retain and not own_time:
                metrics.bad_data.labels(self._opening.asset, "retained_without_time").inc()
                continue
            more = sum(one.value.size for one in found)
            if part and size + more > MOST_VALUES:
                yield Reading(tuple(part), memory=self._recent.text())
                part, size = [], 0
            part.extend(found)
            size += more
            self._recent.learn(topic, digest)
        if part:
            yield Reading(tuple(part), memory=self._recent.text())

    def _batch(self, rows: Sequence[_Row]) -> Batch:
        tag = np.array([row.tag for row in rows], np.uint16)
        raw = np.array([row.raw for row in rows], np.float64)
        value, quality = self._scaling.judge(raw, np.array([row.quality for row in rows], np.uint32), tag)
        ts_ns = np.array([row.ts_ns for row in rows], np.int64)
        return Batch(self._opening.asset, self._names, ts_ns, tag, value, quality)

    def _note(self, topic: str, payload: bytes, error: BadData, what: str, cause: str) -> list[Event]:
        """Counts a message nobody can read; one event a topic now and then."""
        metrics.bad_data.labels(self._opening.asset, cause).inc()
        now = time.monotonic()
        if now - self._noted.get(topic, -_NOTE_EVERY_S) < _NOTE_EVERY_S:
            return []
        self._noted[topic] = now
        head = payload[:80].decode("utf-8", "replace")
        log.warning("message refused asset=%s topic=%s error=%s", self._opening.asset, topic, error)
        text = f"{topic}: {error}"
        data = {"topic": topic, "head": head}
        now_ns = self._opening.clock()
        kind = f"{what}.refused"
        return [Event(self._opening.asset, kind, now_ns, text, severity=Severity.WARNING, key=topic, data=data)]

    def _rows(self, topic: str, payload: bytes) -> tuple[list[_Row], bool]:
        """The rows of one payload, and whether every one of its objects carries its own time.

        Raises:
            BadData: it is not JSON.
        """
        try:
            said = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise BadData(f"not JSON: {error}") from error
        rows: list[_Row] = []
        objects = said if isinstance(said, list) else [said]
        own_time = bool(objects)
        for one in objects:
            ts_ns, owned, plausible = self._when(one)
            own_time &= owned
            for tag, path in self._paths.get(topic, ()):
                value = walk(one, path)
                if value is not NOTHING:
                    raw, quality = self._number(value)
                    if not plausible and quality == Quality.GOOD:
                        quality = Quality.UNCERTAIN
                    rows.append(_Row(ts_ns, tag, raw, quality))
        return rows, own_time

    def _when(self, one: Any) -> tuple[int, bool, bool]:
        """Time of an object, whether it is its own, and whether it could be believed."""
        now = self._opening.clock()
        said = NOTHING if self._time is None else walk(one, self._time)
        if said is NOTHING:
            return now, False, True
        ts_ns = time_of(said, self._source.time_unit)
        if ts_ns is None or not plausible(ts_ns, now):
            return now, True, False
        return ts_ns, True, True

    def _number(self, value: Any) -> tuple[float, int]:
        if value is None:
            return np.nan, Quality.BAD_NO_DATA
        if not isinstance(value, bool | int | float):
            metrics.bad_data.labels(self._opening.asset, "type_mismatch").inc()
            return np.nan, Quality.BAD_TYPE_MISMATCH
        try:
            return float(value), Quality.GOOD
        except OverflowError:
            return np.inf, Quality.GOOD


def _number_of(code: Any) -> int:
    """A reason code as its number, whatever paho made of it."""
    return int(getattr(code, "value", code) or 0)


def _bytes(message: aiomqtt.Message) -> bytes:
    return message.payload if isinstance(message.payload, bytes) else b""
