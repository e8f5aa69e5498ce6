"""Sparkplug B edge nodes, heard as a host application of specification 3.0 would: to rows and texts; see sparkplug.md.

* Only what a birth has described is stored; an alias is never guessed.
* A death of node or device leaves one row a tag that says so, once.
* Nothing is published unless asked for: a rebirth request with `ask_rebirth`, the host's own state with `host_id`.
"""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from collectors.device_clock import BACKLOG_S, TOLERANCE_S, Allowance
from collectors.mqtt_link import Access, linked
from collectors.mqtt_packets import Will
from collectors.mqtt_tls import Tls
from collectors.source import Arrival, Opening, Source
from collectors.sparkplug_session import NAMESPACE, SparkplugSession, Wishes, place_of
from pipeline.plant import Beside, Tag
from pipeline.settings import read_secret

_ID: Final = r"[^\s/+#][^/+#]*"
Id = Annotated[str, Field(pattern=f"^{_ID}$")]


class Sparkplug(Source):
    """An edge node, or a device behind it, that speaks Sparkplug B."""

    protocol: Literal["sparkplug"] = "sparkplug"
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    user: str | None = None
    password_file: Beside | None = None
    """Its first line is the user's password."""
    tls: Tls | None = None
    """Encryption; none: whoever listens on the way reads along, the password too."""
    timeout_s: PositiveFloat = 10.0
    """Longest wait for the broker's answer."""
    group: Id
    """Group id of the edge node."""
    edge: Id
    """Its edge node id."""
    device: str = Field("", pattern=f"^({_ID})?$")
    """Device id of addresses that name none; empty: the node itself."""
    metrics: Literal["listed", "all"] = "listed"
    """`all`: what is born and not listed becomes a tag, too."""
    max_tags: Annotated[int, Field(ge=1, le=10_000)] = 1000
    """How many tags births may bring."""
    clock_tolerance_s: PositiveFloat = TOLERANCE_S
    """How far the node's clock may be off."""
    backlog_s: PositiveFloat = BACKLOG_S
    """How long it may have kept what it does not call historical; what is older has a wrong clock."""
    max_buffer: PositiveInt = 4000
    """Messages held in memory; full means: the broker waits."""
    ask_rebirth: bool = False
    """Whether the node is asked to be born again when its birth is missing; the one message ever sent to a device."""
    host_id: str = Field("", pattern=f"^({_ID})?$")
    """With it the state of this host application is published."""

    @property
    def arrival(self) -> Arrival:
        """Nobody keeps what comes while nobody listens: Sparkplug publishes with QoS 0."""
        return "pushed"

    @property
    def interval_s(self) -> float | None:
        """Nodes report changes."""
        return None

    @property
    def finds(self) -> bool:
        """Births may bring tags."""
        return self.metrics == "all"

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses addresses that name no metric, or one twice."""
        seen: dict[tuple[str, str], str] = {}
        for tag in tags:
            place = place_of(tag.address, self.device)
            if not place[1] or not re.fullmatch(f"({_ID})?", place[0]):
                raise ValueError(
                    f"tag {tag.name!r}: address {tag.address!r} is not '<metric>' or '<device>::<metric>', e.g. "
                    "'Inputs/Zone 1' or 'Press1::Inputs/Force'"
                )
            if place in seen:
                raise ValueError(f"tag {tag.name!r}: {tag.address!r} is that of tag {seen[place]!r} already")
            seen[place] = tag.name
        if len(tags) + self.max_tags > 65_535:
            raise ValueError(f"max_tags = {self.max_tags}: with {len(tags)} listed more than 65,535")

    def on_demand(self, tags: Sequence[Tag]) -> frozenset[str]:
        """Nodes report changes: no row is due at any time."""
        return frozenset(tag.name for tag in tags)

    def unbanded(self, tags: Sequence[Tag]) -> frozenset[str]:
        """Texts; of the others each change comes, and small ones may be kept back."""
        return frozenset(tag.name for tag in tags if tag.context and not tag.values)

    def still(self, found: Sequence[Tag]) -> tuple[Tag, ...]:
        """All of them, while births may bring tags."""
        return tuple(found[: self.max_tags]) if self.finds else ()

    def open(self, opening: Opening) -> AbstractAsyncContextManager[SparkplugSession]:
        """A clean session at the broker, as the specification wants it of a host."""
        return _open(self, opening)


@asynccontextmanager
async def _open(source: Sparkplug, opening: Opening) -> AsyncIterator[SparkplugSession]:
    since_ms = opening.clock() // 1_000_000
    state = f"{NAMESPACE}/STATE/{source.host_id}"
    access = Access(
        source.host,
        source.port,
        opening.client_id,
        source.user,
        None if source.password_file is None else read_secret(source.password_file),
        clean=True,
        timeout_s=source.timeout_s,
        most=source.max_buffer,
        will=Will(state, _state(since_ms, online=False), retain=True) if source.host_id else None,
        tls=source.tls,
        asset=opening.asset,
    )
    wishes = Wishes(
        source.group,
        source.edge,
        source.device,
        source.max_tags if source.finds else 0,
        Allowance(source.clock_tolerance_s, source.backlog_s),
        source.ask_rebirth,
        source.host_id,
        _state(since_ms, online=True),
    )
    session = SparkplugSession(opening, wishes)
    async with linked(access, session.topics) as link:
        session.link = link
        if source.host_id:
            link.publish_surely(state, _state(since_ms, online=True), retain=True)
        session.ask()
        try:
            yield session
        finally:
            if source.host_id:
                link.publish_surely(state, _state(since_ms, online=False), retain=True)


def _state(since_ms: int, *, online: bool) -> bytes:
    return json.dumps({"online": online, "timestamp": since_ms}, separators=(",", ":")).encode()
