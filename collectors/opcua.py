"""OPC UA servers, subscribed; see opcua.md.

* One client, one subscription; the client never reconnects by itself, because a revived one may be deaf for ever.
* The next publish is asked for only when the last one is in the buffer: a slow disk makes the server queue, nothing
  is dropped here.
* Source time and status code are stored as the server gives them; a value that is no number is bad.
* The value a new subscription begins with is dropped when it was stored before.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import re
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
from asyncua import ua
from asyncua.client.client import Client
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaError
from pydantic import PositiveFloat

from collectors.buffer import Buffer
from collectors.bursts import plausible, portions
from collectors.opcua_burst import Assembly, Node, nodes_of
from collectors.scaling import Scaling
from collectors.source import Arrival, Opening, Reading, Source
from pipeline import metrics
from pipeline.errors import ConfigError, Unavailable
from pipeline.model import BAD_BIT, Batch, Event, Int64s, Quality, Severity, Waveform
from pipeline.plant import Tag, WaveformEntry

log = logging.getLogger(__name__)

_ADDRESS: Final = re.compile(r"(?:nsu=(?P<uri>[^;]+);|ns=(?P<index>\d+);)?(?P<id>[isgb]=.+)", re.DOTALL)
_LONGEST_PUBLISHING_S: Final = 1.0
_KEEPALIVE_S: Final = 2.0
"""A server with nothing to say says so this often."""
_LIFETIME: Final = 30
"""Keepalives without a publish request after which the server forgets us."""
_SILENCE_S: Final = 5.0
_ITEMS_A_REQUEST: Final = 1_000
_BUFFER_ROWS: Final = 50_000
_LEAVE_S: Final = 2.0
_OVERFLOW: Final = 0x0480
"""Info bits of a status code: the server's queue was full and a value before this one is lost."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_RESTAMPED: Final = ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp)
"""A channel that is all zeros again is news too."""
_NUMBERS: Final = frozenset(
    getattr(ua.VariantType, name)
    for name in "Boolean SByte Byte Int16 UInt16 Int32 UInt32 Int64 UInt64 Float Double".split()
)


