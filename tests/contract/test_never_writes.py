"""We read machines, we never write to them: shown from the bytes on the wire, not from our code.

Each machine of the sample plant stands behind its own protocol; everything that a session and a probe send to it goes
through a tap, and every request in those bytes is one that only reads.
"""

import asyncio
import contextlib
import struct
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
import pytest

from collectors.probe import probe
from collectors.protocols import MachineFile
from collectors.source import Opening
from pipeline.plant import Machine
from rootdx.demo import sample_plant
from rootdx.embedded import Broker
from simulators.run import Options, running
from tests.collectors.devices import machine
from tests.collectors.test_sparkplug import frame, metric

READ_CODES = {1, 2, 3, 4, 7, 0x11, 0x14, 0x18, 0x2B}
"""Function codes of Modbus that leave a device as it is; 0x2B asks who it is."""
WRITE_CODES = {5, 6, 0x0F, 0x10, 0x15, 0x16, 0x17}
READ_SERVICES = {
    422: "FindServers", 428: "GetEndpoints", 446: "OpenSecureChannel", 452: "CloseSecureChannel", 461: "CreateSession",
    467: "ActivateSession", 473: "CloseSession", 527: "Browse", 533: "BrowseNext", 554: "TranslateBrowsePaths",
    560: "RegisterNodes", 566: "UnregisterNodes", 631: "Read", 664: "HistoryRead", 751: "CreateMonitoredItems",
    763: "ModifyMonitoredItems", 769: "SetMonitoringMode", 781: "DeleteMonitoredItems", 787: "CreateSubscription",
    793: "ModifySubscription", 799: "SetPublishingMode", 826: "Publish", 832: "Republish", 847: "DeleteSubscriptions",
}  # fmt: skip
"""Binary encoding ids (OPC UA Part 6) of services that change nothing but our session; Write is 673, Call is 712."""
LISTEN_S = 4.0


class Tap:
    """A relay that keeps what goes to the device, a stream a connection."""

    def __init__(self) -> None:
        self.said: list[bytearray] = []
        self.port = 0

    @asynccontextmanager
    async def towards(self, host: str, port: int) -> AsyncIterator["Tap"]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection(host, port)
            kept = bytearray()
            self.said.append(kept)
            await asyncio.gather(moved(reader, back, kept.extend), moved(there, writer, lambda _: None))

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self


async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], object]) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            seen(data)
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(Exception):
        writer.close()


def modbus_codes(stream: bytes) -> Iterator[int]:
    """The function code of every request."""
    while len(stream) >= 8:
        length = struct.unpack(">H", stream[4:6])[0]
        yield stream[7]
        stream = stream[6 + length :]


def services(stream: bytes) -> Iterator[int]:
    """The number of every request, of messages without encryption; of several chunks the first has it."""
    begins = True
    while len(stream) >= 8:
        kind, last, size = stream[:3], stream[3:4], struct.unpack("<I", stream[4:8])[0]
        if kind == b"MSG" and begins:
            yield node_number(stream[24:size])
        begins = last == b"F"
        stream = stream[size:]


def node_number(body: bytes) -> int:
    encoding = body[0] & 0x3F
    if encoding == 0:
        return body[1]
    if encoding == 1:
        return int(struct.unpack("<H", body[2:4])[0])
    assert encoding == 2, "a request is named by a number"
    return int(struct.unpack("<I", body[3:7])[0])


