"""What a machine is, in the words of its `machine.declared` event."""

from collections.abc import Sequence
from typing import Any

from collectors.deadband import interval_of
from pipeline.plant import Machine, Tag, WaveformEntry


def declaration(machine: Machine[Any], found: Sequence[Tag] = ()) -> dict[str, Any]:
    """Data of the event: the tags listed and found, and the waveforms."""
    tags, source = (*machine.tag, *found), machine.source
    on_demand = source.on_demand(tags)
    told = [
        {
            "name": tag.name,
            "role": tag.role,
            "unit": tag.unit,
            "low": tag.range[0] if tag.range else None,
            "high": tag.range[1] if tag.range else None,
            "text": tag.text,
            "every_s": None if tag.name in on_demand else interval_of(source, tag),
        }
        for tag in tags
    ]
    said = {"name": machine.name, "process": machine.process, "tags": told}
    return said | ({"waveforms": [_waveform(one) for one in machine.waveform]} if machine.waveform else {})


def _waveform(one: WaveformEntry) -> dict[str, Any]:
    channels = [{"name": c.name, "unit": c.unit, "role": c.role, "text": c.text} for c in one.channel]
    return {"name": one.name, "role": one.role, "text": one.text, "channels": channels}
