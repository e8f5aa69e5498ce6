"""Reads every configured tag of a machine once, and one of each burst, raw and scaled: for commissioning.

* It goes through the same sessions as the gateway, so what it shows is what would be stored.
* A number of several registers that is outside its range, or too small or large to be one, is read in the other byte
  orders too: those that would fit are named.
* A burst comes when the machine makes one: whoever wants to see it runs a cycle meanwhile.
* It stores nothing, acknowledges nothing on the gateway's behalf, moves no file and leaves nothing at the broker.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from collectors.files import Files
from collectors.modbus import Modbus
from collectors.mqtt import Mqtt
from collectors.scaling import Scaling
from collectors.source import Clock, Opening, Reading, Source
from collectors.sparkplug import Sparkplug
from pipeline import service
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import BAD_BIT, UNCERTAIN_BIT, Batch, Event, Quality, Waveform
from pipeline.plant import Channel, Machine, Tag, WaveformEntry

_EVERY_S: Final = 0.25
_TINY, _HUGE = 1e-15, 1e15
_BROKEN: Final = frozenset({32767.0, -32768.0, 32766.0, 65535.0})
"""What 16-bit registers of many devices hold for a sensor that is broken or not there."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to tell a person about a tag: `key` names the sentence, `values` are what stands in it."""

    key: str
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """What one tag said, or one channel of a burst.

    Attributes:
        name: of the tag, or `waveform/channel`.
        raw: the number before scale and offset, None where there was none; of a burst the first one.
        value: in `unit`, None where there was none.
        unit: UCUM.
        quality: OPC UA status code, None when the tag was not heard of at all.
        plausible: a good value inside the tag's range.
        error: what went wrong, as the device or its connection says it; empty where nothing did.
        remarks: what we make of it.
        text: what a string says, or what the number means.
        burst: of a channel: how many samples, how far apart, and between which values; else empty.
    """

    name: str
    raw: float | None
    value: float | None
    unit: str
    quality: int | None
    plausible: bool
    error: str
    text: str = ""
    burst: str = ""
    remarks: tuple[Remark, ...] = ()


async def probe(
    machine: Machine[Any], wait_s: float = 5.0, clock: Clock = service.wall_ns, *, bursts: bool = True
) -> list[ProbeRow]:
    """One row a tag and one a channel, in file order; never raises for a device that is away.

    Args:
        machine: as read from its file.
        wait_s: longest wait until everything was heard of.
        clock: wall clock.
        bursts: whether bursts are waited for, too.
    """
    asked = (*machine.tag, *_in_other_orders(machine))
    bare = tuple(tag.model_copy(update={"scale": 1.0, "offset": 0.0, "range": None, "loop": None}) for tag in asked)
    waves = tuple(map(_bare, machine.waveform)) if bursts else ()
    name = f"rootdx-probe-{machine.path.replace('/', '-')}"
    second = machine.waveform_source
    heard = _Heard({tag.name: i for i, tag in enumerate(asked)}, waves if second is None else ())
    opening = Opening(machine.path, bare, clock, name, waveforms=heard.waves)
    silent = Remark("silent", {"seconds": wait_s})
    listening = [_listen(machine.source, opening, heard, wait_s)]
    brought = heard
    if second is not None and waves:
        brought = _Heard({}, waves)
        beside = Opening(machine.path, (), clock, f"{name}-waveform", waveforms=waves)
        listening.append(_listen(second, beside, brought, wait_s))
    troubles = await asyncio.gather(*listening)
    scaling = Scaling(asked)
    rows = [_row(tag, heard, scaling, (troubles[0], silent), asked) for tag in machine.tag]
    why = (troubles[-1], silent)
    return rows + [row for entry in machine.waveform if bursts for row in _rows_of(entry, brought, why)]


