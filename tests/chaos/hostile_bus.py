"""What hostile clients try on the bus: to get in, to hear others, to speak for others."""

import asyncio
import contextlib
import time
import uuid
from pathlib import Path
from typing import Final

from pipeline import wire
from pipeline.bus import connected
from pipeline.errors import Unavailable
from pipeline.topics import ALL_RECORDS, Committed, committed_topic, record_topic
from tests.chaos.hostile_plant import EVIL, GOOD, STOLEN, Outcome, Yard
from tests.support.spine import batch, frame

FORGED: Final = "forged/by/an/attacker"
"""The machine that every forged record names: it must never be in the database."""
_REFUSED: Final = ("TLS handshake error", "authentication error", "authentication violation")
_VIOLATION: Final = ("Violation",)
_LISTEN_S: Final = 0.7


# ---- to get in ----


async def entering(yard: Yard, times: int) -> list[Outcome]:
    """Without a certificate, or with one that is no good."""
    cases: tuple[tuple[str, str | None, Path], ...] = (
        ("without a certificate", None, yard.papers),
        ("certificate of a self-made authority, named as the writer", "writer", yard.other),
        ("certificate of a self-made authority, named as the gateway", GOOD, yard.other),
        ("expired certificate", EVIL, yard.folder / "expired"),
        ("revoked certificate", STOLEN, yard.folder / "thief"),
    )
    found = []
    for attempt, client, place in cases:
        before = yard.refusals(*_REFUSED)
        inside = sum(await asyncio.gather(*(_enters(yard, client, place) for _ in range(times))))
        counted = yard.refusals(*_REFUSED) - before
        said = f"broker's log: {counted} lines"
        found.append(Outcome("bus", attempt, times, f"let in: {inside}", said, inside == 0 and counted > 0))
    return found


async def _enters(yard: Yard, client: str | None, place: Path) -> bool:
    with contextlib.suppress(Unavailable):
        impatient = yard.bus(client, place).model_copy(update={"timeout_s": 1.5})
        async with connected(impatient, f"x-{uuid.uuid4().hex[:8]}", []):
            return True
    return False


# ---- to hear and to speak for others ----


async def listening(yard: Yard) -> list[Outcome]:
    """A gateway's certificate on topics of others."""
    topics = (
        committed_topic(GOOD), record_topic(GOOD), ALL_RECORDS, "#", "+/+/+/+", "rootdx/#", "$SYS/#", "$MQTT/#",
        "$JS/#",
    )  # fmt: skip
    found = []
    for topic in topics:
        before = yard.refusals(*_VIOLATION)
        heard = await _heard(yard, topic)
        counted = f"broker's log: {yard.refusals(*_VIOLATION) - before} violations"
        found.append(Outcome("bus", f"gw-evil listens to {topic}", 1, f"messages heard: {heard}", counted, heard == 0))
    return found


async def _heard(yard: Yard, topic: str) -> int:
    heard = 0
    with contextlib.suppress(Unavailable, TimeoutError):
        async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", [topic]) as ears, asyncio.timeout(_LISTEN_S):
            async for deliveries in ears.deliveries():
                heard += len(deliveries)
    return heard


async def captured(yard: Yard) -> bytes:
    """A message of the gateway that behaves, as somebody between it and the broker would have it."""
    async with connected(yard.bus("writer"), "tap", [record_topic(GOOD)]) as tap:
        async for deliveries in tap.deliveries():
            return deliveries[0].payload
    raise AssertionError


async def forging(yard: Yard, times: int) -> list[Outcome]:
    """Records and announcements of another gateway, and records sent again."""
    message = await captured(yard)
    real = next(iter(wire.frames(message)))
    ahead = wire.frame(frame([batch(asset=FORGED)], real.seq + 1_000_000, 0, GOOD, real.epoch))
    other = wire.frame(frame([batch(asset=FORGED)], 1, 0, GOOD, uuid.uuid4()))
    announced = Committed(real.epoch, real.seq + 500).payload()
    found = [
        await _speaks(yard, "forged record on another gateway's topic", record_topic(GOOD), ahead, times),
        await _speaks(yard, "captured record on its gateway's topic", record_topic(GOOD), message, times),
        await _speaks(yard, "forged announcement to another gateway", committed_topic(GOOD), announced, times),
        await _speaks(yard, "forged announcement, retained", committed_topic(GOOD), announced, times, retain=True),
        await _speaks(yard, "announcement on its own topic", committed_topic(EVIL), announced, times),
        await _speaks(yard, "alarm", "rootdx/v1/alarm/a/b", b"{}", times),
        await _aside(yard, "captured record on its own topic", message, times),
        await _aside(yard, "record in another's name on its own topic", ahead, times),
        await _aside(yard, "record in another's name, forged epoch", other, times),
    ]
    return [*found, await _again(yard, message, times), await _new_epochs(yard, times)]


