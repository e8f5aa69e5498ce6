"""OPC UA servers, subscribed; see opcua.md.

* Nothing is ever written to a server; only values, types and history are asked for.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Literal

from asyncua.ua.uaerrors import UaError
from pydantic import PositiveFloat

from collectors.device_clock import TOLERANCE_S, Allowance
from collectors.opcua_burst import nodes_of
from collectors.opcua_items import check_node, part_of
from collectors.opcua_security import CarefulClient, Door, Security, moment
from collectors.opcua_session import OpcUaSession, Wishes
from collectors.source import Arrival, Opening, Source
from collectors.stopping import ended
from pipeline.errors import Unavailable
from pipeline.plant import Tag, WaveformEntry

_LEAVE_S: Final = 2.0


class OpcUa(Source):
    """An OPC UA server, subscribed."""

    protocol: Literal["opcua"] = "opcua"
    url: str
    """`opc.tcp://host:port/path`."""
    timeout_s: PositiveFloat = 4.0
    """Longest wait for each answer."""
    alarms: str | None = None
    """Node whose alarms and events are taken, as `i=2253`, the server itself; none: not asked for."""
    history: Literal["fill", "leave"] = "fill"
    """What the server has kept of an outage is asked for, or left there."""
    history_s: PositiveFloat = 604_800.0
    """Of a longer outage only so much, the newest part, is asked for; a week."""
    clock_tolerance_s: PositiveFloat = TOLERANCE_S
    """How far source times may be off."""
    backlog_s: PositiveFloat = 3600.0
    """How long the server may have kept a change before it reports it; what is older has a wrong clock. An hour: it
    holds some ten values of a tag back while nobody takes them."""
    security: Security = Security(policy="None")
    """None: readable messages, anonymous."""

    @property
    def arrival(self) -> Arrival:
        """When the server wants, and lost while nobody listens, unless its history has it."""
        return "mended" if self.history == "fill" else "pushed"

    @property
    def interval_s(self) -> None:
        """A server sends what changes."""
        return

    @property
    def keeps_back(self) -> bool:
        """A server is told the dead band; of limits it knows nothing."""
        return True

    def on_demand(self, tags: Sequence[Tag]) -> frozenset[str]:
        """Texts are no rows."""
        return frozenset(tag.name for tag in tags if tag.context and not tag.values)

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses addresses that are no node ids."""
        if not self.url.startswith("opc.tcp://"):
            raise ValueError(f"url = {self.url!r}: it should begin with opc.tcp://, e.g. opc.tcp://192.168.0.10:4840")
        if self.alarms is not None:
            check_node("alarms", self.alarms)
        for tag in tags:
            check_node(f"tag {tag.name!r}", part_of(tag.address).node)
            if tag.context and tag.deadband is not None:
                raise ValueError(f"tag {tag.name!r}: a text has no deadband; remove deadband or context")

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        """Likewise."""
        for node in nodes_of(waveforms):
            check_node(f"waveform {node.label!r}", node.address)

    def open(self, opening: Opening) -> AbstractAsyncContextManager[OpcUaSession]:
        """A subscription on the server."""
        return _open(self, opening)


@asynccontextmanager
async def connected(source: OpcUa, client_id: str, asset: str, now_ns: int) -> AsyncIterator[CarefulClient]:
    """A client with an active session.

    Raises:
        ConfigError: somebody has to do something, here or on the server.
        Unavailable: the server does not answer.
    """
    client = CarefulClient(source.url, timeout=source.timeout_s, watchdog_intervall=max(1.0, source.timeout_s))
    client.name = client.description = client_id
    try:
        with as_unavailable(source.url):
            await Door(source.url, source.timeout_s, source.security, asset, moment(now_ns)).enter(client)
        yield client
    finally:
        with contextlib.suppress(OSError, TimeoutError, UaError):
            async with asyncio.timeout(_LEAVE_S):
                await client.disconnect()


@asynccontextmanager
async def _open(source: OpcUa, opening: Opening) -> AsyncIterator[OpcUaSession]:
    async with connected(source, opening.client_id, opening.asset, opening.clock()) as client:
        history_s = source.history_s if source.history == "fill" else None
        allowance = Allowance(source.clock_tolerance_s, source.backlog_s)
        wishes = Wishes(source.url, source.every_s, allowance, source.alarms, history_s)
        session = OpcUaSession(wishes, opening, client)
        with as_unavailable(source.url):
            await session.subscribe()
        mending = asyncio.create_task(session.mend(), name=f"history {opening.asset}")
        watching = asyncio.create_task(session.watch(), name=f"watch {opening.asset}")
        try:
            yield session
        finally:
            await ended(watching)
            await ended(mending)


@contextlib.contextmanager
def as_unavailable(url: str) -> Iterator[None]:
    """What goes wrong within is the server's absence."""
    try:
        yield
    except (OSError, TimeoutError, UaError) as error:
        raise Unavailable(f"{url}: {error or type(error).__name__}") from error
