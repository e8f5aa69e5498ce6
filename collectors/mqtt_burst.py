"""Bursts in MQTT messages: JSON objects of arrays, or binary columns; the address says where what lies. See mqtt.md.

* An address is a topic and, after it, whatever differs from the defaults, as `key=value`.
* A burst without a time of its own ended when it arrived.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from collectors.bursts import number, numbers, period_ns, shaped
from collectors.device_clock import DeviceClock
from collectors.payload import NOTHING, TimeUnit, time_of, walk
from collectors.source import Opening
from pipeline.errors import BadData
from pipeline.model import MOST_VALUES, Floats, Quality, Waveform
from pipeline.plant import WaveformEntry

_ADDRESS: Final = re.compile(r"(?P<topic>[^\s#+=]+)(?P<options>(?:\s+\w+=\S+)*)")
_PERIODS: Final = {"period_us": 1e-6, "period_ms": 1e-3, "period_s": 1.0}
_FORMATS: Final = {"json": None, "float32": np.dtype("<f4"), "int16": np.dtype("<i2")}
_HEAD: Final = "head"
"""`ts=head`: a binary payload begins with its time, a little-endian int64 in the source's time_unit."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address, taken apart: a topic, where the time, the periods (in seconds) and the channels lie, the format."""

    topic: str
    ts: str
    periods: tuple[tuple[str, float], ...]
    channels: str
    form: str


def place_of(entry: WaveformEntry) -> Place:
    """The address of a waveform.

    Raises:
        ValueError: it is none.
    """
    found = _ADDRESS.fullmatch(entry.address)
    options = dict(item.split("=", 1) for item in found["options"].split()) if found else {}
    known = {"ts", "channels", "format", *_PERIODS}
    form = options.get("format", "json")
    if found is None or not options.keys() <= known or form not in _FORMATS:
        raise ValueError(
            f"waveform {entry.name!r}: address {entry.address!r} is not '<topic>' and any of ts= period_us= period_ms= "
            "period_s= channels= format=json|float32|int16, e.g. 'weld1/burst channels=data.curves'"
        )
    if form != "json" and entry.period_s is None:
        raise ValueError(f"waveform {entry.name!r}: a binary payload says no period; give period_s")
    given = {key: options[key] for key in _PERIODS if key in options}
    periods = tuple((path, _PERIODS[key]) for key, path in (given or {key: key for key in _PERIODS}).items())
    default = "ts" if form == "json" else ""
    return Place(found["topic"], options.get("ts", default), periods, options.get("channels", "channels"), form)


class Bursts:
    """The waveforms of one machine by topic."""

    def __init__(self, opening: Opening, time_unit: TimeUnit, device: DeviceClock) -> None:
        self._asset, self._clock, self._unit = opening.asset, opening.clock, time_unit
        self._device, self._kept = device, False
        self._by_topic: dict[str, list[tuple[WaveformEntry, Place]]] = {}
        for entry in opening.waveforms:
            place = place_of(entry)
            self._by_topic.setdefault(place.topic, []).append((entry, place))
        self.topics = tuple(self._by_topic)

    def read(self, topic: str, payload: bytes, *, kept: bool = False) -> tuple[list[Waveform], bool]:
        """The waveforms of a message, and whether every one carries its own time.

        Args:
            topic: of the message.
            payload: what it says.
            kept: it is a retained one, however old.

        Raises:
            BadData: the message is not as the address says, or more than a record can carry.
        """
        found: list[Waveform] = []
        own_time = True
        self._kept = kept
        for entry, place in self._by_topic[topic]:
            if place.form == "json":
                said = _json(payload)
                for one in said if isinstance(said, list) else [said]:
                    waveform, owned = self._of_json(entry, place, one)
                    found.append(waveform)
                    own_time &= owned
            else:
                waveform, owned = self._of_bytes(entry, place, payload)
                found.append(waveform)
                own_time &= owned
        if sum(one.value.size for one in found) > MOST_VALUES:
            raise BadData(f"{len(found)} waveforms of together more than {MOST_VALUES} values; send them one by one")
        return found, own_time

    def _of_json(self, entry: WaveformEntry, place: Place, one: Any) -> tuple[Waveform, bool]:
        columns = _columns(entry, walk(one, place.channels.split(".")), place.channels)
        periods = ((walk(one, path.split(".")), scale) for path, scale in place.periods)
        period_s = next((number(said) * scale for said, scale in periods if isinstance(said, int | float)), None)
        return self._stamped(entry, walk(one, place.ts.split(".")), period_s, columns)

    def _of_bytes(self, entry: WaveformEntry, place: Place, payload: bytes) -> tuple[Waveform, bool]:
        dtype, k = _FORMATS[place.form], len(entry.channel)
        head = 8 if place.ts == _HEAD else 0
        content = payload[head:]
        if dtype is None or not content or len(content) % (dtype.itemsize * k) or len(payload) < head:
            raise BadData(f"{len(payload)} bytes are not {k} columns of {place.form} behind {head} bytes of time")
        columns = np.frombuffer(content, dtype).astype(np.float64).reshape(k, -1)
        said = int.from_bytes(payload[:head], "little", signed=True) if head else NOTHING
        return self._stamped(entry, said, None, list(columns))

    def _stamped(
        self, entry: WaveformEntry, said: Any, period_s: float | None, columns: Sequence[Floats]
    ) -> tuple[Waveform, bool]:
        now = self._clock()
        owned = said is not NOTHING
        ts_ns = None
        if owned:
            ts_ns = time_of(said, "iso" if isinstance(said, str) else self._unit)
        span_ns = len(columns[0]) * period_ns(entry, period_s)
        if ts_ns is not None and self._device.believed(ts_ns + span_ns, now, kept=self._kept):
            return shaped(self._asset, entry, ts_ns, period_s, columns), True
        began = now - span_ns
        quality = Quality.UNCERTAIN if owned else Quality.GOOD
        return shaped(self._asset, entry, began, period_s, columns, quality), owned


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadData(f"not JSON: {error}") from error


def _columns(entry: WaveformEntry, said: Any, path: str) -> list[Floats]:
    """One column a channel, from an object of arrays by name, or an array of arrays in the order of the file."""
    if isinstance(said, list) and len(said) == len(entry.channel) and not any(c.address for c in entry.channel):
        return [numbers(column) for column in said]
    if not isinstance(said, dict | list):
        raise BadData(f"no channels at {path!r}; say where they are, e.g. channels=data.curves in the address")
    columns = []
    for channel in entry.channel:
        column = walk(said, channel.address.split(".") if channel.address else [channel.name])
        if column is NOTHING:
            there = ", ".join(map(str, said)) if isinstance(said, dict) else f"{len(said)} places"
            raise BadData(f"channel {channel.name!r} is not at {path!r}; there is: {there[:200]}")
        columns.append(numbers(column))
    return columns
