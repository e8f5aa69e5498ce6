"""Each folder of tests/golden/messages is a machine file and messages: what a session makes of them.

The Sparkplug frames were encoded by the npm package sparkplug-payload. A changed expectation is written by
`REWRITE=1 pytest tests/collectors/test_golden_messages.py` and then read by a person.
"""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from collectors.device_clock import Allowance
from collectors.mqtt import Mqtt
from collectors.mqtt_packets import Message
from collectors.mqtt_routes import Routes
from collectors.mqtt_session import MqttSession, Watch
from collectors.payload import Stamps
from collectors.protocols import MachineFile
from collectors.source import Reading
from collectors.sparkplug import Sparkplug
from collectors.sparkplug_session import SparkplugSession, Wishes
from pipeline.errors import Unavailable
from pipeline.model import Batch, Event
from pipeline.plant import load
from tests.collectors.devices import opening

FOLDER = Path(__file__).parents[1] / "golden" / "messages"
NOW_NS = 1_780_000_010_000_000_000


class Wire:
    """A broker that says what the folder says and closes."""

    def __init__(self, messages: list[Message]) -> None:
        self._rounds = [messages]
        self.acknowledged = 0

    async def take(self) -> list[Message]:
        if not self._rounds:
            raise Unavailable("over")
        return self._rounds.pop()

    def acknowledge(self, messages: list[Message]) -> None:
        self.acknowledged += len(messages)


def session_of(one: Any) -> Any:
    opened, source = opening(one, lambda: NOW_NS), one.source
    if isinstance(source, Sparkplug):
        most = source.max_tags if source.finds else 0
        return SparkplugSession(
            opened, Wishes(source.group, source.edge, source.device, most, Allowance(1e9, 1e9), ask_rebirth=False)
        )
    assert isinstance(source, Mqtt)
    routes = Routes(opened.tags, (), source.pattern, source.max_tags)
    stamps = Stamps(source.time, source.time_unit, ZoneInfo(source.time_zone))
    return MqttSession(opened, routes, stamps, Allowance(1e9, 1e9), Watch(), source.max_buffer)


def lines(readings: list[Reading]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["what", "name", "ts_ns", "value", "quality"])
    for reading in readings:
        for tag in reading.found:
            writer.writerow(["found", tag.name, "", tag.unit, tag.role])
        for body in reading.bodies:
            if isinstance(body, Batch):
                rows = zip(body.tag, body.ts_ns.tolist(), body.value.tolist(), body.quality.tolist(), strict=True)
                for tag, ts, value, code in rows:
                    writer.writerow(["row", body.tags[tag], ts, repr(value), f"{code:08x}"])
            elif isinstance(body, Event):
                writer.writerow([body.kind, body.key, body.ts_ns, body.text, body.phase])
    return out.getvalue()


@pytest.mark.parametrize("name", sorted(folder.name for folder in FOLDER.iterdir()))
async def test_messages_become_what_was_expected(name: str) -> None:
    folder = FOLDER / name
    one = load(folder / "machine.toml", MachineFile)
    messages = [
        Message(m["topic"], bytes.fromhex(m["hex"]) if "hex" in m else m["text"].encode(), 1, retain=False, ident=i + 1)
        for i, m in enumerate(json.loads((folder / "messages.json").read_text(encoding="utf-8")))
    ]
    session, wire = session_of(one), Wire(messages)
    session.link = wire
    readings: list[Reading] = []
    try:
        async for reading in session.readings():
            assert readings or not wire.acknowledged
            readings.append(reading)
    except Unavailable:
        assert wire.acknowledged == len(messages)
    file, got = folder / "expected.csv", lines(readings)
    if os.environ.get("REWRITE"):
        file.write_text(got, encoding="utf-8")
    assert got == file.read_text(encoding="utf-8")
