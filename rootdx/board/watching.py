"""What all who watch are told, found out once for all of them: the store is asked as often for one as for fifty.

* A listener that is slow gets the newest state next time, never a queue of old ones.
* Nobody watches: nobody asks the store.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from pipeline import metrics
from pipeline.errors import RootdxError
from pipeline.migrate import Connection
from rootdx.board import sight
from rootdx.board.sight import SLOW_S, Sight, Slow
from rootdx.invocation import ask
from rootdx.texts import LANGUAGES

log = logging.getLogger(__name__)

BEAT_S: Final = 5.0
_SHARE: Final = 4.0
"""Rests at least so many times as long as a look took: at most a fifth of a core of the database."""
_STILL: Final = ("now_ms", "age_s", "progress")
"""What changes by itself, and is no reason to tell anybody."""


class Connect(Protocol):
    """Gives a connection."""

    def __call__(self) -> AbstractAsyncContextManager[Connection]:
        """For as long as it is needed."""


@dataclass(slots=True)
class _Told:
    """The newest of one kind, and which it is."""

    number: int = 0
    text: str = ""
    core: Any = None


@dataclass(slots=True)
class Watching:
    """What is to be told; `run` keeps it fresh."""

    connect: Connect
    zone: ZoneInfo
    every_s: float
    listeners: Counter[str] = field(default_factory=Counter)
    _news: dict[str, _Told] = field(default_factory=dict)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _slow: tuple[float, Slow] | None = None
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Looks, again and again, while somebody watches."""
        while True:
            await self._wanted.wait()
            begun = time.monotonic()
            try:
                async with self.connect() as db:
                    await self._look(db)
                metrics.moved("board")
            except RootdxError as error:
                log.warning("cannot look at the store cause=%s", error)
                self._slow = None
                await self._tell("trouble", {"error": str(error)}, {"error": str(error)})
            took = time.monotonic() - begun
            await asyncio.sleep(max(self.every_s - took, _SHARE * took, 0.05))

    async def look(self, db: Connection) -> Sight:
        """The plant as it is now."""
        now = time.monotonic()
        if self._slow is None or now - self._slow[0] > SLOW_S:
            self._slow = (now, await sight.slow(db))
        return await sight.seen(db, self._slow[1])

    async def _look(self, db: Connection) -> None:
        found = await self.look(db)
        for language in LANGUAGES:
            whole = found.told(language, self.zone)
            await self._tell(f"overview {language}", whole, _core(whole))
        await self._tell("alarms", {"open": len(found.alarms), "newest_id": found.mark}, found.mark)
        for machine in [name for name, count in self.listeners.items() if name and count]:
            data = await values(db, machine, found)
            await self._tell(f"values {machine}", data, [data["values"], _core(data["running"])])

    async def _tell(self, key: str, data: Mapping[str, Any], core: Any) -> None:
        told = self._news.setdefault(key, _Told())
        if told.number and told.core == core:
            return
        told.number, told.core, told.text = told.number + 1, core, json.dumps(data, ensure_ascii=False)
        async with self._changed:
            self._changed.notify_all()

    async def listen(self, language: str, machine: str = "") -> AsyncIterator[tuple[str, str]]:
        """Name and JSON of every event, the present state first; `beat` when there was nothing else."""
        wanted = {f"overview {language}": "overview", "alarms": "alarms", "trouble": "trouble"}
        if machine:
            wanted[f"values {machine}"] = "values"
        heard: dict[str, int] = {"trouble": self._news["trouble"].number if "trouble" in self._news else 0}
        self.listeners[machine] += 1
        self._wanted.set()
        try:
            while True:
                news = [
                    (key, told) for key, told in self._news.items() if key in wanted and told.number > heard.get(key, 0)
                ]
                for key, told in news:
                    heard[key] = told.number
                    yield wanted[key], told.text
                if not news and not await self._news_within(BEAT_S):
                    yield "beat", json.dumps({"now_ms": round(time.time() * 1000)})
        finally:
            self.listeners[machine] -= 1
            if not self.listeners[machine]:
                del self.listeners[machine]
                self._news.pop(f"values {machine}", None)
            if not self.listeners:
                self._wanted.clear()
                self._news.clear()

    async def _news_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async with self._changed:
                    await self._changed.wait()
                return True
        return False


async def values(db: Connection, machine: str, found: Sight) -> dict[str, Any]:
    """The newest value of every tag of a machine, and what runs on it."""
    rows = await ask(db, _VALUES, [machine])
    told = {tag: {"t_ms": sight.ms(ts), "v": value, "q": quality} for tag, ts, value, quality in rows}
    return {"machine": machine, "now_ms": found.now_ms, "values": told, "running": found.running.get(machine, [])}


def _core(data: Any) -> Any:
    """What is left without that which changes by itself."""
    if isinstance(data, dict):
        return {key: _core(value) for key, value in data.items() if key not in _STILL}
    return [_core(one) for one in data] if isinstance(data, list) else data


_VALUES: Final = "SELECT tag, ts, value, quality FROM rootdx.latest WHERE asset = %s ORDER BY tag"