class OpcUa(Source):
    """An OPC UA server, subscribed."""

    protocol: Literal["opcua"] = "opcua"
    url: str
    """`opc.tcp://host:port/path`."""
    timeout_s: PositiveFloat = 4.0
    """Longest wait for each answer."""

    @property
    def arrival(self) -> Arrival:
        """When the server wants, and lost while nobody listens."""
        return "pushed"

    @property
    def interval_s(self) -> None:
        """A server sends what changes."""
        return

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses addresses that are no node ids."""
        if not self.url.startswith("opc.tcp://"):
            raise ValueError(f"url = {self.url!r}: it should begin with opc.tcp://, e.g. opc.tcp://192.168.0.10:4840")
        for tag in tags:
            _check_node(f"tag {tag.name!r}", tag.address)

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        """Likewise."""
        for node in nodes_of(waveforms):
            _check_node(f"waveform {node.label!r}", node.address)

    def open(self, opening: Opening) -> AbstractAsyncContextManager["OpcUaSession"]:
        """A subscription on the server."""
        return _open(self, opening)


def _check_node(what: str, address: str) -> None:
    found = _ADDRESS.fullmatch(address)
    try:
        ua.NodeId.from_string(found["id"] if found else "")
    except (UaError, ValueError) as error:
        raise ValueError(
            f"{what}: address {address!r} is no node id, e.g. nsu=urn:maker:press;s=Oil.Temp or ns=2;i=1001"
        ) from error


@asynccontextmanager
async def _open(source: OpcUa, opening: Opening) -> AsyncIterator["OpcUaSession"]:
    client = Client(source.url, timeout=source.timeout_s, watchdog_intervall=max(1.0, source.timeout_s))
    client.name = client.description = opening.client_id
    try:
        with _as_unavailable(source.url):
            await client.connect()
            session = OpcUaSession(source, opening, client)
            await session.subscribe()
        yield session
    finally:
        with contextlib.suppress(OSError, TimeoutError, UaError):
            async with asyncio.timeout(_LEAVE_S):
                await client.disconnect()


@contextlib.contextmanager
def _as_unavailable(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, UaError) as error:
        raise Unavailable(f"{url}: {error or type(error).__name__}") from error


@dataclass(slots=True)
class _Rows:
    """Rows as they are heard, column by column."""

    ts_ns: list[int] = field(default_factory=list)
    tag: list[int] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)

    def add(self, ts_ns: int, tag: int, raw: float, quality: int) -> None:
        """One more row."""
        self.ts_ns.append(ts_ns)
        self.tag.append(tag)
        self.raw.append(raw)
        self.quality.append(quality)


class _Memory:
    """What was stored last of each tag, and which nodes the server refused: it outlives session and process."""

    def __init__(self, names: Sequence[str], text: str) -> None:
        self._names = hashlib.blake2b("\n".join(names).encode(), digest_size=6).hexdigest()
        self.last: Int64s = np.zeros(len(names), np.int64)
        self.refused: dict[str, int] = {}
        said = json.loads(text) if text else {}
        self.bursts: dict[str, int] = said.get("bursts", {})
        if said.get("tags") == self._names:
            self.last = np.frombuffer(zlib.decompress(base64.b64decode(said["last"])), "<i8").astype(np.int64)
            self.refused = said["refused"]

    def text(self) -> str:
        """Compact: neighbouring times share most of their bytes."""
        last = base64.b64encode(zlib.compress(self.last.astype("<i8").tobytes(), 1)).decode()
        said = {"tags": self._names, "last": last, "refused": self.refused}
        return json.dumps(said | ({"bursts": self.bursts} if self.bursts else {}), separators=(",", ":"))


class OpcUaSession:
    """A live subscription; the publish callback fills the buffer, `readings` empties it."""

    def __init__(self, source: OpcUa, opening: Opening, client: Client) -> None:
        self._source, self._opening, self._client = source, opening, client
        self._names = tuple(tag.name for tag in opening.tags)
        self._scaling = Scaling(opening.tags)
        self._memory = _Memory(self._names, opening.memory)
        self._unheard = set(range(len(self._names)))
        self._bursts = Assembly(opening)
        self._addresses = [Node(tag.name, tag.address, -1) for tag in opening.tags] + list(self._bursts.nodes)
        self._buffer: Buffer[_Rows | Event | Waveform] = Buffer(_BUFFER_ROWS)
        self._heard = time.monotonic()
        self._patience_s = _SILENCE_S

    # ---- opening ----

    async def subscribe(self) -> None:
        """Asks the server to report every tag."""
        nodes = await self._nodes()
        publishing_s = min(self._source.every_s, _LONGEST_PUBLISHING_S)
        keepalives = max(1, round(_KEEPALIVE_S / publishing_s))
        params = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=publishing_s * 1000,
            RequestedLifetimeCount=keepalives * _LIFETIME,
            RequestedMaxKeepAliveCount=keepalives,
            MaxNotificationsPerPublish=10_000,
            PublishingEnabled=True,
        )
        granted = await self._client.uaclient.session.create_subscription(params, self._publish)
        keepalive_s = granted.RevisedPublishingInterval / 1000 * granted.RevisedMaxKeepAliveCount
        self._patience_s = max(3 * keepalive_s, _SILENCE_S)
        queue = 10 + 2 * round(publishing_s / min(publishing_s, self._source.every_s))
        for start in range(0, len(nodes), _ITEMS_A_REQUEST):
            chosen = nodes[start : start + _ITEMS_A_REQUEST]
            items = [self._item(start + i, node, queue) for i, node in enumerate(chosen)]
            results = await self._client.uaclient.session.create_monitored_items(
                ua.CreateMonitoredItemsParameters(
                    SubscriptionId=granted.SubscriptionId,
                    TimestampsToReturn=ua.TimestampsToReturn.Both,
                    ItemsToCreate=items,
                )
            )
            for i, result in enumerate(results):
                self._judge_item(start + i, result.StatusCode)
        self._heard = time.monotonic()

    async def _nodes(self) -> list[ua.NodeId]:
        found = [_ADDRESS.fullmatch(one.address) for one in self._addresses]
        uris: list[str] = []
        if any(match and match["uri"] for match in found):
            uris = await self._client.get_namespace_array()
        nodes = []
        for one, match in zip(self._addresses, found, strict=True):
            if match is None:
                raise ConfigError(f"tag {one.label!r}: address {one.address!r} is no node id")
            if match["uri"] and match["uri"] not in uris:
                raise ConfigError(
                    f"tag {one.label!r}: {self._source.url} knows no namespace {match['uri']!r}; "
                    f"it has {', '.join(uris)}"
                )
            index = uris.index(match["uri"]) if match["uri"] else int(match["index"] or 0)
            nodes.append(ua.NodeId.from_string(f"ns={index};{match['id']}"))
        return nodes

    def _item(self, tag: int, node: ua.NodeId, queue: int) -> ua.MonitoredItemCreateRequest:
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=ua.MonitoringParameters(
                ClientHandle=tag,
                SamplingInterval=self._source.every_s * 1000,
                QueueSize=queue,
                DiscardOldest=True,
                Filter=None if tag < len(self._names) else _RESTAMPED,
            ),
        )

    def _judge_item(self, tag: int, status: ua.StatusCode) -> None:
        name, address = self._addresses[tag].label, self._addresses[tag].address
        if status.is_good():
            self._memory.refused.pop(name, None)
            return
        if self._memory.refused.get(name) == status.value:
            return
        self._memory.refused[name] = status.value
        log.warning("node refused asset=%s tag=%s status=%s", self._opening.asset, name, status.name)
        now = self._opening.clock()
        text = f"{name}: {self._source.url} refuses {address}: {status.name}"
        data = {"tag": name, "address": address, "status": status.name}
        self._buffer.put(
            Event(self._opening.asset, "tag.refused", now, text, severity=Severity.WARNING, key=name, data=data)
        )
        if tag < len(self._names):
            self._buffer.put(_Rows([now], [tag], [np.nan], [status.value | int(BAD_BIT)]))

    # ---- listening ----

    async def _publish(self, result: ua.PublishResult) -> None:
        """Awaited by the client before it asks for the next publish; that is the backpressure."""
        self._heard = time.monotonic()
        try:
            for notification in result.NotificationMessage.NotificationData or ():
                if isinstance(notification, ua.DataChangeNotification):
                    self._hear(notification.MonitoredItems)
                elif isinstance(notification, ua.StatusChangeNotification) and not notification.Status.is_good():
                    self._buffer.end(Unavailable(f"{self._source.url}: subscription ended: {notification.Status.name}"))
            await self._buffer.room()
        except Exception as error:
            self._buffer.end(error)  # the client would only log it
            raise
        self._heard = time.monotonic()

    def _hear(self, items: Sequence[ua.MonitoredItemNotification]) -> None:
        rows, now = _Rows(), self._opening.clock()
        for item in items:
            tag, said = item.ClientHandle, item.Value
            if tag >= len(self._names):
                continue
            ts_ns, believed = _time(said, now)
            if tag in self._unheard:
                self._unheard.discard(tag)
                if believed and ts_ns <= self._memory.last[tag]:
                    continue
            raw, quality = self._number(said)
            if not believed and quality == Quality.GOOD:
                quality = Quality.UNCERTAIN
            if quality & 0xFFFF & _OVERFLOW == _OVERFLOW:
                metrics.bad_data.labels(self._opening.asset, "server_queue_overflow").inc()
            rows.add(ts_ns, tag, raw, quality)
        if rows.tag:
            self._buffer.put(rows, len(rows.tag))
        arrays = [item for item in items if item.ClientHandle >= len(self._names)]
        for item in sorted(arrays, key=lambda one: one.ClientHandle):  # a period before what it is the period of
            self._hear_array(item.ClientHandle - len(self._names), item.Value, now)

    def _hear_array(self, place: int, said: ua.DataValue, now: int) -> None:
        ts_ns, believed = _time(said, now)
        node = self._bursts.nodes[place]
        if node.unit_s is None and self._memory.bursts.get(self._opening.waveforms[node.entry].name) == ts_ns:
            return
        for one in self._bursts.hear(place, said, ts_ns, plausible=believed):
            self._buffer.put(one, 1 + (one.value.size // 5 if isinstance(one, Waveform) else 0))

    def _number(self, said: ua.DataValue) -> tuple[float, int]:
        status = 0 if said.StatusCode is None else said.StatusCode.value
        if status >= BAD_BIT:
            return np.nan, status
        variant = said.Value
        if variant is None or variant.Value is None:
            return np.nan, Quality.BAD_NO_DATA
        if variant.VariantType not in _NUMBERS or variant.is_array:
            metrics.bad_data.labels(self._opening.asset, "type_mismatch").inc()
            return np.nan, Quality.BAD_TYPE_MISMATCH
        return float(variant.Value), status

    async def readings(self) -> AsyncIterator[Reading]:
        """What the server has reported since the last reading."""
        while True:
            heard = await self._take()
            for part in portions([item for item in heard if isinstance(item, Waveform)]):
                self._memory.bursts.update((one.name, one.ts_ns) for one in part)
                yield Reading(part, memory=self._memory.text())
            rest = [item for item in heard if not isinstance(item, Waveform)]
            if rest:
                yield self._merge(rest)

    async def _take(self) -> list[_Rows | Event | Waveform]:
        while True:
            try:
                async with asyncio.timeout(self._heard + self._patience_s - time.monotonic()):
                    return await self._buffer.take()
            except TimeoutError:
                if time.monotonic() - self._heard >= self._patience_s:
                    raise Unavailable(
                        f"{self._source.url}: neither data nor keepalive for {self._patience_s:.0f} s"
                    ) from None

    def _merge(self, heard: list[_Rows | Event]) -> Reading:
        rows = [item for item in heard if isinstance(item, _Rows)]
        events = [item for item in heard if isinstance(item, Event)]
        if not rows:
            return Reading(tuple(events), memory=self._memory.text())
        ts_ns = np.array([ts for part in rows for ts in part.ts_ns], np.int64)
        tag = np.array([tag for part in rows for tag in part.tag], np.uint16)
        raw = np.array([raw for part in rows for raw in part.raw], np.float64)
        quality = np.array([code for part in rows for code in part.quality], np.uint32)
        value, quality = self._scaling.judge(raw, quality, tag)
        self._memory.last[tag] = ts_ns
        batch = Batch(self._opening.asset, self._names, ts_ns, tag, value, quality)
        return Reading((batch, *events), memory=self._memory.text())


def _time(said: ua.DataValue, now_ns: int) -> tuple[int, bool]:
    """Source time, else server time, else the gateway's; and whether it could be believed."""
    stamps: tuple[Any, Any] = (said.SourceTimestamp, said.ServerTimestamp)
    for stamp in stamps:
        if stamp is None or stamp.year <= 1601:  # FILETIME zero means "none"
            continue
        aware = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        ts_ns = (aware - _EPOCH) // _MICROSECOND * 1000
        return (ts_ns, True) if plausible(ts_ns, now_ns) else (now_ns, False)
    return now_ns, True
