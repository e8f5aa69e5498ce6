"""What one edge node's messages become: rows, texts, tags that births bring, and rows that say who is gone."""

import json
import logging
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from collectors.device_clock import Allowance, DeviceClock
from collectors.found import Finder, plain_name
from collectors.mqtt_link import Link
from collectors.mqtt_packets import Message
from collectors.scaling import Scaling
from collectors.silence import Silence
from collectors.source import Opening, Reading
from collectors.sparkplug_node import Heard, Known, Node, Told
from collectors.sparkplug_payload import NUMBERS, TEXTS, payload_of, rebirth
from collectors.texts import Texts, clean, text_of
from pipeline import metrics
from pipeline.errors import BadData, Unavailable
from pipeline.model import BAD_BIT, Batch, Body, Event, Quality, Severity
from pipeline.plant import Tag
from pipeline.units import is_unit

log = logging.getLogger(__name__)

NAMESPACE: Final = "spBv1.0"
HISTORICAL: Final = 0x400
"""OPC UA's info bits "a raw historical data value": added to the quality of what an edge node had kept."""
_KINDS: Final = frozenset({"NBIRTH", "NDATA", "NDEATH", "DBIRTH", "DDATA", "DDEATH"})
_ASK_EVERY_S: Final = 30.0
_STATE_EVERY_S: Final = 1.0
_NOTE_EVERY_S: Final = 600.0
_OPC_GOOD, _OPC_STALE = 192, 500
_UNITS: Final = ("engUnit", "engUnits", "engineeringUnits", "Engineering Units", "unit", "Unit", "units")
_LOW: Final = ("engLow", "EngLow")
_HIGH: Final = ("engHigh", "EngHigh")


@dataclass(frozen=True, slots=True)
class Wishes:
    """Which node, and what is wanted of it."""

    group: str
    edge: str
    device: str
    max_tags: int
    allowance: Allowance
    ask_rebirth: bool
    host_id: str = ""
    state: bytes = b""
    """What says that this host is there."""


def place_of(address: str, device: str) -> tuple[str, str]:
    """Device and metric of an address."""
    before, parted, after = address.partition("::")
    return (before, after) if parted else (device, address)


@dataclass(slots=True)
class _Columns:
    """What a round of messages brought."""

    ts_ns: list[int] = field(default_factory=list)
    tag: list[int] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    old: list[bool] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    """What comes before rows that are still to come: deaths in their place, and events."""