async def _speaks(yard: Yard, attempt: str, topic: str, payload: bytes, times: int, *, retain: bool = False) -> Outcome:
    """On a topic that is not its own; whoever listens there must hear nothing of it."""
    before, ledger = yard.refusals(*_VIOLATION), await _duplicates(yard, GOOD)
    for _ in range(times):
        with contextlib.suppress(Unavailable):
            async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
                await voice.publish(topic, payload, retain=retain)
                await asyncio.sleep(0.02)
    counted = yard.refusals(*_VIOLATION) - before
    reached = int(await _duplicates(yard, GOOD) - ledger) if payload[:3] == wire.MAGIC else 0
    held = counted >= times and await yard.goes_on()
    said = f"broker's log: {counted} violations"
    return Outcome("bus", attempt, times, f"reached the writer: {reached}; gw-good goes on", said, held)


async def _aside(yard: Yard, attempt: str, payload: bytes, times: int) -> Outcome:
    """On its own topic, where the writer reads it and sets it aside."""
    before = await counted_of(yard)
    async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
        for _ in range(times):
            await voice.publish(record_topic(EVIL), payload)
    counted = await until(yard, before + times) - before
    stored = await yard.number("SELECT count(*) FROM rootdx.asset WHERE path = %s", FORGED)
    said = f"rootdx_quarantined_total +{counted:.0f}"
    held = counted == times and stored == 0 and await yard.goes_on()
    return Outcome("bus", attempt, times, "set aside, no row stored", said, held)


async def _again(yard: Yard, message: bytes, times: int) -> Outcome:
    """As if the line itself repeated what it once carried: by the gateway's own certificate."""
    before, frames = await _duplicates(yard, GOOD), len(list(wire.frames(message)))
    async with connected(yard.bus(GOOD), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
        for _ in range(times):
            await voice.publish(record_topic(GOOD), message)
    deadline = time.monotonic() + 15
    while await _duplicates(yard, GOOD) < before + times * frames and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    counted = await _duplicates(yard, GOOD) - before
    said = f"rootdx_duplicate_records_total +{counted:.0f}"
    return Outcome("bus", "captured record again, on the same line", times, "dropped", said, counted >= times * frames)


async def _new_epochs(yard: Yard, times: int) -> Outcome:
    """A gateway in the wrong hands may say that it has new spools: these are its own, and are seen as such."""
    asset = f"hostile/{EVIL}/epochs"
    async with connected(yard.bus(EVIL), f"x-{uuid.uuid4().hex[:8]}", []) as voice:
        for number in range(times):
            one = frame([batch(asset=asset, first=number, n=1, tags=("a",))], 1, 0, EVIL, uuid.uuid4())
            await voice.publish(record_topic(EVIL), wire.frame(one))
    asked = "SELECT count(*) FROM rootdx.ledger WHERE gateway = %s"
    deadline = time.monotonic() + 15
    while await yard.number(asked, EVIL) < times and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    spools = await yard.number(asked, EVIL)
    said = f"rootdx.ledger: {spools} spools of {EVIL}"
    return Outcome("bus", "own record under forged epochs", times, "stored as its own", said, await yard.goes_on())


async def _duplicates(yard: Yard, gateway: str) -> float:
    return await asyncio.to_thread(lambda: yard.counter("rootdx_duplicate_records_total", gateway=gateway))


async def counted_of(yard: Yard) -> float:
    """What the writer has set aside."""
    return await asyncio.to_thread(lambda: yard.counter("rootdx_quarantined_total"))


async def until(yard: Yard, wanted: float) -> float:
    """What is set aside, once it is as many or nothing more comes."""
    deadline = time.monotonic() + 15
    while (now := await counted_of(yard)) < wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    return now
