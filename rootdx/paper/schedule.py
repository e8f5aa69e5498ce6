"""Reports by schedule: of each shift, month or record once to everybody whom a `[[report]]` table names.

* What is to be sent stands in `report_delivery` before it is made; what was sent is noted after it was. So nothing is
  forgotten over a restart or a week of downtime, and at worst a report comes twice, with the same Message-ID.
* A report that is new in the settings begins with the newest period that is over, not with the history.
* What fails is tried again, each time after twice as long, at most an hour later, until it works.
* One process sends; a second one on the same database waits until the first is gone.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import aiosmtplib
import psycopg
import typst

from analytics.shifts import shift_runs
from analytics.window import SECOND_NS
from pipeline import metrics, service
from pipeline.database import connect, translated
from pipeline.errors import BadData, ConfigError
from pipeline.migrate import Connection, check_schema
from pipeline.plant import PLANT_FILE, Plant, load
from pipeline.settings import Folder, Mail, Report as Wanted, Settings, store_dsn
from rootdx import letter
from rootdx.export import Table, column
from rootdx.invocation import Site, ask
from rootdx.moments import Clock
from rootdx.paper import energy_report, record, report, shift_report
from rootdx.paper.report import Report
from rootdx.texts import say, speaking

log = logging.getLogger(__name__)

EVERY_S: Final = 30.0
"""How often it looks for what is to be sent."""
FIRST_WAIT_S: Final = 60.0
LONGEST_WAIT_S: Final = 3600.0
LOOK_BACK: Final = timedelta(days=14)
"""So far back a report that is new looks for a shift that is over."""
_LOCK: Final = 7_266_883_170_121
_KINDS: Final = {"pdf": "application/pdf", "html": "text/html",
                 "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """A shift, a month or a record that is over.

    Attributes:
        name: for people and for the table.
        place: orders the periods of a report.
        ended: when it was over.
    """

    name: str
    place: int
    ended: datetime


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A report that is due."""

    wanted: Wanted
    to: Mail | Folder
    period: str
    place: int
    tries: int


def label(to: Mail | Folder) -> str:
    """A channel's name in the table of deliveries."""
    return f"mail {', '.join(to.to)}" if isinstance(to, Mail) else f"folder {to.path}"


