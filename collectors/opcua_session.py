"""A live subscription on an OPC UA server; see opcua.md.

* One client, one subscription; the client never reconnects by itself, because a revived one may be deaf for ever.
* The next publish is asked for only when the last one is in the buffer: a slow disk makes the server queue, nothing
  is dropped here.
* Source time and status code are stored as the server gives them; texts become events, and a value that is neither
  number nor text is bad.
* The value a new subscription begins with is dropped when it was stored before.
* Every tag is watched (`opcua_watch`): one that the server has dropped is asked for anew.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.uaerrors import UaError

from collectors import opcua_alarms
from collectors.buffer import Buffer
from collectors.bursts import portions
from collectors.device_clock import Allowance, DeviceClock
from collectors.opcua_alarms import Alarms, Said
from collectors.opcua_burst import Assembly, Node
from collectors.opcua_history import History, Page
from collectors.opcua_items import (
    HEARTBEAT,
    asked_of,
    filter_of,
    needs_namespaces,
    node_id,
    part_of,
    queue_of,
    request,
    sampling_of,
)
from collectors.opcua_meanings import meanings
from collectors.opcua_mending import Mending
from collectors.opcua_security import CarefulClient
from collectors.opcua_structures import Structures
from collectors.opcua_types import Types
from collectors.opcua_values import OVERFLOW, UNDECODED, Hole, Memory, Rows, Text, reason, stamp_of, value_of
from collectors.opcua_watch import LEAST_S, NEARLY_TWICE, Watch
from collectors.scaling import Scaling
from collectors.source import Opening, Reading
from collectors.texts import Texts
from pipeline import metrics
from pipeline.errors import Unavailable
from pipeline.model import BAD_BIT, UNCERTAIN_BIT, Batch, Event, Quality, Severity, Waveform

log = logging.getLogger(__name__)

_LONGEST_PUBLISHING_S: Final = 0.5
_KEEPALIVE_S: Final = 2.0
"""A server with nothing to say says so this often."""
_LIFETIME: Final = 30
"""Keepalives without a publish request after which the server forgets us."""
_SILENCE_S: Final = 5.0
_HEARTBEAT_S: Final = LEAST_S
_CLOCK_LATE_S: Final = 2.0
"""A server's clock may tick once a second."""
_LOOK_S: Final = 0.25
_AGAIN_S: Final = 5.0
_AT_ONCE: Final = 100
"""Small servers read no more in one request."""
_HELD_UP_S: Final = 0.1
_ITEMS_A_REQUEST: Final = 1_000
_BUFFER_ROWS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is wanted of a server.

    Attributes:
        url: of the server.
        every_s: expected interval of tags that name none.
        allowance: what its clock may be off.
        notifier: node whose alarms are taken.
        history_s: how much of an outage is asked for; None: nothing.
    """

    url: str
    every_s: float
    allowance: Allowance
    notifier: str | None = None
    history_s: float | None = None


class OpcUaSession:
    """A live subscription; the publish callback fills the buffer, `readings` empties it."""

    def __init__(self, wishes: Wishes, opening: Opening, client: CarefulClient) -> None:
        every_s, notifier = wishes.every_s, wishes.notifier
        self._url, self._opening, self._client = wishes.url, opening, client
        self._names = tuple(tag.name for tag in opening.tags)
        self._scaling = Scaling(opening.tags)
        self._memory = Memory(self._names, opening.memory)
        self._unheard = set(range(len(self._names)))
        """Of which nothing with a time that is believed was heard yet."""
        self._initial = set(self._unheard)
        """Of which nothing was heard yet: what comes first may have stood for long."""
        self._device = DeviceClock(opening.asset, wishes.allowance, self._memory.clock_ns)
        self._bursts = Assembly(opening, self._device)
        self._parts = [part_of(tag.address) for tag in opening.tags]
        self._nodes = [Node(tag.name, self._parts[i].node, -1) for i, tag in enumerate(opening.tags)]
        self._nodes += self._bursts.nodes
        self._every_s = [tag.every_s or every_s for tag in opening.tags] + [every_s] * len(self._bursts.nodes)
        self._publishing_s = min(every_s, _LONGEST_PUBLISHING_S, *self._every_s)
        self._watched_s: float | None = min(self._every_s, default=every_s)
        self._tags = list(opening.tags)
        self._items = [0] * len(self._tags)
        self._asked_anew: set[int] = set()
        self._structures = Structures()
        self._notifier = None if notifier is None else Node("alarms", notifier, -1)
        self._alarms = Alarms(opening.asset, self._memory.alarms, self._device)
        self._texts = Texts(opening.asset, self._memory.texts)
        self._history_s, self._since_ns = wishes.history_s, self._memory.heard_ns
        self._history: History | None = None
        self._buffer: Buffer[Rows | Text | Said | Event | Waveform | Page] = Buffer(_BUFFER_ROWS)
        self._ticked = time.monotonic()
        self._heard = self._clock_s = time.monotonic()
        self._clock_late_s = _CLOCK_LATE_S
        self._patience_s = _SILENCE_S

    # ---- opening ----

    async def subscribe(self) -> None:
        """Asks the server to report every tag."""
        uris: list[str] = []
        asked = [*self._nodes, *([self._notifier] if self._notifier else [])]
        if needs_namespaces(node.address for node in asked):
            uris = await self._client.get_namespace_array()
        ids = [node_id(node.label, node.address, uris, self._url) for node in asked]
        await self._learn(ids[: len(self._tags)])
        self._mending = Mending(
            self._opening.asset, self._tags, self._parts, self._structures, dict(self._memory.texts)
        )
        if self._history_s is not None:
            session, clock = self._client.uaclient.session, self._opening.clock
            self._history = History(self._url, session, ids[: len(self._tags)], self._history_s, clock)
            await self._history.learn([tag for tag in range(len(self._tags)) if self._memory.last[tag]])
            self._history.ask([hole for hole in self._memory.holes if self._history.has(hole.tag)])
        keepalives = max(1, round(_KEEPALIVE_S / self._publishing_s))
        params = ua.CreateSubscriptionParameters(
            RequestedPublishingInterval=self._publishing_s * 1000,
            RequestedLifetimeCount=keepalives * _LIFETIME,
            RequestedMaxKeepAliveCount=keepalives,
            MaxNotificationsPerPublish=10_000,
            PublishingEnabled=True,
        )
        self._ids = ids
        granted = await self._client.uaclient.session.create_subscription(params, self._publish)
        self._subscription = granted.SubscriptionId
        publishing_s = granted.RevisedPublishingInterval / 1000
        self._patience_s = max(3 * publishing_s * granted.RevisedMaxKeepAliveCount, _SILENCE_S)
        every_s = self._every_s[: len(self._tags)]
        bands = [asked_of(tag, self._opening.filtered) for tag in self._tags]
        self._watch = Watch(every_s, [sampling_of(one) for one in every_s], publishing_s, bands)
        requests = [self._request(i, node) for i, node in enumerate(ids[: len(self._nodes)])]
        if self._watched_s:
            requests.append(request(len(self._nodes), HEARTBEAT, self._watched_s, 1))
            self._clock_late_s = max(self._watched_s + 2 * publishing_s, _CLOCK_LATE_S)
            self._watched_s = max(NEARLY_TWICE * self._watched_s, 3 * publishing_s, _HEARTBEAT_S)
        if self._notifier:
            requests.append(opcua_alarms.request(len(self._nodes) + 1, ids[-1]))
        await self._monitor(requests)
        self._heard = self._ticked = time.monotonic()

    async def _monitor(self, requests: Sequence[ua.MonitoredItemCreateRequest]) -> None:
        for start in range(0, len(requests), _ITEMS_A_REQUEST):
            chosen = requests[start : start + _ITEMS_A_REQUEST]
            results = await self._client.uaclient.session.create_monitored_items(
                ua.CreateMonitoredItemsParameters(
                    SubscriptionId=self._subscription,
                    TimestampsToReturn=ua.TimestampsToReturn.Both,
                    ItemsToCreate=list(chosen),
                )
            )
            for one, result in zip(chosen, results, strict=True):
                place = one.RequestedParameters.ClientHandle
                if place < len(self._items):
                    self._items[place] = result.MonitoredItemId
                self._judge_item(place, result.StatusCode)

    async def watch(self) -> None:
        """Has the server report anew what it has dropped; for ever."""
        try:
            while True:
                await asyncio.sleep(_LOOK_S)
                try:
                    if not self._buffer.full:
                        await self._look()
                except (OSError, TimeoutError, UaError) as error:  # that the server is gone is found out elsewhere
                    log.info("watch not kept url=%s error=%s", self._url, error or type(error).__name__)
                    await asyncio.sleep(_AGAIN_S)
        except Exception as error:
            self._buffer.end(error)
            raise

    async def _look(self) -> None:
        due = self._watch.due(time.monotonic())
        for start in range(0, len(due), _AT_ONCE):
            some = due[start : start + _AT_ONCE]
            asked = [ua.ReadValueId(NodeId=self._ids[tag], AttributeId=AttributeIds.Value) for tag in some]
            params = ua.ReadParameters(TimestampsToReturn=ua.TimestampsToReturn.Both, NodesToRead=asked)
            for tag, said in zip(some, await self._client.uaclient.session.read(params), strict=True):
                self._watch.found(tag, said, time.monotonic())
        lost = self._watch.lost(time.monotonic())
        if lost:
            await self._monitor_anew(lost)

    async def _monitor_anew(self, lost: Sequence[int]) -> None:
        names = ", ".join(self._names[tag] for tag in lost[:20])
        metrics.bad_data.labels(self._opening.asset, "subscription_deaf").inc(len(lost))
        if self._watched_s and time.monotonic() - self._clock_s > self._clock_late_s:  # not an item but all of them
            self._buffer.end(Unavailable(f"{self._url}: neither {names} nor the server's clock is reported any more"))
            return
        if not self._asked_anew.isdisjoint(lost):
            self._buffer.end(Unavailable(f"{self._url}: does not report {names}, although it was asked for it twice"))
            return
        log.warning("asked for anew asset=%s tags=%s", self._opening.asset, names)
        for tag in lost:
            name, address = self._names[tag], self._tags[tag].address
            text = f"{name}: {self._url} has ceased to report {address}, and was asked for it anew"
            data, now = {"tag": name, "address": address}, self._opening.clock()
            self._buffer.put(
                Event(self._opening.asset, "tag.deaf", now, text, severity=Severity.WARNING, key=name, data=data)
            )
        self._asked_anew.update(lost)
        self._unheard.update(lost)
        self._initial.update(lost)
        if self._history is not None:
            await self._history.learn(lost)
        items = [ua.IntegerId(self._items[tag]) for tag in lost]
        params = ua.DeleteMonitoredItemsParameters(SubscriptionId=self._subscription, MonitoredItemIds=items)
        await self._client.uaclient.session.delete_monitored_items(params)
        await self._monitor([self._request(tag, self._ids[tag]) for tag in lost])

    async def mend(self) -> None:
        """Has the server's history fill what an outage left out; for ever."""
        try:
            if self._history is not None:
                async for page in self._history.pages():
                    await self._buffer.room()
                    self._buffer.put(page, 1 + len(page.values))
        except Exception as error:
            self._buffer.end(error)
            raise

    async def _learn(self, ids: Sequence[ua.NodeId]) -> None:
        """What numbers mean, where the server says it and the file does not."""
        unsaid = [i for i, tag in enumerate(self._tags) if not tag.values]
        found = await meanings(self._client.uaclient.session, [ids[i] for i in unsaid])
        structured = [node for node, part in zip(ids, self._parts, strict=True) if part.is_of_structure]
        self._structures = await Types(self._client.uaclient.session).of(structured)
        for i, values in found.items():
            self._tags[unsaid[i]] = self._tags[unsaid[i]].model_copy(update={"values": values})

    def _request(self, place: int, node: ua.NodeId) -> ua.MonitoredItemCreateRequest:
        every_s = self._every_s[place]
        tag = self._tags[place] if place < len(self._tags) else None
        queue = queue_of(every_s, self._publishing_s)
        return request(place, node, sampling_of(every_s), queue, filter_of(tag, self._opening.filtered))

    def _judge_item(self, tag: int, status: ua.StatusCode) -> None:
        if tag == len(self._nodes):  # a server without a clock has no heartbeat
            self._watched_s = self._watched_s if status.is_good() else None
            return
        node = self._nodes[tag] if tag < len(self._nodes) else self._notifier
        assert node is not None  # noqa: S101  # only then was it asked for
        name, address = node.label, node.address
        if status.is_good():
            self._memory.refused.pop(name, None)
            return
        if self._memory.refused.get(name) == status.value:
            return
        self._memory.refused[name] = status.value
        log.warning("node refused asset=%s tag=%s status=%s", self._opening.asset, name, status.name)
        now = self._opening.clock()
        text = f"{name}: {self._url} refuses {address}: {status.name}"
        data = {"tag": name, "address": address, "status": status.name}
        self._buffer.put(
            Event(self._opening.asset, "tag.refused", now, text, severity=Severity.WARNING, key=name, data=data)
        )
        if tag < len(self._names):
            rows = Rows()
            rows.add(now, tag, np.nan, status.value | int(BAD_BIT))
            self._buffer.put(rows)

    # ---- listening ----

    async def _publish(self, result: ua.PublishResult) -> None:
        """Awaited by the client before it asks for the next publish; that is the backpressure."""
        self._heard, is_data = time.monotonic(), False
        try:
            for notification in result.NotificationMessage.NotificationData or ():
                if isinstance(notification, ua.DataChangeNotification):
                    self._hear(notification.MonitoredItems)
                    is_data = True
                elif isinstance(notification, ua.EventNotificationList):
                    for one in notification.Events:
                        self._buffer.put(Said(tuple(one.EventFields), self._opening.clock()))
                elif isinstance(notification, ua.StatusChangeNotification) and not notification.Status.is_good():
                    self._buffer.end(Unavailable(f"{self._url}: subscription ended: {notification.Status.name}"))
            began_s = time.monotonic()
            await self._buffer.room()
            if time.monotonic() - began_s > _HELD_UP_S:
                self._watch.held_up(time.monotonic())
            self._ticked = max(self._ticked, time.monotonic() if is_data else 0.0)
        except Exception as error:
            self._buffer.end(error)  # the client would only log it
            raise
        self._heard = time.monotonic()

    def _hear(self, items: Sequence[ua.MonitoredItemNotification]) -> None:
        rows, now = Rows(), self._opening.clock()
        self._ticked = time.monotonic()
        for item in items:
            if item.ClientHandle < len(self._names):
                self._hear_one(item.ClientHandle, item.Value, now, rows)
            elif item.ClientHandle == len(self._nodes):
                self._clock_s = self._ticked
        if rows.tag or rows.holes:
            self._buffer.put(rows, len(rows.tag))
        arrays = [item for item in items if len(self._names) <= item.ClientHandle < len(self._nodes)]
        for item in sorted(arrays, key=lambda one: one.ClientHandle):  # a period before what it is the period of
            self._hear_array(item.ClientHandle - len(self._names), item.Value, now)

    def _hear_one(self, tag: int, said: ua.DataValue, now: int, rows: Rows) -> None:
        is_first = tag in self._unheard
        ts_ns, believed = self._when(said, now, kept=tag in self._initial)
        self._initial.discard(tag)
        self._watch.heard(tag, said, self._ticked)
        self._asked_anew.discard(tag)
        value = value_of(said, self._parts[tag], self._structures)
        if believed:
            self._unheard.discard(tag)
        if is_first and believed and self._history and self._history.has(tag) and self._memory.last[tag] <= ts_ns:
            rows.holes.append(Hole(tag, int(self._memory.last[tag]), ts_ns, now, self._since_ns))
        if isinstance(value, str):
            self._buffer.put(Text(tag, ts_ns, value, believed))
            return
        if is_first and believed and ts_ns <= self._memory.last[tag]:
            return
        raw, quality = value
        if not believed and quality < UNCERTAIN_BIT:
            quality = Quality.UNCERTAIN | (quality & 0xFFFF)
        if quality == Quality.BAD_TYPE_MISMATCH:
            metrics.bad_data.labels(self._opening.asset, "type_mismatch").inc()
        if self._parts[tag].is_of_structure:
            self._judge_structure(tag, said, quality)
        if quality & 0xFFFF & OVERFLOW == OVERFLOW:
            metrics.bad_data.labels(self._opening.asset, "server_queue_overflow").inc()
        if self._tags[tag].name not in self._memory.texts or self._tags[tag].values:  # a text has no bad rows
            rows.add(ts_ns, tag, raw, quality, believed=believed)

    def _when(self, said: ua.DataValue, now: int, *, kept: bool) -> tuple[int, bool]:
        """Its time, and whether that is the server's; the value a subscription begins with may have stood for long."""
        ts_ns = stamp_of(said)
        if ts_ns is None:
            return now, True
        return (ts_ns, True) if self._device.believed(ts_ns, now, kept=kept) else (now, False)

    def _judge_structure(self, tag: int, said: ua.DataValue, quality: int) -> None:
        """Says once of a structure that nobody can read it."""
        name, refused = self._names[tag], self._memory.refused
        key = f"structure of {name}"
        if quality != UNDECODED:
            refused.pop(key, None)
            return
        metrics.bad_data.labels(self._opening.asset, "undecoded").inc()
        if refused.get(key) == quality:
            return
        refused[key] = quality
        why = reason(said.Value.Value if said.Value else None, self._parts[tag], self._structures)
        log.warning("structure not read asset=%s tag=%s cause=%s", self._opening.asset, name, why)
        text = f"{name}: {self._url}: {why}"
        data = {"tag": name, "address": self._tags[tag].address, "status": "BadDecodingError"}
        now, severity = self._opening.clock(), Severity.WARNING
        self._buffer.put(Event(self._opening.asset, "tag.refused", now, text, severity=severity, key=name, data=data))

    def _hear_array(self, place: int, said: ua.DataValue, now: int) -> None:
        own_ns = stamp_of(said)
        ts_ns = now if own_ns is None else own_ns
        node = self._bursts.nodes[place]
        if node.unit_s is None and self._memory.bursts.get(self._opening.waveforms[node.entry].name) == ts_ns:
            return
        for one in self._bursts.hear(place, said, ts_ns):
            self._buffer.put(one, 1 + (one.value.size // 5 if isinstance(one, Waveform) else 0))

    async def readings(self) -> AsyncIterator[Reading]:
        """What the server has reported since the last reading."""
        while True:
            heard = await self._take()
            for part in portions([item for item in heard if isinstance(item, Waveform)]):
                self._memory.bursts.update((one.name, self._bursts.source_ns(one)) for one in part)
                yield Reading(part, memory=self._memory.text())
            rest = [item for item in heard if not isinstance(item, Waveform | Page)]
            if rest:
                yield self._merge(rest)
            pages = [item for item in heard if isinstance(item, Page)]
            if pages:
                yield self._mend(pages)

    async def _take(self) -> list[Rows | Text | Said | Event | Waveform | Page]:
        while True:
            try:
                async with asyncio.timeout(self._deadline() - time.monotonic()):
                    return await self._buffer.take()
            except TimeoutError:
                self._check_signs_of_life()

    def _deadline(self) -> float:
        silent = self._heard + self._patience_s
        return silent if self._watched_s is None else min(silent, self._ticked + self._watched_s)

    def _check_signs_of_life(self) -> None:
        now = time.monotonic()
        if now - self._heard >= self._patience_s:
            raise Unavailable(f"{self._url}: neither data nor keepalive for {self._patience_s:.0f} s")
        if self._watched_s is not None and now - self._ticked >= self._watched_s:
            metrics.bad_data.labels(self._opening.asset, "subscription_deaf").inc()
            raise Unavailable(f"{self._url}: neither a tag nor the server's clock moved for {self._watched_s:.0f} s")

    def _merge(self, heard: list[Rows | Text | Said | Event]) -> Reading:
        rows = [item for item in heard if isinstance(item, Rows)]
        bodies: list[Batch | Event] = [item for item in heard if isinstance(item, Event)]
        for item in heard:
            event = self._texts.said(self._tags[item.tag], item.text, item.ts_ns) if isinstance(item, Text) else None
            if isinstance(item, Said):
                event = self._alarms.said(item.fields, item.now_ns)
            bodies += [event] if event else []
            if isinstance(item, Text) and item.believed:
                self._memory.last[item.tag] = max(self._memory.last[item.tag], item.ts_ns)
        if any(part.tag for part in rows):
            ts_ns = np.array([ts for part in rows for ts in part.ts_ns], np.int64)
            tag = np.array([tag for part in rows for tag in part.tag], np.uint16)
            raw = np.array([raw for part in rows for raw in part.raw], np.float64)
            quality = np.array([code for part in rows for code in part.quality], np.uint32)
            bodies += self._texts.of_numbers(self._tags, tag, raw, ts_ns.tolist())
            value, quality = self._scaling.judge(raw, quality, tag)
            believed = np.array([one for part in rows for one in part.believed], bool)
            np.maximum.at(self._memory.last, tag[believed], ts_ns[believed])
            bodies.insert(0, Batch(self._opening.asset, self._names, ts_ns, tag, value, quality))
        self._memory.texts = self._texts.state()
        bodies += self._device.events(self._opening.clock())
        self._memory.clock_ns = self._device.onset_ns
        holes = [hole for part in rows for hole in part.holes]
        self._memory.holes += holes
        self._memory.heard_ns = max([self._memory.heard_ns, *(hole.heard_ns for hole in holes)])
        if self._history is not None:
            self._history.ask(holes)
        return Reading(tuple(bodies), memory=self._memory.text())

    def _mend(self, pages: Sequence[Page]) -> Reading:
        """A record of its own, so that it can be told from what was heard."""
        for page in pages:
            rest = [] if page.rest is None else [page.rest]
            self._memory.holes = [hole for hole in self._memory.holes if hole != page.hole] + rest
        bodies = self._mending.bodies(pages, self._opening.clock())
        return Reading(tuple(bodies), memory=self._memory.text(), mended=self._mending.mended(pages))
