"""Spool to bus: sends what is held, in order, and releases what the ledger says is committed.

* At most `window` messages are on their way; nothing is released before it is announced as committed.
* On a hole, or without progress for `patience_s`, sending starts again right after what is committed. Sending twice
  is harmless; the ledger drops it.
* The ledger is believed, also when it goes back (a database restored from yesterday): what is still held, committed or
  not, is sent again, and what is not is told as a loss.
"""

import asyncio
import collections
import contextlib
import logging
import time
from typing import Final

from pipeline import losses, metrics, wire
from pipeline.bus import Session, connected
from pipeline.errors import BadData, SpoolFull, Unavailable
from pipeline.model import Event, Severity
from pipeline.service import keep, together, wall_ns
from pipeline.settings import Bus, Forwarding
from pipeline.spool import Spool
from pipeline.topics import Committed, committed_topic, parse_committed, record_topic

log = logging.getLogger(__name__)

SETTLE_S: Final = 0.3
"""Holes announced this soon after a rewind are echoes of what was sent before it."""
LONGEST_WAIT_S: Final = 3.0
"""Between tries to reach the broker."""


async def forward(spool: Spool, bus: Bus, settings: Forwarding) -> None:
    """Forwards until cancelled, through every absence of the broker."""

    async def attempt() -> None:
        async with connected(bus, f"rootdx-gateway-{spool.source}", [committed_topic(spool.source)]) as session:
            metrics.bus_up.labels("gateway").set(1)
            log.info("bus connected host=%s port=%d", session.node.host, session.node.port)
            try:
                await _Sender(spool, session, settings).run()
            finally:
                metrics.bus_up.labels("gateway").set(0)

    metrics.bus_up.labels("gateway").set(0)  # so that one which never came up is seen, too
    await keep("bus", attempt, longest_wait_s=LONGEST_WAIT_S)


class _Sender:
    """One connection's worth of sending."""

    def __init__(self, spool: Spool, session: Session, settings: Forwarding) -> None:
        self._spool, self._session, self._settings = spool, session, settings
        self._committed = spool.released
        self._sent = spool.released
        self._on_their_way: collections.deque[int] = collections.deque()  # last seq of each message
        self._progress = time.monotonic()
        self._rewound = 0.0

    async def run(self) -> None:
        await together(listen=self._listen(), send=self._send())

    async def _listen(self) -> None:
        async for deliveries in self._session.deliveries():
            for delivery in deliveries:
                try:
                    await self._heard(parse_committed(delivery.payload))
                except BadData as error:
                    metrics.bad_data.labels("forwarder", "announcement").inc()
                    log.warning("announcement refused cause=%s", error)
        raise Unavailable("bus: the broker closed the session")

    async def _heard(self, said: Committed) -> None:
        if said.epoch != self._spool.epoch:
            return
        if said.last > self._spool.head:
            raise BadData(f"committed {said.last} was never given away; the highest is {self._spool.head}")
        if said.last > self._committed:
            self._committed = said.last
            self._sent = max(self._sent, said.last)
            self._progress = time.monotonic()
            while self._on_their_way and self._on_their_way[0] <= said.last:
                self._on_their_way.popleft()
            with contextlib.suppress(SpoolFull):  # a disk too full even to forget: the next announcement tries again
                await self._spool.release(said.last)
        elif said.last < self._committed and said.hole:  # without a hole it is an old announcement that came late
            await self._fell_back(said.last)
        elif said.hole and time.monotonic() - self._rewound > SETTLE_S:
            self._rewind("hole")
        self._spool.appended.set()

    async def _fell_back(self, last: int) -> None:
        """The ledger knows less than it once announced; believe it."""
        released = self._spool.released
        try:
            gone = await self._spool.take_back(last)
        except SpoolFull:
            return  # a disk too full even to note it: the next announcement tries again
        log.warning("ledger went back last=%d released=%d gone=%d", last, released, gone)
        if gone > last:
            data = {"cause": "ledger went back", "from_seq": last + 1, "to_seq": gone}
            text = f"the store went back to record {last}; records up to {gone} are no longer in the spool"
            source, key = losses.gateway_asset(self._spool.source), f"{last}-{gone}"
            event = Event(source, losses.LOSS, wall_ns(), text, severity=Severity.CRITICAL, key=key, data=data)
            with contextlib.suppress(SpoolFull):
                await self._spool.append([event])
        self._committed = last
        self._rewind("ledger went back")

    def _rewind(self, cause: str) -> None:
        metrics.rewinds.labels(cause).inc()
        log.info("rewind cause=%s to=%d", cause, self._committed)
        self._sent = self._committed
        self._on_their_way.clear()
        self._rewound = self._progress = time.monotonic()

    async def _send(self) -> None:
        topic = record_topic(self._spool.source)
        most = self._settings.message_kb << 10
        while True:
            if len(self._on_their_way) >= self._settings.window or self._sent >= self._spool.head:
                await self._wait()
                continue
            self._spool.appended.clear()
            after = self._sent
            held = await self._spool.read(after, most)
            if self._sent != after:
                continue  # rewound meanwhile
            if not held:
                await self._wait()
                continue
            if not self._on_their_way:
                self._progress = time.monotonic()
            self._sent = held[-1].seq
            self._on_their_way.append(held[-1].seq)
            metrics.forwarded_records.inc(len(held))
            await self._session.publish(topic, b"".join(wire.frame(one) for one in held))

    async def _wait(self) -> None:
        """Until something is appended, announced, or patience runs out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.patience_s / 4):
                await self._spool.appended.wait()
        self._spool.appended.clear()  # also while the window is full, or the next wait would not wait
        if self._on_their_way and time.monotonic() - self._progress > self._settings.patience_s:
            self._rewind("no progress")
