"""The notifier: tells people of alarms by webhook, e-mail and MQTT, step by step until somebody acknowledges.

* What is to be told, over which channel and when, stands in the table `notice` before anything is sent; what was sent
  is noted after it was. So nothing is forgotten over a restart, and at worst a message comes twice.
* A later step is left out once the alarm was acknowledged or has cleared; so is what waited for the end of the quiet
  hours. High alarms know no quiet hours.
* A channel that fails is tried again, each time after twice as long; the others do not wait for it.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from email.message import EmailMessage
from typing import Any, Final
from zoneinfo import ZoneInfo

import aiosmtplib
import httpx
import psycopg

from pipeline import bus, metrics, service
from pipeline.database import connect, translated
from pipeline.errors import ConfigError, Unavailable
from pipeline.migrate import Connection, check_schema
from pipeline.plant import PLANT_FILE, Plant, load
from pipeline.secrecy import without_path
from pipeline.settings import Mail, MqttTold, NotifySettings, Settings, Step, Webhook, read_secret, store_dsn
from pipeline.topics import alarm_topic
from rootdx import letter
from rootdx.alarm_text import sentence
from rootdx.texts import say_in

log = logging.getLogger(__name__)

Channel = Webhook | Mail | MqttTold
FIRST_WAIT_S: Final = 5.0
SEND_S: Final = 15.0
"""Longest time for one message."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a message says.

    Attributes:
        alarm_id: which alarm.
        asset: machine.
        detector: which detector.
        priority: low, medium or high.
        raised: when.
        text: why, in one sentence.
        facts: the same for programs.
    """

    alarm_id: int
    asset: str
    detector: str
    priority: str
    raised: datetime
    text: str
    facts: Mapping[str, Any]

    def title(self, language: str) -> str:
        """The first line."""
        return say_in(language, "notify.title", priority=self.priority, asset=self.asset, detector=self.detector)

    def payload(self, language: str) -> dict[str, Any]:
        """For programs; `text` is what chat rooms show."""
        return {
            "text": f"{self.title(language)}\n{self.text}", "alarm_id": self.alarm_id, "asset": self.asset,
            "detector": self.detector, "priority": self.priority, "raised": self.raised.isoformat(),
            "facts": dict(self.facts),
        }  # fmt: skip


def label(channel: Channel) -> str:
    """A channel's name in the table of notices: of an address only what tells it from others, not what lets in."""
    match channel:
        case Webhook():
            told_apart = hashlib.sha256(channel.url.encode()).hexdigest()[:8]
            return f"webhook {without_path(channel.url)} {told_apart}"
        case Mail():
            return f"mail {', '.join(channel.to)}"
        case _:
            return "mqtt"


def _without_address(said: str, channel: Channel) -> str:
    return said.replace(channel.url, without_path(channel.url)) if isinstance(channel, Webhook) else said


def due(told_at: datetime, step: Step, priority: str, quiet: tuple[time, time] | None, zone: ZoneInfo) -> datetime:
    """When a step is due: after its minutes, and for what is not high after the quiet hours.

    >>> zone = ZoneInfo("Asia/Seoul")
    >>> step = Step(to=(MqttTold(),))
    >>> late = datetime(2026, 11, 22, 23, 30, tzinfo=zone)
    >>> due(late, step, "medium", (time(22), time(6)), zone).isoformat()
    '2026-11-23T06:00:00+09:00'
    >>> due(late, step, "high", (time(22), time(6)), zone) == late
    True
    """
    when = (told_at + timedelta(minutes=step.after_min)).astimezone(zone)
    if quiet is None or priority == "high":
        return when
    begin, end = quiet
    now = when.timetz().replace(tzinfo=None)
    is_quiet = begin <= now < end if begin < end else now >= begin or now < end
    if not is_quiet:
        return when
    after_midnight = now < end
    return datetime.combine(when.date() + timedelta(days=0 if after_midnight else 1), end, zone)


@dataclass(frozen=True, slots=True)
class _Notice:
    """A message that is due; `stands`: the alarm is active and nobody acknowledged it."""

    entry_id: int
    step: int
    channel: str
    tries: int
    has_waited: bool
    stands: bool
    told: Told


