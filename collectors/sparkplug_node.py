"""What a host application knows of one edge node: who is born, which metrics, in which order messages come.

* Pure: messages in, values out; nothing here knows tags, clocks or a network.
* Nothing is understood without its birth: an alias means what the last birth said, and a death ends it.
* A death counts only for the birth of the same bdSeq; an older one comes too late.
* A gap in the sequence is told. What was lost may have been a birth: until the next one an alias is unsure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from collectors.sparkplug_payload import NUMBERS, TEXTS, Metric, Payload, Value, fits, number_of, other_name

BIRTHS: Final = frozenset({"NBIRTH", "DBIRTH"})
DATA: Final = frozenset({"NDATA", "DDATA"})
_BDSEQ: Final = "bdSeq"


@dataclass(frozen=True, slots=True)
class Known:
    """A metric as its birth described it."""

    name: str
    datatype: int
    properties: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Told:
    """One value of a metric: of which device ("" is the node itself), when in ms, and what."""

    device: str
    metric: Known
    timestamp: int | None
    value: Value
    is_historical: bool
    quality: Value = None
    is_sure: bool = True
    """False where only an alias names it, and a birth that gave it away anew may have been lost."""


@dataclass(slots=True)
class Heard:
    """What a message meant.

    Attributes:
        values: in the order of the message.
        born: device that is there from now on ("" the node), with its metrics.
        dead: devices that are gone; with the node all of them.
        gap: sequence numbers (expected, got).
        refused: causes to count.
        lost: a birth is missing; asking for one would help.
    """

    values: list[Told] = field(default_factory=list)
    born: str | None = None
    dead: tuple[str, ...] = ()
    gap: tuple[int, int] | None = None
    refused: list[str] = field(default_factory=list)
    lost: bool = False


@dataclass(slots=True)
class _Alive:
    by_name: dict[str, Known]
    by_alias: dict[int, Known]


class Node:
    """One edge node and its devices."""

    def __init__(self) -> None:
        self._alive: dict[str, _Alive] = {}
        self._bdseq: Value = None
        self._seq: int | None = None
        self._unsure: set[str] = set()

    def metrics(self, device: str) -> Mapping[str, Known]:
        """What a device that is alive has."""
        alive = self._alive.get(device)
        return {} if alive is None else alive.by_name

    def hear(self, kind: str, device: str, payload: Payload) -> Heard:
        """Takes in a message of `kind` as NBIRTH or DDATA."""
        heard = Heard()
        if kind == "NDEATH":
            self._node_died(payload, heard)
            return heard
        if kind == "NBIRTH":
            self._alive.clear()
            self._unsure.clear()
            self._bdseq = next((one.value for one in payload.metrics if one.name == _BDSEQ), None)
            self._seq = payload.seq
        elif "" not in self._alive:
            heard.refused.append("birth_missing")
            heard.lost = True
            return heard
        else:
            self._count(payload, heard)
        if kind in BIRTHS:
            self._birth(device, payload, heard)
        elif kind == "DDEATH":
            if self._alive.pop(device, None) is not None:
                heard.dead = (device,)
        elif device not in self._alive:
            heard.refused.append("birth_missing")
            heard.lost = True
        else:
            self._data(device, payload, heard)
        return heard

    def _count(self, payload: Payload, heard: Heard) -> None:
        expected = None if self._seq is None else (self._seq + 1) % 256
        if payload.seq is None or payload.seq > 255:
            heard.refused.append("no_sequence")
            return
        if expected is not None and payload.seq != expected:
            heard.gap = (expected, payload.seq)
            heard.refused.append("sequence_gap")
            heard.lost = True
            self._unsure = set(self._alive)
        self._seq = payload.seq

    def _node_died(self, payload: Payload, heard: Heard) -> None:
        said = next((one.value for one in payload.metrics if one.name == _BDSEQ), None)
        if "" in self._alive and self._bdseq is not None and said is not None and said != self._bdseq:
            heard.refused.append("old_death")
            return
        heard.dead = tuple(dict.fromkeys(["", *self._alive]))
        self._alive.clear()
        self._seq = None

    def _birth(self, device: str, payload: Payload, heard: Heard) -> None:
        alive = _Alive({}, {})
        for one in payload.metrics:
            if not one.name:
                heard.refused.append("no_name")
                continue
            known = Known(one.name, one.datatype, dict(one.properties))
            alive.by_name[one.name] = known
            if one.alias is not None:
                alive.by_alias[one.alias] = known
        self._alive[device] = alive
        self._unsure.discard(device)
        heard.born = device
        self._data(device, payload, heard)

    def _data(self, device: str, payload: Payload, heard: Heard) -> None:
        alive = self._alive[device]
        for one in payload.metrics:
            if one.name == _BDSEQ:
                continue
            known = alive.by_name.get(one.name) if one.name else None
            if known is None and not one.name and one.alias is not None:
                known = alive.by_alias.get(one.alias)
            if known is None:
                heard.refused.append("unknown_metric")
                heard.lost = True
                continue
            self._value(device, known, one, payload, heard)

    def _value(self, device: str, known: Known, one: Metric, payload: Payload, heard: Heard) -> None:
        datatype = one.datatype or known.datatype
        if datatype not in NUMBERS and datatype not in TEXTS:
            heard.refused.append(other_name(datatype))
            return
        if one.datatype and known.datatype and one.datatype != known.datatype:
            heard.refused.append("type_mismatch")
            return
        value = None if one.is_null else number_of(one.value, datatype)
        if not one.is_null and (one.is_other or not fits(value, datatype)):
            heard.refused.append("type_mismatch")
            return
        timestamp = payload.timestamp if one.timestamp is None else one.timestamp
        said, is_sure = one.properties.get("Quality"), bool(one.name) or device not in self._unsure
        if not is_sure:
            heard.refused.append("alias_unsure")
        heard.values.append(Told(device, known, timestamp, value, one.is_historical, said, is_sure))