async def _listen(source: Source, opening: Opening, heard: "_Heard", wait_s: float) -> str:
    """Hears a device until everything has been said; why it could not be heard, empty where nothing was in the way."""
    if heard.all:
        return ""
    try:
        async with asyncio.timeout(wait_s), _hurried(source).open(opening) as session:
            async for reading in session.readings():
                heard.add(reading)
                if heard.all:
                    break
    except (Unavailable, ConfigError) as error:
        return str(error)
    except TimeoutError:
        pass
    return ""


def _bare(entry: WaveformEntry) -> WaveformEntry:
    channels = tuple(channel.model_copy(update={"scale": 1.0, "offset": 0.0}) for channel in entry.channel)
    return entry.model_copy(update={"channel": channels})


def _in_other_orders(machine: Machine[Any]) -> list[Tag]:
    """The tags of a Modbus machine that may have another byte order, in each of the others, as `name~order`."""
    if not isinstance(machine.source, Modbus):
        return []
    return [
        other.model_copy(update={"name": f"{tag.name}~{other.address.rpartition(':')[2]}"})
        for tag in machine.tag
        for other in machine.source.other_orders(tag)
    ]


_Why = tuple[str, Remark]
"""What was in the way of hearing, or nothing; and that nothing was heard."""


class _Heard:
    """What was heard of each tag, by its name."""

    def __init__(self, places: dict[str, int], waves: tuple[WaveformEntry, ...]) -> None:
        self.places, self.waves = places, waves
        self.bursts: dict[str, Waveform] = {}
        self.numbers: dict[str, tuple[float, int]] = {}
        self.texts: dict[str, str] = {}
        self.errors: dict[str, str] = {}

    @property
    def all(self) -> bool:
        """Nothing more is awaited."""
        missing = {entry.name for entry in self.waves} - self.bursts.keys()
        return not missing and self.places.keys() <= self.numbers.keys() | self.texts.keys()

    def add(self, reading: Reading) -> None:
        """Takes in what a session said."""
        for body in reading.bodies:
            if isinstance(body, Batch):
                rows = zip(body.tag.tolist(), body.value.tolist(), body.quality.tolist(), strict=True)
                self.numbers.update({body.tags[tag]: (value, quality) for tag, value, quality in rows})
            elif isinstance(body, Waveform):
                self.bursts.setdefault(body.name, body)
            elif isinstance(body, Event) and body.kind == "waveform.refused":
                self.errors[body.kind] = body.text
            elif isinstance(body, Event) and "value" in body.data:
                self.texts[body.key] = body.text
            elif isinstance(body, Event):
                self.errors[body.key] = body.text


def _hurried(source: Source) -> Source:
    """The same source, reading soon and leaving no session behind."""
    update: dict[str, object] = {"every_s": min(source.every_s, _EVERY_S)}
    if isinstance(source, Mqtt):
        update["session"] = "clean"
    if isinstance(source, Sparkplug):
        update["host_id"] = ""  # the gateway's state is not ours to say
    if isinstance(source, Modbus):
        update["block"] = ()  # what is read once a cycle is read at once
    if isinstance(source, Files):
        update["after"] = "keep"
    return source.model_copy(update=update)


def _row(tag: Tag, heard: _Heard, scaling: Scaling, why: _Why, asked: Sequence[Tag]) -> ProbeRow:
    said, text, error = heard.numbers.get(tag.name), heard.texts.get(tag.name, ""), heard.errors.get(tag.name, "")
    if said is None and text:
        return ProbeRow(tag.name, None, None, tag.unit, int(Quality.GOOD), plausible=True, error=error, text=text)
    if said is None:
        trouble, silent = why
        told = () if error or trouble else (silent,)
        return ProbeRow(tag.name, None, None, tag.unit, None, plausible=False, error=error or trouble, remarks=told)
    value, quality = _judged(said, heard.places[tag.name], scaling)
    fits = _orders_that_fit(tag, heard, scaling, asked)
    if quality >= BAD_BIT:
        named = () if error else (Remark("status", {"name": _name(quality)}),)
        return ProbeRow(tag.name, None, None, tag.unit, quality, plausible=False, error=error, remarks=(*named, *fits))
    remarks, plausible = _doubts(tag, said[0], value, quality, fits)
    return ProbeRow(tag.name, said[0], value, tag.unit, quality, plausible, error, text, remarks=remarks)