class Reporter:
    """Over one connection; made by `reporting`."""

    def __init__(self, db: Connection, settings: Settings, plant: Plant) -> None:
        self._db, self._settings, self._plant = db, settings, plant
        self._reports = {one.name: one for one in settings.report}

    async def round(self, now: datetime | None = None) -> int:
        """Plans what is over and sends what is due; how many reports went out.

        Raises:
            Unavailable, ConfigError: what the database says.
        """
        if not (await ask(self._db, "SELECT pg_try_advisory_lock(%s)", [_LOCK]))[0][0]:
            return 0
        try:
            site = Site(self._settings, self._plant, Clock(now or datetime.now(UTC), ZoneInfo(self._plant.time_zone)))
            for wanted in self._settings.report:
                for to in wanted.to:
                    await self._plan(site, wanted, to)
            return await self._send_due(site)
        finally:
            with contextlib.suppress(psycopg.Error):
                await self._db.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])

    async def _plan(self, site: Site, wanted: Wanted, to: Mail | Folder) -> None:
        ((last,),) = await ask(self._db, _LAST, [wanted.name, label(to)])
        over = [
            one
            for one in await self._periods(site, wanted, last)
            if one.ended + timedelta(minutes=wanted.after_min) <= site.clock.now
        ]
        if last is None:
            over = over[-1:]
            if not over:
                await ask(self._db, _BEGIN, [wanted.name, label(to)])
        for one in over:
            await ask(self._db, _PLAN, [wanted.name, label(to), one.name, one.place])

    async def _periods(self, site: Site, wanted: Wanted, last: int | None) -> list[Period]:
        """The periods from the last planned one on, in order."""
        if wanted.kind == "record":
            rows = await ask(self._db, _RECORDS, [last or 0])
            return [Period(f"record {number}", number, made) for number, made in rows]
        now = site.clock.now
        if wanted.kind == "energy":
            return _months(site, last)
        since = max((now - LOOK_BACK).timestamp(), 0.0) if not last else float(last)
        runs = shift_runs(site.plant, round(since) * SECOND_NS, round(now.timestamp()) * SECOND_NS)
        return [
            Period(f"{run.day.isoformat()} {run.name}", run.start_ns // SECOND_NS, shift_report.span_of(run).last)
            for run in runs
            if run.start_ns // SECOND_NS >= (last or 0) and (not wanted.shifts or run.name in wanted.shifts)
        ]

    async def _send_due(self, site: Site) -> int:
        rows = await ask(self._db, _DUE, [list(self._reports)])
        sent = 0
        for name, channel, period, place, tries in rows:
            wanted = self._reports[name]
            to = next((one for one in wanted.to if label(one) == channel), None)
            if to is not None:
                sent += await self._attempt(site, _Waiting(wanted, to, period, place, tries))
        return sent

    async def _attempt(self, site: Site, one: _Waiting) -> bool:
        """Makes and sends one report; notes that it went, or what went wrong and what to do."""
        key = [one.wanted.name, label(one.to), one.period]
        kind = label(one.to).partition(" ")[0]
        with speaking(one.wanted.language):
            error = await self._tried(site, one)
        if error is None:
            await ask(self._db, _DONE, key)
            metrics.notices_sent.labels(kind).inc()
            return True
        log.warning("not sent report=%s period=%s channel=%s cause=%s", one.wanted.name, one.period, key[1], error)
        metrics.notices_failed.labels(kind).inc()
        await ask(self._db, _FAILED, [error, min(FIRST_WAIT_S * 2.0 ** min(one.tries, 20), LONGEST_WAIT_S), *key])
        return False

    async def _tried(self, site: Site, one: _Waiting) -> str | None:
        """What went wrong, None when nothing did."""
        name = one.wanted.name
        try:
            made, content = await self._made(site, one)
        except (BadData, ConfigError, typst.TypstError) as error:
            return say("paper.sent.not_made", error=error)
        file = f"{name}_{made.name}.{one.wanted.form}"
        try:
            if isinstance(one.to, Folder):
                await asyncio.to_thread(_put, one.to.path, file, content)
            else:
                await self._mail(one.to, one, made, file, content)
        except (TimeoutError, aiosmtplib.SMTPException, ConfigError) as error:
            return say("paper.sent.mail_failed", error=str(error) or type(error).__name__, name=name)
        except OSError as error:
            key = "paper.sent.folder_failed" if isinstance(one.to, Folder) else "paper.sent.mail_failed"
            return say(key, error=error, name=name)
        return None

    async def _made(self, site: Site, one: _Waiting) -> tuple[Report, bytes]:
        """The report and its file."""
        wanted = one.wanted
        if wanted.kind == "record":
            sheet = await record.record_sheet(self._db, site, one.place)
            made = Report(f"record-{one.place}", lambda: sheet, ())
        elif wanted.kind == "energy":
            month = date((one.place - 1) // 12, (one.place - 1) % 12 + 1, 1)
            made = await energy_report.energy_report(self._db, site, month, wanted.machine)
        else:
            day, _, name = one.period.partition(" ")
            run = shift_report.shift_at(site, site.clock.midnight(date.fromisoformat(day)), name)
            made = await shift_report.shift_report(self._db, site, run, wanted.machine)
        return made, await report.rendered(made, wanted.form)

    async def _mail(self, to: Mail, one: _Waiting, made: Report, file: str, content: bytes) -> None:
        message = EmailMessage()
        title, subject = _titles(one)
        plant = self._plant.name or f"{self._plant.enterprise}/{self._plant.site}"
        message["To"], message["Subject"] = ", ".join(to.to), f"{title} · {subject} · {plant}"
        seed = "\n".join((one.wanted.name, label(to), one.period, made.name, plant))
        message["Message-ID"] = f"<{hashlib.sha256(seed.encode()).hexdigest()[:32]}@rootdx>"
        message.set_content(say("paper.sent.body", title=title, subject=subject, plant=plant) + "\n")
        main, _, sub = _KINDS[one.wanted.form].partition("/")
        message.add_attachment(content, maintype=main, subtype=sub, filename=file)
        async with asyncio.timeout(4 * letter.SEND_S):
            await letter.send(self._settings.notify.smtp, message)


def _titles(one: _Waiting) -> tuple[str, str]:
    if one.wanted.kind == "record":
        return say("record.heading", number=one.place), one.period
    return say(f"paper.{one.wanted.kind}.title"), one.period


def _months(site: Site, last: int | None) -> list[Period]:
    """The months that are over, from a place on; without one the last."""
    here = site.clock.now.astimezone(site.zone).date().replace(day=1)
    current = here.year * 12 + here.month
    return [
        Period(f"{(place - 1) // 12}-{(place - 1) % 12 + 1:02}", place,
               site.clock.midnight(date(place // 12, place % 12 + 1, 1)))
        for place in range(last or current - 1, current)
    ]  # fmt: skip


def _put(folder: Path, file: str, content: bytes) -> None:
    """A file in one go: who looks into the folder never sees half of it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    draft = folder / f".{file}.part"
    draft.write_bytes(content)
    draft.replace(folder / file)


async def deliveries(db: Connection, zone: str) -> Table:
    """What was planned and sent, the newest first."""
    columns = [
        column("report"), column("period"), column("channel"), column("planned", "time"), column("sent", "time"),
        column("tries", "whole"), column("error"),
    ]  # fmt: skip
    rows = await ask(db, _LIST)
    return Table(
        "reports", say("paper.sent.title"), columns, rows, zone, notes=[] if rows else [say("paper.sent.none")]
    )


@contextlib.asynccontextmanager
async def reporting(settings: Settings) -> AsyncIterator[Reporter]:
    """A reporter on a migrated database.

    Raises:
        Unavailable: no database there.
        ConfigError: wrong password, not migrated, or the plant file is wrong.
    """
    plant = load(settings.analytics.plant / PLANT_FILE, Plant)
    db = await connect(store_dsn(settings.store), settings.store.connect_timeout_s)
    try:
        with translated():
            await check_schema(db)
        yield Reporter(db, settings, plant)
    finally:
        with contextlib.suppress(psycopg.Error):
            await db.close()


async def run(settings: Settings) -> None:
    """The process: rounds until it is cancelled, again after every outage of the database.

    Raises:
        ConfigError: nothing is to be sent, or the plant file is wrong.
    """
    if not settings.report:
        raise ConfigError(say("paper.sent.nobody"))
    await service.keep("reports", lambda: _rounds(settings))


async def _rounds(settings: Settings) -> None:
    async with reporting(settings) as reporter:
        while True:
            await reporter.round()
            await asyncio.sleep(EVERY_S)


_LAST: Final = "SELECT max(place) FROM rootdx.report_delivery WHERE report = %s AND channel = %s"
_BEGIN: Final = """
    INSERT INTO rootdx.report_delivery (report, channel, period, place, sent) VALUES (%s, %s, '', 0, now())
    ON CONFLICT DO NOTHING"""
_PLAN: Final = """
    INSERT INTO rootdx.report_delivery (report, channel, period, place) VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING"""
_RECORDS: Final = "SELECT number, made FROM rootdx.records WHERE number >= %s ORDER BY number"
_DUE: Final = """
    SELECT report, channel, period, place, tries FROM rootdx.report_delivery
    WHERE sent IS NULL AND due <= now() AND report = ANY(%s) ORDER BY place, report, channel LIMIT 50"""
_DONE: Final = """
    UPDATE rootdx.report_delivery SET sent = now(), error = '', tries = tries + 1
    WHERE report = %s AND channel = %s AND period = %s"""
_FAILED: Final = """
    UPDATE rootdx.report_delivery SET error = %s, tries = tries + 1, due = now() + %s * INTERVAL '1 second'
    WHERE report = %s AND channel = %s AND period = %s"""
_LIST: Final = """
    SELECT report, period, channel, planned, sent, tries, error FROM rootdx.report_delivery
    WHERE period <> '' ORDER BY planned DESC, place DESC LIMIT 1000"""
