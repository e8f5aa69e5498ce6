import asyncio
import json
import secrets
import struct
from typing import Any

import aiomqtt

from collectors.probe import probe
from pipeline.model import Quality
from rootdx.embedded import Broker
from tests.collectors.devices import RawModbus, machine, serving


async def test_every_tag_of_a_modbus_device_is_shown_raw_and_scaled() -> None:
    device = RawModbus({("holding", 0): 8505, ("holding", 1): 32767})
    device.refuse = lambda table, start, count: 2 if start <= 9 < start + count else 0
    tags: list[dict[str, Any]] = [
        {"name": "zone1", "address": "holding:0:int16", "unit": "Cel", "scale": 0.1, "range": [0, 1200]},
        {"name": "zone2", "address": "holding:1:int16", "unit": "Cel", "scale": 0.1, "range": [0, 1200]},
        {"name": "gone", "address": "holding:9"},
    ]
    async with serving(device) as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": 3600.0, "timeout_s": 0.5}
        zone1, zone2, gone = await probe(machine(source, tags), 5.0)
    assert (zone1.raw, zone1.value, zone1.unit, zone1.quality, zone1.plausible, zone1.error) == (
        8505,
        850.5,
        "Cel",
        0,
        True,
        "",
    )
    assert (zone2.raw, zone2.value, zone2.plausible) == (32767, 3276.7000000000003, False)
    assert "outside 0 … 1200 Cel" in zone2.error
    assert (gone.raw, gone.value, gone.plausible) == (None, None, False)
    assert (gone.quality, gone.error) == (Quality.BAD_CONFIGURATION_ERROR, "bad_configuration_error")


async def test_the_byte_order_that_fits_is_named() -> None:
    words = struct.unpack(">2H", struct.pack(">f", 712.5))
    device = RawModbus({("holding", 0): words[1], ("holding", 1): words[0], ("holding", 9): 0x4F54})
    tags: list[dict[str, Any]] = [
        {"name": "metal", "address": "holding:0:float32", "unit": "Cel", "range": [600, 800]},
        {"name": "right", "address": "holding:0:float32:CDAB", "unit": "Cel", "range": [600, 800]},
        {"name": "never", "address": "holding:4:int32", "unit": "Cel", "range": [600, 800]},
        {"name": "lot", "address": "holding:9:string2", "context": "lot"},
    ]
    async with serving(device) as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "timeout_s": 0.5}
        source |= {"block": [{"trigger": "right", "tags": ["lot"]}]}
        metal, right, never, lot = await probe(machine(source, tags), 5.0)
    assert metal.error.endswith("outside 600 … 800 Cel: order CDAB gives 712.5 Cel")
    assert (right.value, right.error) == (712.5, "")
    assert never.error == "outside 600 … 800 Cel: check address, type, order and scale"
    assert (lot.text, lot.plausible, lot.error) == ("OT", True, "")


async def test_a_device_that_is_away_is_said_of_every_tag() -> None:
    source = {"protocol": "modbus", "host": "127.0.0.1", "port": 1, "timeout_s": 0.2}
    rows = await probe(machine(source, [{"address": "holding:0"}, {"address": "holding:1"}]), 1.0)
    assert [row.quality for row in rows] == [None, None]
    assert all("accepts no connection" in row.error for row in rows)


async def test_a_message_is_awaited_and_silence_is_said(broker: Broker) -> None:
    topic = f"probe/{secrets.token_hex(6)}"
    source = {"protocol": "mqtt", "host": broker.host, "port": broker.port}
    one = machine(source, [{"address": f"{topic} v"}, {"address": f"{topic} never"}])
    probing = asyncio.create_task(probe(one, 1.0))
    async with aiomqtt.Client(broker.host, broker.port) as client:
        while not probing.done():
            await client.publish(topic, json.dumps({"v": 5}))
            await asyncio.sleep(0.1)
    heard, silent = await probing
    assert (heard.value, heard.plausible) == (5.0, True)
    assert silent.error == "nothing heard within 1 s"
