"""Reads every configured tag of a machine once and shows raw and scaled values: for commissioning.

* It goes through the same sessions as the gateway, so what it shows is what would be stored.
* It stores nothing, acknowledges nothing on the gateway's behalf and leaves nothing at the broker.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from collectors.mqtt import Mqtt
from collectors.scaling import Scaling
from collectors.source import Clock, Opening, Reading, Source
from pipeline import service
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import BAD_BIT, Batch, Event, Quality
from pipeline.plant import Machine, Tag

_EVERY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """What one tag said.

    Attributes:
        name: of the tag.
        raw: the number before scale and offset, None where there was none.
        value: in `unit`, None where there was none.
        unit: UCUM.
        quality: OPC UA status code, None when the tag was not heard of at all.
        plausible: a good value inside the tag's range.
        error: what went wrong, for people; empty where nothing did.
    """

    name: str
    raw: float | None
    value: float | None
    unit: str
    quality: int | None
    plausible: bool
    error: str


async def probe(machine: Machine[Any], wait_s: float = 5.0, clock: Clock = service.wall_ns) -> list[ProbeRow]:
    """One row a tag, in file order; never raises for a device that is away.

    Args:
        machine: as read from its file.
        wait_s: longest wait until every tag was heard of.
        clock: wall clock.
    """
    if not machine.tag:
        return []
    bare = tuple(tag.model_copy(update={"scale": 1.0, "offset": 0.0, "range": None}) for tag in machine.tag)
    opening = Opening(machine.path, bare, clock, f"rootdx-probe-{machine.path.replace('/', '-')}")
    heard: dict[int, tuple[float, int]] = {}
    errors: dict[str, str] = {}
    trouble = f"nothing heard within {wait_s:g} s"
    try:
        async with asyncio.timeout(wait_s), _hurried(machine.source).open(opening) as session:
            async for reading in session.readings():
                _hear(reading, heard, errors)
                if len(heard) == len(bare):
                    break
    except (Unavailable, ConfigError) as error:
        trouble = str(error)
    except TimeoutError:
        pass
    scaling = Scaling(machine.tag)
    return [
        _row(tag, i, heard.get(i), scaling, errors.get(tag.name, "") or ("" if i in heard else trouble))
        for i, tag in enumerate(machine.tag)
    ]


def _hurried(source: Source) -> Source:
    """The same source, reading soon and leaving no session behind."""
    update: dict[str, object] = {"every_s": min(source.every_s, _EVERY_S)}
    if isinstance(source, Mqtt):
        update["session"] = "clean"
    return source.model_copy(update=update)


def _hear(reading: Reading, heard: dict[int, tuple[float, int]], errors: dict[str, str]) -> None:
    for body in reading.bodies:
        if isinstance(body, Batch):
            rows = zip(body.tag.tolist(), body.value.tolist(), body.quality.tolist(), strict=True)
            heard.update({tag: (value, quality) for tag, value, quality in rows})
        elif isinstance(body, Event):
            errors[body.key] = body.text


def _row(tag: Tag, index: int, said: tuple[float, int] | None, scaling: Scaling, error: str) -> ProbeRow:
    if said is None:
        return ProbeRow(tag.name, None, None, tag.unit, None, plausible=False, error=error)
    raw, code = said
    values, codes = scaling.judge(np.array([raw]), np.array([code], np.uint32), np.array([index], np.uint16))
    quality = int(codes[0])
    if quality >= BAD_BIT:
        return ProbeRow(tag.name, None, None, tag.unit, quality, plausible=False, error=error or _name(quality))
    value = float(values[0])
    outside = quality == Quality.UNCERTAIN_UNITS_EXCEEDED
    if outside and tag.range is not None:
        error = f"outside {tag.range[0]:g} … {tag.range[1]:g} {tag.unit}: check address, type, order and scale"
    return ProbeRow(tag.name, raw, value, tag.unit, quality, plausible=not outside, error=error)


def _name(code: int) -> str:
    with contextlib.suppress(ValueError):
        return Quality(code).name.lower()
    return f"status 0x{code:08X}"
