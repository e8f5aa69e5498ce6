"""What the people of the demo's plant do: name lots, note a calibration and a bath analysis, make the record of a lot.

Nothing here is shown as done by the program: every entry has an author, and the record is sealed as any other.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg

from analytics.entries import CheckEntry, ContextEntry, Entry, LabEntry, enter
from analytics.machines import Watched, load_machines
from analytics.record_store import RecordStore, Subject
from analytics.records import load_profiles
from pipeline.database import connect
from pipeline.errors import RootdxError
from pipeline.migrate import Connection
from pipeline.plant import Plant

log = logging.getLogger(__name__)

LOT_S: Final = 30.0
"""The first lot of the welding robot ends so early that its record is there within two minutes."""
LATER_LOT_S: Final = 600.0
LOOK_S: Final = 2.0
ROBOT: Final = "weld1"
_LONG_AGO: Final = timedelta(days=30)
_CONTEXT: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "dc1": (("lot", "D-1101"), ("part", "HSG-22"), ("die", "D-17"), ("recipe", "ADC12 r7"), ("operator", "박민수")),
    "iq2": (("load", "F-3307"), ("lot", "H-208"), ("part", "GEAR-12"), ("recipe", "CARB-930")),
    "weld1": (("lot", "W-1"), ("part", "BRKT-4"), ("operator", "김영호")),
    "ni1": (("lot", "P-77"), ("part", "KNOB-3"), ("operator", "이수진")),
}


def said(machines: Sequence[Watched], now: datetime) -> list[Entry]:
    """What people entered before the demo began: what runs where, checks, a bath analysis."""
    found: list[Entry] = []
    for one in machines:
        name = one.asset.rpartition("/")[2]
        found += [
            ContextEntry(
                asset=one.asset, kind=kind, value=value, valid_from=now - timedelta(minutes=5), author="김영호"
            )
            for kind, value in _CONTEXT.get(_file_of(name), ())
        ]
        found += [
            CheckEntry(
                asset=one.asset, kind=check.kind, subject=check.subject, done=(now - _LONG_AGO).date(),
                months=check.months, days=check.days, passed=True, document="KOLAS-2610-117", author="최검교",
            )
            for check in one.checks
        ]  # fmt: skip
        if name == "ni1":
            found.append(
                LabEntry(
                    asset=one.asset, sampled=now - timedelta(hours=2), name="ni", value=80.5, unit="g/L",
                    method="EDTA", sample="B-611", author="이수진",
                )
            )  # fmt: skip
    return found


def _file_of(name: str) -> str:
    return "iq2" if name == "f03" else name


async def work(dsn: str, folder: Path) -> None:
    """Does all of it until it is cancelled.

    Raises:
        RootdxError: the database is away.
    """
    plant, machines = await asyncio.to_thread(load_machines, folder)
    db = await connect(dsn, 10)
    try:
        now = datetime.now(UTC)
        await enter(db, said(machines, now))
        await _lots(db, plant, machines, now - timedelta(minutes=5))
    finally:
        with contextlib.suppress(psycopg.Error):
            await db.close()


async def _lots(db: Connection, plant: Plant, machines: Sequence[Watched], since: datetime) -> None:
    """One lot of the robot after the other, each with its record."""
    robot = next((one.asset for one in machines if one.asset.endswith(f"/{ROBOT}")), None)
    if robot is None:
        return
    number, length = 1, LOT_S
    while True:
        await asyncio.sleep(length)
        number, length = number + 1, LATER_LOT_S
        ended = datetime.now(UTC)
        change = ContextEntry(asset=robot, kind="lot", value=f"W-{number}", valid_from=ended, author="김영호")
        await enter(db, [change])
        while not await _is_whole(db, robot, since, ended):  # noqa: ASYNC110  # the store tells nobody
            await asyncio.sleep(LOOK_S)
        since = ended
        await _sealed(RecordStore(db, plant, machines), f"W-{number - 1}")


async def _is_whole(db: Connection, asset: str, since: datetime, until: datetime) -> bool:
    """Whether all its cycles are closed, in the lot's name, and their rows counted."""
    rows = await (await db.execute(_WHOLE, {"asset": asset, "since": since, "until": until})).fetchone()
    return bool(rows and rows[0])


async def _sealed(store: RecordStore, lot: str) -> None:
    how: dict[str, Any] = {"profile": None, "author": "최검교", "reason": ""}
    try:
        await store.make(Subject("lot", lot), load_profiles(None), **how)
    except RootdxError as error:
        log.warning("no record of lot=%s cause=%s", lot, error)


_WHOLE: Final = b"""
    SELECT count(*) > 0 AND bool_and(c.end_ts IS NOT NULL AND c.context ? 'lot')
           AND (SELECT max(t.minute) FROM rootdx.tally t JOIN rootdx.tags g USING (tag_id) WHERE g.asset = %(asset)s)
               >= date_trunc('minute', max(c.end_ts))
    FROM rootdx.cycles c
    WHERE c.asset = %(asset)s AND c.start_ts >= %(since)s AND c.start_ts < %(until)s"""
