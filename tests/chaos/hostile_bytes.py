"""What hostile clients try with bytes: packets that are no MQTT, topics with tricks, records that are none."""

import asyncio
import contextlib
import random
import ssl
import struct
import time
import uuid
from collections.abc import AsyncIterator, Sequence

import numpy as np
import psutil
import zstandard

from pipeline import wire
from pipeline.bus import connected
from pipeline.model import Body
from pipeline.topics import record_topic
from tests.chaos.hostile_bus import FORGED, counted_of, until
from tests.chaos.hostile_plant import ASSET, EVIL, GOOD, Outcome, Yard
from tests.support.spine import batch, event, frame, tally

# ---- packets ----


class Raw:
    """MQTT by hand, on a connection of gw-evil."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Bytes as they are; a line that is cut is no error."""
        with contextlib.suppress(OSError):
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), 5)

    async def ends(self, patience_s: float = 1.0) -> bool:
        """Whether the broker hangs up."""
        try:
            async with asyncio.timeout(patience_s):
                while await self._reader.read(4096):
                    pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


@contextlib.asynccontextmanager
async def raw(yard: Yard, *, greeted: bool = True) -> AsyncIterator[Raw]:
    """A TLS connection with the certificate of gw-evil; greeted: after CONNECT."""
    context = ssl.create_default_context(cafile=str(yard.papers / "ca.pem"))
    context.load_cert_chain(yard.papers / f"{EVIL}.pem", yard.papers / f"{EVIL}.key")
    reader, writer = await asyncio.open_connection("localhost", yard.broker_port, ssl=context)
    line = Raw(reader, writer)
    if greeted:
        name = f"x-{uuid.uuid4().hex[:8]}".encode()
        await line.send(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x0a" + _text(name)))
        await asyncio.wait_for(reader.readexactly(4), 5)
    try:
        yield line
    finally:
        writer.transport.abort()


def packet(head: int, body: bytes) -> bytes:
    """An MQTT packet with its length."""
    length, coded = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        coded.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([head, *coded]) + body


def _text(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text


def publish(topic: bytes, payload: bytes) -> bytes:
    """A PUBLISH of QoS 0."""
    return packet(0x30, _text(topic) + payload)


async def topics(yard: Yard) -> list[Outcome]:
    """Topics that mean something else to somebody on the way."""
    forged = wire.frame(frame([batch(asset=FORGED)], 1, 0, GOOD, uuid.uuid4()))
    tricks = {
        "$SYS": b"$SYS/broker/x", "the broker's own": b"$MQTT/sub/x", "API of the broker": b"$JS/API/STREAM/LIST",
        "+": b"rootdx/v1/+/record", "#": b"rootdx/v1/#", "dots": b"rootdx.v1.gw-good.record", ">": b"rootdx/v1/>",
        "*": b"rootdx/v1/*/record", "space": b"rootdx/v1/gw-good /record", "NUL": b"rootdx/v1/gw-good\x00/record",
        "slash before": b"/rootdx/v1/gw-good/record", "two slashes": b"rootdx//v1/gw-good/record", "empty": b"",
        "65,535 bytes": b"rootdx/v1/" + b"x" * 65_525, "no UTF-8": b"rootdx/v1/\xff\xfe/record",
        "upper case": b"ROOTDX/V1/GW-GOOD/RECORD",
    }  # fmt: skip
    found = []
    for name, topic in tricks.items():
        before, ended = yard.refusals("[ERR]"), False
        async with raw(yard) as line:
            await line.send(publish(topic, forged))
            ended = await line.ends(0.4)
        outcome = "hung up on" if ended else "not passed on"
        found.append((name, outcome, yard.refusals("[ERR]") - before))
    held = await yard.goes_on() and await yard.number("SELECT count(*) FROM rootdx.asset WHERE path = %s", FORGED) == 0
    return [
        Outcome("bus", f"topic: {name}", 1, outcome, f"broker's log: {lines} lines", held)
        for name, outcome, lines in found
    ]


async def broken_packets(yard: Yard, times: int, seed: int) -> list[Outcome]:
    """Bytes that are no MQTT, or too much of it."""
    rng = random.Random(seed)
    named = {
        "random bytes": [rng.randbytes(rng.randint(1, 400)) for _ in range(times)],
        "random bytes behind a PUBLISH": [b"\x30" + rng.randbytes(rng.randint(1, 200)) for _ in range(times)],
        "length of five bytes": [b"\x30\xff\xff\xff\xff\x7f" + b"x" * 100],
        "length of 256 MB, and silence": [b"\x30\xff\xff\xff\x7f\x00\x01a"],
        "topic longer than its packet": [b"\x30\x04\xff\xffab"],
        "QoS 3": [packet(0x36, _text(record_topic(EVIL).encode()) + b"\x00\x01x")],
        "reserved kinds": [b"\x00\x00", b"\xf0\x00"],
        "SUBSCRIBE without a filter": [packet(0x82, b"\x00\x01")],
        "a second CONNECT": [packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x0a" + _text(b"again"))],
        "16 MB in one message": [publish(record_topic(EVIL).encode(), bytes(16 << 20))],
    }
    found = []
    for attempt, packets in named.items():
        before, ended = yard.refusals("[ERR]", "error"), 0
        for one in packets:
            async with raw(yard) as line:
                await line.send(one)
                ended += await line.ends(0.3)
        lines = yard.refusals("[ERR]", "error") - before
        said = f"broker's log: {lines} lines"
        outcome = f"hung up on {ended} of {len(packets)}"
        found.append(Outcome("bus", attempt, len(packets), outcome, said, await yard.goes_on()))
    before = yard.refusals("[ERR]")
    strangers = (b"GET / HTTP/1.1\r\n\r\n", rng.randbytes(300), packet(0x30, _text(b"a") + b"x"))
    ended = sum(await asyncio.gather(*(_unasked(yard, one) for one in strangers)))
    said = f"broker's log: {yard.refusals('[ERR]') - before} lines"
    found.append(Outcome("bus", "no CONNECT at all", 3, f"hung up on {ended} of 3", said, await yard.goes_on()))
    return found


async def _unasked(yard: Yard, data: bytes) -> bool:
    async with raw(yard, greeted=False) as line:
        await line.send(data)
        return await line.ends(6.0)


# ---- records ----


async def broken_records(yard: Yard, times: int, seed: int) -> list[Outcome]:
    """Bytes on its own topic that are no record, or one with something in it that cannot be."""
    good = wire.frame(frame([batch(asset=FORGED)], 1, 0, EVIL, uuid.UUID(int=9)))
    rng = random.Random(seed)
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    cases: dict[str, Sequence[bytes]] = {
        "nothing a record": [rng.randbytes(rng.randint(1, 2000)) for _ in range(times)],
        "cut short": [good[: rng.randint(1, len(good) - 1)] for _ in range(times)],
        "a bit flipped": [_flipped(good, rng) for _ in range(times)],
        "version of the future": [good[:3] + b"\x63" + good[4:]],
        "says it is longer": [good[:4] + struct.pack("<I", 1 << 31) + good[8:]],
        "payload that is none": [_signed(good, b"no zstd at all", seq) for seq in range(2, 12)],
        "256 MB in 8 kB": [_signed(good, bomb, seq) for seq in range(12, 15)],
        "times of the year 1677": [_framed(batch(asset=FORGED, ts_ns=-(1 << 62)), 15)],
        "good and not a number": [_framed(batch(asset=FORGED, first=0, n=2), 16, math_nan=True)],
    }
    memory = psutil.Process(yard.processes["writer"].pid)
    found = []
    for attempt, messages in cases.items():
        before, rss = await counted_of(yard), memory.memory_info().rss
        async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
            for one in messages:
                await voice.publish(record_topic(EVIL), one)
        counted = await until(yard, before + len(messages)) - before
        grown = (memory.memory_info().rss - rss) / 1e6
        said = f"rootdx_quarantined_total +{counted:.0f}; writer {grown:+.0f} MB"
        rows = await yard.number(
            "SELECT count(*) FROM rootdx.measurement m JOIN rootdx.tag t USING (tag_id) JOIN rootdx.asset a "
            "USING (asset_id) WHERE a.path = %s AND m.value IS NOT NULL", FORGED,
        )  # fmt: skip
        held = counted >= len(messages) and rows == 0 and grown < 150 and await yard.goes_on()
        outcome = f"set aside, rows stored: {rows}"
        found.append(Outcome("wire", f"record: {attempt}", len(messages), outcome, said, held))
    return found


def _flipped(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def _signed(good: bytes, payload: bytes, seq: int) -> bytes:
    """A frame whose checksum is right whatever is in it: who sends it knows how that is done."""
    held = next(iter(wire.frames(good)))
    return wire.frame(wire.Frame(held.source, held.epoch, seq, 0, held.gateway_ns, 3, payload))


def _framed(body: object, seq: int, *, math_nan: bool = False) -> bytes:
    assert isinstance(body, type(batch()))
    if math_nan:
        value = np.full(len(body), np.nan)
        packed = bytearray(zstandard.ZstdDecompressor().decompress(wire.pack([body])))
        at = bytes(packed).find(struct.pack("<2d", *body.value))
        packed[at : at + 16] = value.tobytes()
        payload = zstandard.ZstdCompressor().compress(bytes(packed))
    else:
        payload = wire.pack([body])
    return wire.frame(wire.Frame(EVIL, uuid.UUID(int=9), seq, 0, 1_780_000_000_000_000_000, len(body), payload))


async def _foreign_machine(yard: Yard) -> Outcome:
    """A gateway with a certificate speaks of a machine of another one, and in that one's name."""
    mark = batch(asset=ASSET, first=-5, n=1, tags=("n0",))
    bodies: list[Body] = [mark, tally(1, asset=ASSET, tags=("n0",)), event(asset=f"gateway/{GOOD}"), event(asset=ASSET)]
    epoch = uuid.uuid4()
    async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
        await voice.publish(record_topic(EVIL), wire.frame(frame(bodies, 1, 0, EVIL, epoch)))
    asked = (
        "SELECT count(*) FROM rootdx.quarantine q JOIN rootdx.ledger l USING (source_id) "
        "WHERE q.cause = 'machine' AND l.epoch = %s"
    )
    deadline = time.monotonic() + 15
    while await yard.number(asked, epoch) < len(bodies) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    aside = await yard.number(asked, epoch)
    rows = await yard.number("SELECT count(*) FROM rootdx.measurement WHERE value = -5")
    said = f"quarantine: {aside} bodies of {EVIL}, {rows} rows stored"
    held = rows == 0 and aside == len(bodies)
    return Outcome("wire", "rows, counts and events of another gateway's machine", 1, "refused", said, held)


async def _retained_garbage(yard: Yard) -> Outcome:
    """Lies on the broker for ever, and greets the writer at each start."""
    before = await yard.number("SELECT count(*) FROM rootdx.quarantine")
    async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
        await voice.publish(record_topic(EVIL), b"garbage that stays", retain=True)
    await asyncio.sleep(0.5)
    for _ in range(2):
        await yard.restart_writer()
        await yard.goes_on(60.0)
    entries = await yard.number("SELECT count(*) FROM rootdx.quarantine") - before
    asked = "SELECT max(arrivals) FROM rootdx.quarantine WHERE bytes = %s"
    arrivals = await yard.number(asked, b"garbage that stays")
    async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
        await voice.publish(record_topic(EVIL), b"", retain=True)
    said = f"quarantine: {entries} entry, arrived {arrivals} times"
    return Outcome("bus", "retained garbage, writer started twice", 1, "set aside once", said, entries == 1)


async def single(yard: Yard) -> list[Outcome]:
    """What is tried once."""
    return [await _foreign_machine(yard), await _retained_garbage(yard)]
