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

from collectors.probe import Remark, probe
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
    assert zone2.remarks == (Remark("outside", {"low": 0, "high": 1200, "unit": "Cel"}), Remark("check"))
    assert (gone.raw, gone.value, gone.plausible) == (None, None, False)
    assert gone.quality == Quality.BAD_CONFIGURATION_ERROR
    assert gone.remarks == (Remark("status", {"name": "bad_configuration_error"}),)


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
    outside = Remark("outside", {"low": 600, "high": 800, "unit": "Cel"})
    assert metal.remarks == (outside, Remark("order", {"order": "CDAB", "value": 712.5, "unit": "Cel"}))
    assert (right.value, right.remarks) == (712.5, ())
    assert never.remarks == (outside, Remark("check"))
    assert (lot.text, lot.plausible, lot.remarks) == ("OT", True, ())


async def test_numbers_that_nothing_measures_are_doubted_though_no_range_says_so() -> None:
    words = struct.unpack(">2H", struct.pack(">f", 20.0))
    device = RawModbus({("holding", 0): words[1], ("holding", 1): words[0], ("holding", 2): 32767, ("holding", 3): 0})
    tags: list[dict[str, Any]] = [
        {"name": "metal", "address": "holding:0:float32", "unit": "Cel"},
        {"name": "within", "address": "holding:0:float32", "unit": "Cel", "range": [0, 100]},
        {"name": "broken", "address": "holding:2:int16", "unit": "Cel", "scale": 0.1},
        {"name": "known", "address": "holding:2:int16", "unit": "Cel", "sentinels": [-32768]},
        {"name": "zero", "address": "holding:3:int16"},
    ]
    async with serving(device) as port:
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "timeout_s": 0.5}
        metal, within, broken, known, zero = await probe(machine(source, tags), 5.0)
    for one in (metal, within):
        assert one.plausible is False
        assert [told.key for told in one.remarks] == ["strange", "order"]
        assert one.remarks[1].values == {"order": "CDAB", "value": 20.0, "unit": "Cel"}
    assert (broken.plausible, broken.remarks) == (True, (Remark("sentinel", {"raw": 32767.0}),))
    assert (known.remarks, zero.remarks) == ((), ())


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
    assert silent.remarks == (Remark("silent", {"seconds": 1.0}),)


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
    assert (velocity.quality, velocity.plausible, velocity.remarks) == (0, True, ())
    assert velocity.burst == "n=3 Δt=0.001 s 2 … 4 m/s"
    assert (pressure.value, pressure.plausible) == (5.0, False)
    assert pressure.remarks == (Remark("samples", {"bad": 1, "count": 3}),)
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
    assert [told.key for told in never.remarks] == ["silent", "cycle"]
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
    words = {("holding", 0): 1, ("holding", 1): 0x4C2D, ("holding", 2): 0x3731, ("holding", 3): 32767}
    (tmp_path / "curve_20260501T080000.000Z.csv").write_text("time_s,v\n0,10\n0.001,20\n")
    device, file = RawModbus(words), tmp_path / "m.toml"
    device.refuse = lambda table, start, count: 2 if start <= 9 < start + count else 0
    wave = {"name": "curve", "channel": [CHANNEL]}
    tags: list[dict[str, Any]] = [
        {"name": "mode", "unit": "1", "address": "holding:0", "values": {"1": "AUTO"}},
        {"name": "lot", "unit": "1", "address": "holding:1:string4", "context": "lot"},
        {"name": "cold", "unit": "Cel", "address": "holding:3:int16"},
        {"name": "gone", "unit": "Cel", "address": "holding:9"},
    ]

    def shown(port: int) -> str:
        folder = {"protocol": "files", "folder": str(tmp_path), "settle_s": 0.01}
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port}
        said = {"path": "a/b/c", "name": "m", "process": "casting", "source": source, "tag": tags}
        file.write_text(tomli_w.dumps(said | {"waveform": [wave], "waveform_source": folder}))
        result = CliRunner().invoke(app, ["probe", str(file)], env={"ROOTDX_LANG": language, "COLUMNS": "260"})
        assert result.exit_code == 1, result.output  # one address is none
        return result.output

    async def serve() -> str:
        async with serving(device) as port:
            return await asyncio.to_thread(shown, port)

    said = asyncio.run(serve())
    doubt = {"en": "often means a broken or missing sensor", "ko": "센서 단선이나 미연결을 뜻하는 경우가"}[language]
    gone = {"en": "the device knows no such address", "ko": "장치에 없는 주소"}[language]
    for words_said in ("1 = AUTO", "L-71", "curve/velocity", "n=2 Δt=0.001 s 2 … 3 m/s", doubt, gone):
        assert words_said in said