def _doubts(
    tag: Tag, raw: float, value: float, quality: int, fits: tuple[Remark, ...]
) -> tuple[tuple[Remark, ...], bool]:
    """What a person should look at, and whether the number may be right all the same."""
    if quality == Quality.UNCERTAIN_UNITS_EXCEEDED:
        outside = (
            Remark("outside", {"low": tag.range[0], "high": tag.range[1], "unit": tag.unit}) if tag.range else None
        )
        return (*((outside,) if outside else ()), *(fits or (Remark("check"),))), False
    if _is_strange(raw):
        return (Remark("strange", {"value": value}), *(fits or (Remark("check"),))), False
    if raw in _BROKEN and not tag.sentinels:
        return (Remark("sentinel", {"raw": raw}),), True
    return (), True


def _is_strange(number: float) -> bool:
    """Of a size that nothing measured has: what registers in a wrong order come to."""
    return number != 0 and not _TINY < abs(number) < _HUGE


def _rows_of(entry: WaveformEntry, heard: _Heard, why: _Why) -> list[ProbeRow]:
    """One row a channel."""
    burst = heard.bursts.get(entry.name)
    if burst is None:
        refused = heard.errors.get("waveform.refused", "")
        remarks = () if refused else (*(() if why[0] else (why[1],)), Remark("cycle"))
        return [_unheard(entry, channel, refused or why[0], *remarks) for channel in entry.channel]
    return [_channel_row(entry, channel, burst) for channel in entry.channel]


def _unheard(entry: WaveformEntry, channel: Channel, error: str, *remarks: Remark) -> ProbeRow:
    name = f"{entry.name}/{channel.name}"
    return ProbeRow(name, None, None, channel.unit, None, plausible=False, error=error, remarks=remarks)


def _channel_row(entry: WaveformEntry, channel: Channel, burst: Waveform) -> ProbeRow:
    raw = burst.value[:, burst.channels.index(channel.name)].astype(np.float64)
    good = raw[np.isfinite(raw)]
    if not len(good):
        return _unheard(entry, channel, "", Remark("samples", {"bad": len(raw), "count": len(raw)}))
    value = good * channel.scale + channel.offset
    told = f"n={len(raw)} Δt={burst.period_ns / 1e9:g} s {value.min():g} … {value.max():g} {channel.unit}"
    bad = len(raw) - len(good)
    remarks = (Remark("samples", {"bad": bad, "count": len(raw)}),) if bad else ()
    fine = bool(burst.quality < UNCERTAIN_BIT) and not bad
    name, first = f"{entry.name}/{channel.name}", (float(good[0]), float(value[0]))
    return ProbeRow(name, *first, channel.unit, burst.quality, plausible=fine, error="", burst=told, remarks=remarks)


def _judged(said: tuple[float, int], index: int, scaling: Scaling) -> tuple[float, int]:
    raw, code = said
    values, codes = scaling.judge(np.array([raw]), np.array([code], np.uint32), np.array([index], np.uint16))
    return float(values[0]), int(codes[0])


def _orders_that_fit(tag: Tag, heard: _Heard, scaling: Scaling, asked: Sequence[Tag]) -> tuple[Remark, ...]:
    """Byte orders in which the same registers hold a value that can be, inside the range where there is one."""
    found = []
    for index, other in enumerate(asked):
        name, _, order = other.name.partition("~")
        if name == tag.name and order and other.name in heard.numbers:
            value, quality = _judged(heard.numbers[other.name], index, scaling)
            if quality == Quality.GOOD and not _is_strange(value):
                found.append(Remark("order", {"order": order, "value": value, "unit": tag.unit}))
    return tuple(found)


def _name(code: int) -> str:
    with contextlib.suppress(ValueError):
        return Quality(code).name.lower()
    return f"status 0x{code:08X}"
