"""Bursts in OPC UA arrays: one node a channel, stamped alike, or one two-dimensional array. See opcua.md.

* Channels of one burst belong together by their source time.
* What stays incomplete when a later burst is complete is refused with the name of the channel that did not come.
* A burst whose time is not believed ended when it came, and is UNCERTAIN.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from asyncua import ua

from collectors.bursts import check_size, period_ns, refused, shaped
from collectors.device_clock import DeviceClock
from collectors.source import Opening
from pipeline.errors import BadData
from pipeline.model import BAD_BIT, Event, Quality, Waveform
from pipeline.plant import WaveformEntry

_ADDRESS: Final = re.compile(r"(?P<node>.*?)\s*(?:\b(?P<unit>period_s|period_ms|period_us)=(?P<period>.+))?", re.DOTALL)
_UNIT_S: Final = {"period_s": 1.0, "period_ms": 1e-3, "period_us": 1e-6}
_INCOMPLETE: Final = 4
"""Bursts of one waveform that may wait for a channel."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a burst.

    Attributes:
        label: for people.
        address: node id.
        entry: index of the waveform.
        channel: index of the channel; None: all of them in one array.
        unit_s: where it is the period: seconds of its unit; else None.
    """

    label: str
    address: str
    entry: int
    channel: int | None = None
    unit_s: float | None = None


def nodes_of(waveforms: Sequence[WaveformEntry]) -> tuple[Node, ...]:
    """Every node that the waveforms need, those with a period first.

    Raises:
        ValueError: an address says neither one node nor one a channel.
    """
    periods, arrays = list[Node](), list[Node]()
    for index, entry in enumerate(waveforms):
        found = _ADDRESS.fullmatch(entry.address)
        node = found["node"] if found else ""
        if found and found["period"]:
            unit_s = _UNIT_S[found["unit"]]
            periods.append(Node(f"{entry.name} period", found["period"], index, unit_s=unit_s))
        elif entry.period_s is None:
            raise ValueError(
                f"waveform {entry.name!r}: nobody says how far apart samples are; give period_s, or a node behind the "
                "address as in 'ns=2;s=Shot period_us=ns=2;s=Shot.Period'"
            )
        given = [bool(channel.address) for channel in entry.channel]
        if node and not any(given):
            arrays.append(Node(entry.name, node, index))
        elif not node and all(given):
            each = enumerate(entry.channel)
            arrays.extend(Node(f"{entry.name}.{c.name}", c.address, index, place) for place, c in each)
        else:
            raise ValueError(
                f"waveform {entry.name!r}: expected the node of a two-dimensional array as its address, or the node of "
                "an array as address of every channel, and not both"
            )
    return (*periods, *arrays)


class Assembly:
    """Puts the arrays of one machine together."""

    def __init__(self, opening: Opening, device: DeviceClock) -> None:
        self._asset, self._clock, self._entries = opening.asset, opening.clock, opening.waveforms
        self._device = device
        self._moved: dict[tuple[str, int], int] = {}
        self.nodes = nodes_of(opening.waveforms)
        self._periods: dict[int, float] = {}
        self._waiting: list[dict[int, dict[int, Array]]] = [{} for _ in opening.waveforms]

    def source_ns(self, one: Waveform) -> int:
        """What the server called the time of a burst that it brought; asked once."""
        return self._moved.pop((one.name, one.ts_ns), one.ts_ns)

    def hear(self, place: int, said: ua.DataValue, ts_ns: int) -> Iterator[Waveform | Event]:
        """What comes of one notification of `nodes[place]`, whose time the server calls `ts_ns`."""
        node = self.nodes[place]
        entry = self._entries[node.entry]
        try:
            array = _array(said, node.label)
            if not array.size:
                return  # a server may begin with an empty array
            if node.unit_s is not None:
                self._periods[node.entry] = float(array.reshape(-1)[0]) * node.unit_s
                return
            if node.channel is None:
                check_size(entry, array.size // len(entry.channel))
                yield self._shaped(node.entry, ts_ns, list(_columns(array, len(entry.channel), node.label)))
            else:
                check_size(entry, array.size)
                yield from self._add(node.entry, node.channel, ts_ns, array)
        except BadData as error:
            yield refused(self._asset, entry.name, self._clock(), error)

    def _add(self, index: int, channel: int, ts_ns: int, array: Array) -> Iterator[Waveform | Event]:
        entry, waiting = self._entries[index], self._waiting[index]
        if array.ndim != 1:
            raise BadData(f"{entry.name}.{entry.channel[channel].name}: expected an array of one dimension")
        waiting.setdefault(ts_ns, {})[channel] = array
        late: list[int] = []
        complete = len(waiting[ts_ns]) == len(entry.channel)
        if complete:
            columns = waiting.pop(ts_ns)
            late = [older for older in waiting if older < ts_ns]
        elif len(waiting) > _INCOMPLETE:
            late = [min(waiting)]
        for older in late:
            there = waiting.pop(older)
            names = [one.name for place, one in enumerate(entry.channel) if place not in there]
            error = BadData(f"waveform {entry.name}: {', '.join(names)} did not come with the same source time")
            yield refused(self._asset, entry.name, self._clock(), error)
        if complete:
            yield self._shaped(index, ts_ns, [columns[place] for place in range(len(entry.channel))])

    def _shaped(self, index: int, ts_ns: int, columns: Sequence[Array]) -> Waveform:
        entry, period_s, now = self._entries[index], self._periods.get(index), self._clock()
        span_ns = len(columns[0]) * period_ns(entry, period_s)
        if self._device.believed(ts_ns + span_ns, now, kept=True):  # the first may be of long ago
            return shaped(self._asset, entry, ts_ns, period_s, columns)
        self._moved[entry.name, now - span_ns] = ts_ns
        return shaped(self._asset, entry, now - span_ns, period_s, columns, Quality.UNCERTAIN)


def _array(said: ua.DataValue, label: str) -> Array:
    if said.StatusCode is not None and said.StatusCode.value >= BAD_BIT:
        raise BadData(f"{label}: the server says {said.StatusCode.name}")
    variant = said.Value
    value = None if variant is None else variant.Value
    if variant is None or value is None:
        return np.empty(0)
    try:
        found = np.asarray(value)
        if found.dtype.kind not in "biuf":
            raise BadData(f"{label}: expected an array of numbers")
        dimensions = [int(one) for one in variant.Dimensions or ()]
        return found.reshape(dimensions) if dimensions and int(np.prod(dimensions)) == found.size else found
    except ValueError as error:
        raise BadData(f"{label}: {error}") from error


def _columns(array: Array, k: int, label: str) -> Iterator[Array]:
    """The columns of (n, k), of (k, n), or of (n,) where there is one channel."""
    if array.ndim == 1 and k == 1:
        return iter((array,))
    if array.ndim == 2 and array.shape[1] == k:
        return iter(array.T)
    if array.ndim == 2 and array.shape[0] == k:
        return iter(array)
    raise BadData(f"{label}: an array of {' x '.join(map(str, array.shape))}, expected samples x {k} channels")
