import asyncio
import json
import secrets
import struct
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
import tomli_w
from typer.testing import CliRunner

from collectors.probe import probe
from pipeline.model import Quality
from rootdx.cli import app
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


CHANNEL = {"name": "velocity", "unit": "m/s", "address": "v", "scale": 0.1, "offset": 1.0}


async def test_a_burst_is_shown_channel_by_channel_and_its_file_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "curve_20260501T080000.000Z.csv"
    file.write_text("time_s,v,p\n0,10,5\n0.001,20,\n0.002,30,7\n")
    folder = {"protocol": "files", "folder": str(tmp_path), "settle_s": 0.01, "after": "delete"}
    wave = {"name": "curve", "channel": [CHANNEL, {"name": "p", "unit": "bar"}]}
    async with serving(RawModbus({("holding", 0): 7})) as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port}
        one = machine(source, [{"address": "holding:0"}], waveform=[wave], waveform_source=folder)
        tag, velocity, pressure = await probe(one, 5.0)
        assert [row.name for row in await probe(one, 5.0, bursts=False)] == ["t0"]
    assert tag.value == 7.0
    assert (velocity.name, velocity.raw, velocity.value, velocity.unit) == ("curve/velocity", 10.0, 2.0, "m/s")
    assert (velocity.quality, velocity.plausible, velocity.error) == (0, True, "")
    assert velocity.burst == "n=3 Δt=0.001 s 2 … 4 m/s"
    assert (pressure.value, pressure.plausible, pressure.error) == (5.0, False, "1 of 3 samples are no numbers")
    assert file.exists()


async def test_tags_and_bursts_of_one_broker_come_through_one_session(broker: Broker) -> None:
    topic = f"probe/{secrets.token_hex(6)}"
    wave = {"name": "curve", "address": f"{topic}/burst", "channel": [{"name": "v", "unit": "A"}]}
    source = {"protocol": "mqtt", "host": broker.host, "port": broker.port}
    one = machine(source, [{"address": f"{topic} v"}], waveform=[wave, wave | {"name": "never", "address": "x/y"}])
    probing = asyncio.create_task(probe(one, 2.0))
    async with aiomqtt.Client(broker.host, broker.port) as client:
        while not probing.done():
            await client.publish(topic, json.dumps({"v": 5}))
            await client.publish(f"{topic}/burst", json.dumps({"period_ms": 1, "channels": {"v": [1, 2]}}))
            await asyncio.sleep(0.1)
    number, burst, never = await probing
    assert (number.value, burst.value, burst.burst) == (5.0, 1.0, "n=2 Δt=0.001 s 1 … 2 A")
    assert never.error == "nothing heard within 2 s; run a cycle meanwhile, or wait longer"
    assert (never.quality, never.plausible) == (None, False)


async def test_a_burst_that_is_refused_says_why(tmp_path: Path) -> None:
    (tmp_path / "curve_20260501T080000.000Z.csv").write_text("time_s,w\n0,10\n0.001,20\n")
    source = {"protocol": "files", "folder": str(tmp_path), "settle_s": 0.01}
    one = machine(source, [], waveform=[{"name": "curve", "channel": [CHANNEL]}])
    (row,) = await probe(one, 0.6)
    assert "'v'" in row.error
    assert not row.plausible


@pytest.mark.parametrize("language", ["en", "ko"])
def test_people_see_texts_meanings_and_bursts(tmp_path: Path, language: str) -> None:
    words = {("holding", 0): 1, ("holding", 1): 0x4C2D, ("holding", 2): 0x3731}
    (tmp_path / "curve_20260501T080000.000Z.csv").write_text("time_s,v\n0,10\n0.001,20\n")
    device, file = RawModbus(words), tmp_path / "m.toml"
    wave = {"name": "curve", "channel": [CHANNEL]}
    tags: list[dict[str, Any]] = [
        {"name": "mode", "unit": "1", "address": "holding:0", "values": {"1": "AUTO"}},
        {"name": "lot", "unit": "1", "address": "holding:1:string4", "context": "lot"},
    ]

    def shown(port: int) -> str:
        folder = {"protocol": "files", "folder": str(tmp_path), "settle_s": 0.01}
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port}
        said = {"path": "a/b/c", "name": "m", "process": "casting", "source": source, "tag": tags}
        file.write_text(tomli_w.dumps(said | {"waveform": [wave], "waveform_source": folder}))
        result = CliRunner().invoke(app, ["probe", str(file)], env={"ROOTDX_LANG": language, "COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.output

    async def serve() -> str:
        async with serving(device) as port:
            return await asyncio.to_thread(shown, port)

    said = asyncio.run(serve())
    for words_said in ("1 = AUTO", "L-71", "curve/velocity", "n=2 Δt=0.001 s 2 … 3 m/s"):
        assert words_said in said