class Notifier:
    """Over one connection; made by `run`."""

    def __init__(self, db: Connection, settings: Settings, zone: ZoneInfo) -> None:
        self._db, self._all, self._zone = db, settings, zone
        self._channels = {label(one): one for step in self._settings.step for one in step.to}

    @property
    def _settings(self) -> NotifySettings:
        return self._all.notify

    async def round(self) -> int:
        """Plans what is new and sends what is due; how many messages went out.

        Raises:
            Unavailable, ConfigError: what the database says.
        """
        await self._plan()
        rows = await self._rows(_DUE, [list(self._channels), self._settings.tries])
        waiting = [self._notice(*row) for row in rows]
        errors = await asyncio.gather(*(self._attempt(notice) for notice in waiting))
        for notice, error in zip(waiting, errors, strict=True):
            key = [notice.entry_id, notice.step, notice.channel]
            if error is None:
                await self._rows(_DONE, key)
            else:
                await self._rows(_FAILED, [error, FIRST_WAIT_S * 2.0**notice.tries, *key])
        return errors.count(None)

    def _notice(self, *row: Any) -> "_Notice":
        entry_id, step, channel, tries, waited, stands, alarm_id, asset, detector, priority, raised, facts = row
        text = sentence(facts, self._zone, self._settings.language)
        told = Told(alarm_id, asset, detector, priority, raised, text, facts or {})
        return _Notice(entry_id, step, channel, tries, waited, stands, told)

    async def _plan(self) -> None:
        for entry_id, told_at, priority in await self._rows(_NEW, []):
            for place, step in enumerate(self._settings.step):
                when = due(told_at, step, priority, self._settings.quiet, self._zone)
                for channel in step.to if priority in step.priorities else ():
                    await self._rows(_PLAN, [entry_id, place, label(channel), when, when])

    async def _attempt(self, notice: "_Notice") -> str | None:
        """Sends one message, or leaves it out; what went wrong, None when nothing did."""
        if (notice.step or notice.has_waited) and not notice.stands:
            return None
        channel, told = notice.channel, notice.told
        try:
            async with asyncio.timeout(SEND_S):
                await self._send(self._channels[channel], told)
        except (OSError, TimeoutError, httpx.HTTPError, aiosmtplib.SMTPException, Unavailable, ConfigError) as error:
            said = _without_address(str(error) or type(error).__name__, self._channels[channel])
            log.warning("not told alarm=%s channel=%s cause=%s", told.alarm_id, channel, said)
            metrics.notices_failed.labels(channel.partition(" ")[0]).inc()
            return said
        metrics.notices_sent.labels(channel.partition(" ")[0]).inc()
        return None

    async def _send(self, channel: Channel, told: Told) -> None:
        language = self._settings.language
        match channel:
            case Webhook():
                await _post(channel, told.payload(language))
            case Mail():
                await self._mail(channel, told)
            case _:
                payload = json.dumps(told.payload(language), ensure_ascii=False).encode()
                async with bus.connected(self._all.bus, f"rootdx-notify-{told.alarm_id}", ()) as session:
                    await session.publish(alarm_topic(told.asset), payload)

    async def _mail(self, channel: Mail, told: Told) -> None:
        message = EmailMessage()
        message["To"], message["Subject"] = ", ".join(channel.to), told.title(self._settings.language)
        message.set_content(f"{told.text}\n\n{told.raised.astimezone(self._zone).isoformat(timespec='seconds')}\n")
        await letter.send(self._settings.smtp, message)

    async def _rows(self, query: str, args: Sequence[object]) -> list[tuple[Any, ...]]:
        with translated():
            cursor = await self._db.execute(query.encode(), args)
            return await cursor.fetchall() if cursor.description else []


async def _post(channel: Webhook, payload: Mapping[str, Any]) -> None:
    headers = {}
    if channel.token_file is not None:
        headers["Authorization"] = f"Bearer {read_secret(channel.token_file)}"
    async with httpx.AsyncClient(timeout=SEND_S) as client:
        (await client.post(channel.url, json=payload, headers=headers)).raise_for_status()


@contextlib.asynccontextmanager
async def notifying(settings: Settings, zone: ZoneInfo) -> AsyncIterator[Notifier]:
    """A notifier on a migrated database.

    Raises:
        Unavailable: no database there.
        ConfigError: wrong password, not migrated.
    """
    db = await connect(store_dsn(settings.store), settings.store.connect_timeout_s)
    try:
        with translated():
            await check_schema(db)
        yield Notifier(db, settings, zone)
    finally:
        with contextlib.suppress(psycopg.Error):
            await db.close()


async def run(settings: Settings) -> None:
    """The process: rounds until it is cancelled, again after every outage of the database.

    Raises:
        ConfigError: nobody is to be told, or the plant file is wrong.
    """
    ours = settings.notify
    if not ours.step:
        raise ConfigError("[notify] has no [[notify.step]]: say who is told; see rootdx/notify.md for a sample")
    zone = ZoneInfo(load(settings.analytics.plant / PLANT_FILE, Plant).time_zone)

    async def attempt() -> None:
        async with notifying(settings, zone) as notifier:
            while True:
                if await notifier.round():
                    metrics.moved("notify")
                await asyncio.sleep(ours.every_s)

    with metrics.served("notify", ours.metrics_port):
        await service.keep("notify", attempt)


_NEW: Final = """
    SELECT j.entry_id, j.written, j.priority FROM rootdx.alarm_journal j
    WHERE j.told AND j.written > now() - INTERVAL '1 day'
      AND NOT EXISTS (SELECT FROM rootdx.notice n WHERE n.entry_id = j.entry_id)
    ORDER BY j.entry_id"""
_PLAN: Final = """
    INSERT INTO rootdx.notice (entry_id, step, channel, due, planned) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING"""
_DUE: Final = """
    SELECT n.entry_id, n.step, n.channel, n.tries, n.planned > j.written + INTERVAL '1 minute',
           a.state = 'unacknowledged', a.alarm_id, a.asset, a.detector, j.priority, j.ts, r.facts
    FROM rootdx.notice n JOIN rootdx.alarm_journal j USING (entry_id) JOIN rootdx.alarms a USING (alarm_id)
    LEFT JOIN rootdx.alarm_journal r
        ON r.entry_id = (SELECT max(e.entry_id) FROM rootdx.alarm_journal e
                         WHERE e.alarm_id = j.alarm_id AND e.kind = 'raised' AND e.entry_id <= j.entry_id)
    WHERE n.sent IS NULL AND n.due <= now() AND n.channel = ANY(%s) AND n.tries < %s ORDER BY n.due LIMIT 50"""
_DONE: Final = """
    UPDATE rootdx.notice SET sent = now(), error = '', tries = tries + 1
    WHERE entry_id = %s AND step = %s AND channel = %s"""
_FAILED: Final = """
    UPDATE rootdx.notice SET error = %s, tries = tries + 1, due = now() + %s * INTERVAL '1 second'
    WHERE entry_id = %s AND step = %s AND channel = %s"""
