"""Devices that speak MQTT themselves: topics and payloads to rows, texts and bursts; see mqtt.md.

* A message is acknowledged after its rows are durable, never before; the broker keeps what is not acknowledged.
* A message that carries its own time is stored once, however often the broker sends it.
* What the device did not say is no row; what it said and is no number is a bad row.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PositiveFloat, PositiveInt

from collectors.device_clock import BACKLOG_S, TOLERANCE_S, Allowance
from collectors.found import Pattern
from collectors.mqtt_address import Address, address_of
from collectors.mqtt_burst import place_of
from collectors.mqtt_link import Access, linked
from collectors.mqtt_routes import Routes, fitting, is_text, made_by
from collectors.mqtt_session import MqttSession, Watch
from collectors.mqtt_tls import Tls
from collectors.payload import Stamps, TimeUnit
from collectors.source import Arrival, Opening, Source
from pipeline.plant import Beside, Frozen, Tag, WaveformEntry, Zone
from pipeline.settings import read_secret

_TOPIC: Final = r"^[^\s#+]+$"


class Will(Frozen):
    """Where the device, or the broker for it, says whether it is there."""

    topic: str = Field(pattern=_TOPIC)
    online: str = "online"
    offline: str = "offline"


class Mqtt(Source):
    """A device that publishes to a broker."""

    protocol: Literal["mqtt"] = "mqtt"
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    user: str | None = None
    password_file: Beside | None = None
    """Its first line is the user's password."""
    tls: Tls | None = None
    """Encryption; none: whoever listens on the way reads along, the password too."""
    timeout_s: PositiveFloat = 10.0
    """Longest wait for the broker's answer."""
    time: str | None = None
    """Path of the device's own time in the payload; without it the gateway's clock is used."""
    time_unit: TimeUnit = "ms"
    """Of numbers; a text is ISO 8601, as 2026-05-01T08:00:00+09:00."""
    time_zone: Zone = "UTC"
    """Of a text that names no zone."""
    clock_tolerance_s: PositiveFloat = TOLERANCE_S
    """How far the device's clock may be off."""
    backlog_s: PositiveFloat = BACKLOG_S
    """How long device and broker may have kept what they say; what is older has a wrong clock."""
    session: Literal["kept", "clean"] = "kept"
    """`kept`: the broker keeps what comes while the gateway is away; `clean`: it forgets us when we leave."""
    max_buffer: PositiveInt = 4000
    """Messages held in memory; full means: the broker waits."""
    will: Will | None = None
    silence_s: PositiveFloat | None = None
    """Nothing for so long: the device has gone."""
    pattern: tuple[Pattern, ...] = ()
    """Tags named by their topics."""
    max_tags: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """How many tags patterns may find."""

    @property
    def arrival(self) -> Arrival:
        """Whether the broker keeps what comes while nobody listens."""
        return "kept" if self.session == "kept" else "pushed"

    @property
    def finds(self) -> bool:
        """Patterns find tags."""
        return bool(self.pattern)

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses addresses that are not a topic and a path, and patterns that are not theirs alone."""
        if len(tags) + self.max_tags > 65_535:
            raise ValueError(f"max_tags = {self.max_tags}: with {len(tags)} listed more than 65,535")
        topics = {self._address(f"tag {tag.name!r}", tag.address).topic: tag.name for tag in tags}
        if self.will is not None and self.will.topic in topics:
            raise ValueError(f"will: topic {self.will.topic!r} is that of tag {topics[self.will.topic]!r} too")
        for one in self.pattern:
            at = self._address(f"pattern {one.name!r}", one.address, wild=True)
            one.check()
            fits = fitting(at.topic)
            for topic, name in topics.items():
                if fits.fullmatch(topic):
                    raise ValueError(
                        f"pattern {one.name!r}: {at.topic} takes in the topic of tag {name!r}; a broker may then send "
                        "everything twice"
                    )

    @staticmethod
    def _address(what: str, text: str, *, wild: bool = False) -> Address:
        try:
            return address_of(text, wild=wild)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        """Refuses addresses that are no topic with options."""
        for one in waveforms:
            place_of(one)

    def on_demand(self, tags: Sequence[Tag]) -> frozenset[str]:
        """Texts are no rows."""
        return frozenset(tag.name for tag in tags if is_text(tag))

    def still(self, found: Sequence[Tag]) -> tuple[Tag, ...]:
        """Those that a pattern would make as they are."""
        kept = []
        for tag in found[: self.max_tags]:
            topic = tag.address.split()[0]
            if any(made_by(one, topic) == tag for one in self.pattern):
                kept.append(tag)
        return tuple(kept)

    def open(self, opening: Opening) -> AbstractAsyncContextManager[MqttSession]:
        """A persistent session at the broker."""
        return _open(self, opening)


@asynccontextmanager
async def _open(source: Mqtt, opening: Opening) -> AsyncIterator[MqttSession]:
    access = Access(
        source.host,
        source.port,
        opening.client_id,
        source.user,
        None if source.password_file is None else read_secret(source.password_file),
        clean=source.session == "clean",
        timeout_s=source.timeout_s,
        most=source.max_buffer,
        tls=source.tls,
        asset=opening.asset,
    )
    will = source.will
    watch = Watch(source.silence_s, *((will.topic, will.online, will.offline) if will else ()))
    stamps = Stamps(source.time, source.time_unit, ZoneInfo(source.time_zone))
    routes = Routes(opening.tags, opening.found, source.pattern, source.max_tags)
    session = MqttSession(
        opening, routes, stamps, Allowance(source.clock_tolerance_s, source.backlog_s), watch, source.max_buffer
    )
    async with linked(access, session.topics) as link:
        session.link = link
        yield session