class SparkplugSession:
    """A live subscription to one edge node."""

    link: Link

    def __init__(self, opening: Opening, wishes: Wishes) -> None:
        self._asset, self._clock, self._wishes = opening.asset, opening.clock, wishes
        memory = _remembered(opening.memory)
        self._texts = Texts(opening.asset, memory.get("texts", {}))
        self._device_clock = DeviceClock(opening.asset, wishes.allowance, memory.get("clock", 0))
        self._silent = {key: Silence(opening.asset, ns, key) for key, ns in memory.get("silent", {}).items()}
        self._finder = Finder(opening.tags, opening.found, max(wishes.max_tags, len(opening.found)))
        self._listed = len(opening.tags)
        self._learned = 0
        self._index: dict[tuple[str, str], int] = {}
        self._wordy = {i for i, tag in enumerate(opening.tags) if tag.context is not None and not tag.values}
        self._node = Node()
        self._asked_s = self._told_s = self._stated_s = -math.inf
        self._owed = False
        self._refused: set[str] = set()
        self._learn_tags()
        place = f"{NAMESPACE}/{wishes.group}/+/{wishes.edge}"
        self._state_topic, self._state = f"{NAMESPACE}/STATE/{wishes.host_id}", wishes.state
        self.topics = (place, f"{place}/+", *((self._state_topic,) if wishes.host_id else ()))

    def _learn_tags(self) -> None:
        for i in range(self._learned, len(self._finder.tags)):
            self._index.setdefault(place_of(self._finder.tags[i].address, self._wishes.device), i)
        self._learned = len(self._finder.tags)
        self._of: dict[str, list[int]] = {}
        for (device, _), i in self._index.items():
            self._of.setdefault(device, []).append(i)
        self._scaling = Scaling(self._finder.tags)
        self._names = tuple(tag.name for tag in self._finder.tags)

    def ask(self) -> None:
        """Asks for a birth, where that is wanted: now, or with the first message after the last asking is long ago."""
        now = time.monotonic()
        self._owed = True
        if self._wishes.ask_rebirth and now - self._asked_s >= _ASK_EVERY_S:
            self._asked_s = now
            self._owed = False
            topic = f"{NAMESPACE}/{self._wishes.group}/NCMD/{self._wishes.edge}"
            self.link.publish(topic, rebirth(self._clock() // 1_000_000))

    async def readings(self) -> AsyncIterator[Reading]:
        """What was published since the last reading; the resumption acknowledges what wants to be."""
        while True:
            try:
                messages = await self.link.take()
            except Unavailable:
                columns = _Columns()
                self._die(
                    tuple(dict.fromkeys(["", *(device for device, _ in self._index)])), "connection lost", columns
                )
                if columns.bodies:
                    yield self._reading(columns)
                raise
            columns = _Columns()
            for message in messages:
                self._hear(message, columns)
            reading = self._reading(columns)
            if reading.bodies or reading.found:
                yield reading
            self.link.acknowledge(messages)

    def _hear(self, message: Message, columns: _Columns) -> None:
        if message.topic == self._state_topic:
            self._hear_of_itself(message.payload)
            return
        levels = message.topic.split("/")
        kind, device = levels[2] if len(levels) > 3 else "", levels[4] if len(levels) > 4 else ""
        if kind not in _KINDS or kind.startswith("D") != bool(device) or not message.topic.isprintable():
            if kind not in {"NCMD", "DCMD"}:
                self._count("unknown_topic")
            return
        if message.retain:  # neither births nor data may be, and nobody knows how old it is
            self._count("retained")
            return
        try:
            payload = payload_of(message.payload)
        except BadData as error:
            self._count("not_sparkplug")
            self._tell(columns, "message.refused", clean(f"{message.topic}: {error}"), kind)
            return
        heard = self._node.hear(kind, device, payload)
        for cause in heard.refused:
            self._count(cause)
        if heard.gap is not None:
            self._tell_gap(columns, heard.gap)
        if heard.born == "":
            self._owed = False
        if heard.lost or self._owed:
            self.ask()
        self._take(heard, columns)

    def _take(self, heard: Heard, columns: _Columns) -> None:
        if heard.born is not None:
            self._born(heard.born, columns)
        for told in heard.values:
            self._value(told, columns, born=heard.born is not None)
        if heard.dead:
            # With the node all of its devices, those too whose birth came before this session.
            everybody = self._of if "" in heard.dead else ()
            self._die(tuple(dict.fromkeys([*heard.dead, *everybody])), "death", columns)

    def _hear_of_itself(self, payload: bytes) -> None:
        """Somebody says that this host is gone, as the will of an earlier session that comes late: it is not."""
        try:
            said = json.loads(payload)
        except ValueError:
            said = None
        if isinstance(said, dict) and said.get("online") is True:
            return
        now = time.monotonic()
        if now - self._stated_s >= _STATE_EVERY_S:
            self._stated_s = now
            self.link.publish_surely(self._state_topic, self._state, retain=True)

    # ---- births and deaths ----

    def _born(self, device: str, columns: _Columns) -> None:
        now = self._clock()
        silence = self._silent.get(device)
        back = silence.ends(now) if silence else None
        columns.bodies += [back] if back else []
        born = self._node.metrics(device)
        for tag in (self._finder.tags[i] for i in self._of.get(device, ()) if i < self._listed):
            self._compare(tag, born.get(place_of(tag.address, self._wishes.device)[1]), columns)
        if not self._wishes.max_tags:
            return
        for name, known in born.items():
            control = name == "bdSeq" or name.startswith(("Node Control/", "Device Control/"))
            if known.datatype in NUMBERS and not control and (device, name) not in self._index:
                cause = self._finder.add(_tag_of(device, known))
                if cause:
                    self._count(cause)
        if len(self._finder.tags) > self._learned:
            self._flush(columns)
            self._learn_tags()

    def _compare(self, tag: Tag, known: Known | None, columns: _Columns) -> None:
        """Tells once a session what the birth says otherwise than the machine file."""
        if known is None:
            said = f"{tag.address}: no such metric in the birth; there are: "
            device, _ = place_of(tag.address, self._wishes.device)
            said += ", ".join(self._node.metrics(device))
        else:
            unit = _unit_of(known)
            if not unit or unit == tag.unit:
                return
            said = f"{tag.address}: the birth says unit {unit}, the machine file {tag.unit}"
        if tag.name not in self._refused:
            self._refused.add(tag.name)
            self._tell(columns, "tag.refused", clean(said), tag.name)

    def _die(self, devices: Sequence[str], cause: str, columns: _Columns) -> None:
        self._flush(columns)
        now = self._clock()
        for device in devices:
            which = [i for i in self._of.get(device, ()) if i not in self._wordy]
            silence = self._silent.setdefault(device, Silence(self._asset, 0, device))
            fallen = silence.falls(self._names, np.array(which, np.uint16), now, cause) if which or not device else None
            if fallen is not None:
                rows, event = fallen
                columns.bodies += [rows, event] if len(rows) else [event]

    # ---- values ----

    def _value(self, told: Told, columns: _Columns, *, born: bool) -> None:
        i = self._index.get((told.device, told.metric.name))
        if told.metric.datatype in TEXTS or (i is not None and i in self._wordy):
            self._text(told, i, columns, born=born)
            return
        if i is None:
            return
        ts_ns, good = self._when(told, born=born)
        columns.ts_ns.append(ts_ns)
        columns.tag.append(i)
        columns.raw.append(math.nan if told.value is None else float(told.value))
        columns.quality.append(_quality(told, good=good))
        columns.old.append(told.is_historical)

    def _text(self, told: Told, i: int | None, columns: _Columns, *, born: bool) -> None:
        if i is not None:
            self._wordy.add(i)
        elif not self._wishes.max_tags:
            return
        text = None if told.value is None else text_of(told.value)
        if not text or not told.is_sure:  # a wrong lot is worse than none, and the next birth says it again
            return
        tag = self._finder.tags[i] if i is not None else _tag_of(told.device, told.metric)
        ts_ns, _ = self._when(told, born=born)
        if tag is None:
            self._count("no_name")
        elif told.is_historical:
            columns.bodies.append(self._texts.event(tag, text, ts_ns))
        else:
            event = self._texts.said(tag, text, ts_ns)
            columns.bodies += [event] if event else []

    def _when(self, told: Told, *, born: bool) -> tuple[int, bool]:
        """Its time, and whether it could be believed; a birth tells values that may have stood for long."""
        now = self._clock()
        if told.timestamp is None:
            return now, True
        ts_ns = told.timestamp * 1_000_000
        believed = self._device_clock.believed(ts_ns, now, kept=born or told.is_historical)
        return (ts_ns, True) if believed else (now, False)

    def _flush(self, columns: _Columns) -> None:
        """Turns the rows so far into a batch, so that what follows comes after it."""
        if not columns.ts_ns:
            return
        tag, raw = np.array(columns.tag, np.uint16), np.array(columns.raw, np.float64)
        columns.bodies += self._texts.of_numbers(self._finder.tags, tag, raw, columns.ts_ns)
        value, quality = self._scaling.judge(raw, np.array(columns.quality, np.uint32), tag)
        old = np.array(columns.old, bool)
        for device, indices in self._of.items():
            mine = np.isin(tag, indices) & ~old
            if mine.any():
                silence = self._silent.setdefault(device, Silence(self._asset, 0, device))
                silence.heard(tag[mine], value[mine], quality[mine])
        quality[old & (quality < BAD_BIT)] |= np.uint32(HISTORICAL)
        ts_ns = np.array(columns.ts_ns, np.int64)
        columns.bodies.append(Batch(self._asset, self._names, ts_ns, tag, value, quality))
        for column in (columns.ts_ns, columns.tag, columns.raw, columns.quality, columns.old):
            column.clear()

    # ---- what is told and remembered ----

    def _reading(self, columns: _Columns) -> Reading:
        self._flush(columns)
        columns.bodies += self._device_clock.events(self._clock())
        memory = None
        if any(not isinstance(body, Batch) for body in columns.bodies):
            silent = {key: one.onset_ns for key, one in self._silent.items() if one.onset_ns}
            said = {"silent": silent, "texts": self._texts.state(), "clock": self._device_clock.onset_ns}
            memory = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        return Reading(tuple(columns.bodies), memory=memory, found=self._finder.new())

    def _tell_gap(self, columns: _Columns, gap: tuple[int, int]) -> None:
        now = time.monotonic()
        if now - self._told_s >= _NOTE_EVERY_S:
            self._told_s = now
            self._tell(columns, "sequence.gap", f"expected {gap[0]}, got {gap[1]}", self._wishes.edge)

    def _tell(self, columns: _Columns, kind: str, text: str, key: str) -> None:
        log.warning("%s asset=%s what=%s", kind, self._asset, text)
        columns.bodies.append(Event(self._asset, kind, self._clock(), text, severity=Severity.WARNING, key=key))

    def _count(self, cause: str) -> None:
        metrics.bad_data.labels(self._asset, cause).inc()


def _quality(told: Told, *, good: bool) -> int:
    if told.value is None:
        return Quality.BAD_NO_DATA
    if told.quality is not None and told.quality != _OPC_GOOD:
        return Quality.UNCERTAIN_LAST_USABLE if told.quality == _OPC_STALE else Quality.BAD
    return Quality.GOOD if good and told.is_sure else Quality.UNCERTAIN


def _unit_of(known: Known) -> str:
    said = next((known.properties[key] for key in _UNITS if key in known.properties), None)
    return said if isinstance(said, str) and is_unit(said) else ""


def _tag_of(device: str, known: Known) -> Tag | None:
    """The tag that a metric of a birth becomes, with the unit and range that its properties say."""
    name = plain_name(f"{device}.{known.name}".replace("/", "."))
    if not name:
        return None
    low, high = (next((known.properties[k] for k in keys if k in known.properties), None) for keys in (_LOW, _HIGH))
    limits = (float(low), float(high)) if isinstance(low, int | float) and isinstance(high, int | float) else None
    ordered = limits is not None and limits[0] < limits[1] and all(map(math.isfinite, limits))
    return Tag.model_validate(
        {
            "name": name,
            "address": f"{device}::{known.name}",
            "unit": _unit_of(known) or "1",
            "range": limits if ordered else None,
            "text": clean(known.name),
        }
    )


def _remembered(memory: str) -> dict[str, Any]:
    try:
        said = json.loads(memory)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