def packets(stream: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Kind of every MQTT packet; of a publication also its topic and payload."""
    place = 0
    while place < len(stream):
        kind, qos = stream[place] >> 4, stream[place] >> 1 & 3
        length, shift, place = 0, 0, place + 1
        while True:
            length |= (stream[place] & 127) << shift
            shift, place = shift + 7, place + 1
            if stream[place - 1] < 128:
                break
        body, place = stream[place : place + length], place + length
        if kind != 3:
            yield kind, "", b""
            continue
        end = 2 + struct.unpack(">H", body[:2])[0]
        yield kind, body[2:end].decode(), bytes(body[end + (2 if qos else 0) :])


async def used(one: Machine[Any], asset: str = "hansung/ansan1/casting/line1/dc1") -> int:
    """A probe, a session, and a second session; how many readings came."""
    await probe(one, wait_s=3.0, bursts=False)
    count = 0
    for _ in range(2):
        opening = Opening(asset, one.tag, time.time_ns, "never-writes", "", one.waveform)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_S), one.source.open(opening) as session:
                async for _ in session.readings():
                    count += 1
    return count


def sample(name: str, **source: Any) -> Machine[Any]:
    data = tomllib.loads((sample_plant() / f"{name}.toml").read_text(encoding="utf-8"))
    data.pop("waveform_source", None)
    data["waveform"] = [] if name == "dc1" else data.get("waveform", [])
    data["source"].update(source)
    return MachineFile.model_validate(
        {key: data[key] for key in ("path", "name", "process", "source", "tag", "waveform")}
    )


async def test_no_modbus_request_writes() -> None:
    tap = Tap()
    async with running("casting", Options(speed=5.0)) as endpoint, tap.towards("127.0.0.1", endpoint.port):
        assert await used(sample("dc1", port=tap.port)) > 2
    codes = {code for stream in tap.said for code in modbus_codes(bytes(stream))}
    assert codes, "requests were seen"
    assert codes <= READ_CODES
    assert not codes & WRITE_CODES


async def test_no_opcua_request_writes_or_calls() -> None:
    tap = Tap()
    async with running("heat_treatment", Options(speed=5.0)) as endpoint, tap.towards("127.0.0.1", endpoint.port):
        assert await used(sample("iq2", url=f"opc.tcp://127.0.0.1:{tap.port}")) > 2
    numbers = {number for stream in tap.said for number in services(bytes(stream))}
    assert {"CreateSubscription", "CreateMonitoredItems", "Publish"} <= {READ_SERVICES.get(one) for one in numbers}
    assert {one for one in numbers if one not in READ_SERVICES} == set()


async def test_nothing_is_published_to_a_devices_broker(broker: Broker) -> None:
    tap = Tap()
    options = Options(broker_host=broker.host, broker_port=broker.port, speed=5.0)
    async with running("welding", options), tap.towards(broker.host, broker.port):
        assert await used(sample("weld1", port=tap.port)) > 2
    kinds = {kind for stream in tap.said for kind, _, _ in packets(bytes(stream))}
    assert {1, 8, 4} <= kinds, "connect, subscribe, acknowledge were seen"
    assert 3 not in kinds


@pytest.mark.parametrize("asked", [False, True], ids=["as shipped", "as a host that asks for births"])
async def test_a_sparkplug_node_is_told_nothing_but_what_was_asked_for(broker: Broker, asked: bool) -> None:
    """What its specification demands of a host application, its state and the request to be born again, is opt-in."""
    tap = Tap()
    source: dict[str, Any] = {"protocol": "sparkplug", "group": "plant", "edge": "edge1"}
    if asked:
        source |= {"host_id": "rootdx-test", "ask_rebirth": True}
    async with tap.towards(broker.host, broker.port):
        one = machine({**source, "host": "127.0.0.1", "port": tap.port}, [{"name": "temp", "address": "temp"}])
        session = asyncio.create_task(used(one))
        async with aiomqtt.Client(broker.host, broker.port) as node:
            while not session.done():
                await node.publish("spBv1.0/plant/NDATA/edge1", frame(5, metric("temp", kind=10, value=1.0)))
                await asyncio.sleep(0.3)
        await session
    sent = {(topic, payload) for stream in tap.said for kind, topic, payload in packets(bytes(stream)) if kind == 3}
    if not asked:
        assert sent == set()
        return
    commands = {payload for topic, payload in sent if "/NCMD/" in topic}
    assert {topic for topic, _ in sent} == {"spBv1.0/STATE/rootdx-test", "spBv1.0/plant/NCMD/edge1"}
    assert commands
    assert all(payload.count(b"Node Control/") == payload.count(b"Node Control/Rebirth") == 1 for payload in commands)


@pytest.mark.parametrize("code", sorted(WRITE_CODES))
def test_the_tap_would_see_a_write(code: int) -> None:
    stream = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 1) + struct.pack(">HHHBBHH", 2, 0, 6, 1, code, 0, 1)
    assert list(modbus_codes(stream)) == [3, code]
    body = bytes([1, 0]) + struct.pack("<H", 673) + b"\0" * 20
    message = b"MSGF" + struct.pack("<I", 24 + len(body)) + b"\0" * 16 + body
    assert list(services(message * 2)) == [673, 673]
    assert list(packets(b"\x30\x07\x00\x01abody")) == [(3, "a", b"body")]
