"""What is wrong with an installation, in plain words, each finding with its remedy."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from analytics.machines import load_machines
from collectors.probe import probe
from collectors.protocols import MachineFile
from pipeline.bus import connected
from pipeline.database import connect
from pipeline.errors import RootdxError
from pipeline.migrate import check_schema, timescale_version
from pipeline.model import BAD_BIT
from pipeline.plant import Machine, load_folder
from pipeline.settings import Node, Settings, read_settings, store_dsn
from pipeline.spool_database import PENDING
from rootdx.texts import say

CLOCK_S: Final = 2.0
"""A clock further off than this is a finding."""
HOURS: Final = 8.0
"""Less room for an outage than a shift is a finding."""
STALE_S: Final = 120.0
_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    state: Literal["ok", "warning", "failed"]
    subject: str
    text: str


async def examine(config: Path | None, *, machines: bool) -> list[Finding]:
    """Everything that can be looked at from here; each part on its own, so that one fault hides no other."""
    try:
        settings = read_settings(config)
    except RootdxError as error:
        return [Finding("failed", say("doctor.settings"), str(error))]
    found = [Finding("ok", say("doctor.settings"), say("doctor.settings_fine"))]
    try:
        _, plant = load_folder(settings.gateway.plant, MachineFile)
    except RootdxError as error:
        found.append(Finding("failed", say("doctor.plant"), str(error)))
        plant = {}
    else:
        tags = sum(len(machine.tag) for machine in plant.values())
        found.append(Finding("ok", say("doctor.plant"), say("doctor.plant_fine", machines=len(plant), tags=tags)))
    if plant or settings.analytics.plant != settings.gateway.plant:
        found.append(_cycles(settings))
    found += [await _bus(settings, node) for node in settings.bus.nodes]
    found += [one async for one in _store(settings)]
    found.append(_spool(settings))
    if machines:
        found += await asyncio.gather(*(_machine(asset, machine) for asset, machine in plant.items()))
    return found


def _cycles(settings: Settings) -> Finding:
    """Whether the analytics understand the machine files, and which features are off for want of a role."""
    subject = say("doctor.cycles")
    try:
        _, machines = load_machines(settings.analytics.plant)
    except RootdxError as error:
        return Finding("failed", subject, str(error))
    left_out = [
        f"{machine.asset.rpartition('/')[2]} {process.kind}: {', '.join(roles)}"
        for machine in machines
        for process in machine.processes
        if (roles := machine.left_out(process))
    ]
    text = say("doctor.cycles_fine", processes=sum(len(machine.processes) for machine in machines))
    return Finding("ok", subject, f"{text}  {say('doctor.cycles_off')} {'; '.join(left_out)}" if left_out else text)


async def _bus(settings: Settings, node: Node) -> Finding:
    started = time.monotonic()
    alone = settings.bus.model_copy(update={"host": str(node)})
    try:
        async with connected(alone, f"rootdx-doctor-{os.getpid()}", []):
            milliseconds = (time.monotonic() - started) * 1000
    except RootdxError as error:
        return Finding("failed", say("doctor.bus"), str(error))
    text = say("doctor.bus_fine", host=node.host, port=node.port, milliseconds=milliseconds)
    return Finding("ok", say("doctor.bus"), text)


async def _store(settings: Settings) -> AsyncIterator[Finding]:
    subject = say("doctor.store")
    try:
        db = await connect(store_dsn(settings.store), settings.store.connect_timeout_s)
    except RootdxError as error:
        yield Finding("failed", subject, str(error))
        return
    async with db:
        try:
            engine = await check_schema(db)
        except RootdxError as error:
            yield Finding("failed", subject, str(error))
            return
        version = db.info.parameter_status("server_version")
        yield Finding("ok", subject, say("doctor.store_fine", version=version, engine=engine))
        extension = await timescale_version(db)
        if extension is None:
            yield Finding("warning", say("doctor.timescale"), say("doctor.timescale_none"))
        else:
            yield Finding("ok", say("doctor.timescale"), say("doctor.timescale_fine", version=extension))
        yield await _clock(db)
        async for finding in _flow(db):
            yield finding


async def _clock(db: Any) -> Finding:
    before = time.time()
    row = await (await db.execute("SELECT extract(epoch FROM clock_timestamp())::float8")).fetchone()
    offset = (before + time.time()) / 2 - float(row[0])
    good = abs(offset) <= CLOCK_S
    key = "doctor.clock_fine" if good else "doctor.clock_off"
    return Finding("ok" if good else "warning", say("doctor.clock"), say(key, offset=offset))


async def _flow(db: Any) -> AsyncIterator[Finding]:
    cursor = await db.execute(
        "SELECT DISTINCT ON (gateway) gateway, extract(epoch FROM now() - last_commit)::float8 FROM rootdx.ledger "
        "WHERE last_commit IS NOT NULL ORDER BY gateway, source_id DESC"
    )
    gateways = await cursor.fetchall()
    if not gateways:
        yield Finding("warning", say("doctor.flow"), say("doctor.flow_none"))
    for gateway, age_s in gateways:
        fresh = age_s <= STALE_S
        text = say("doctor.flow_fine" if fresh else "doctor.flow_stale", gateway=gateway, seconds=age_s)
        yield Finding("ok" if fresh else "warning", say("doctor.flow"), text)
    yield await _behind(db)
    may_look = await (await db.execute("SELECT has_table_privilege('rootdx.quarantine', 'SELECT')")).fetchone()
    if may_look[0]:
        cursor = await db.execute(
            "SELECT count(*), coalesce(sum(rows), 0) FROM rootdx.quarantine WHERE resolved IS NULL"
        )
        entries, rows = await cursor.fetchone()
        key = "doctor.quarantine_some" if entries else "doctor.quarantine_fine"
        yield Finding("warning" if entries else "ok", say("doctor.quarantine"), say(key, entries=entries, rows=rows))


async def _behind(db: Any) -> Finding:
    """Whether the analytics process keeps up."""
    cursor = await db.execute(
        "SELECT count(*), coalesce(extract(epoch FROM now() - min(at)), 0)::float8 FROM ("
        "SELECT asked AS at FROM rootdx.recompute WHERE asked < now() - INTERVAL '1 minute' UNION ALL "
        "SELECT hour FROM rootdx.arrival JOIN rootdx.process_config USING (asset_id) "
        "WHERE hour < now() - INTERVAL '2 hours'"
        ") waiting"
    )
    spans, seconds = await cursor.fetchone()
    key = "doctor.analytics_behind" if spans else "doctor.analytics_fine"
    text = say(key, spans=spans, minutes=seconds / 60)
    return Finding("warning" if spans else "ok", say("doctor.analytics"), text)


def _spool(settings: Settings) -> Finding:
    """Room for an outage: by the cap and by the disk, at the rate of the records that are in the spool."""
    spool, subject = settings.gateway.spool, say("doctor.spool")
    place = spool.folder
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        text = f"gateway.spool.folder = {str(spool.folder)!r}: {place} cannot be written by this user"
        return Finding("failed", subject, text)
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    pending, size, rate = _spooled(spool.folder / "spool.sqlite")
    if rate == 0.0:
        return Finding("ok", subject, say("doctor.spool_new", free_gb=free / 1e9))
    by_cap, by_disk = (spool.cap_mb * 1e6 - size) / rate / 3600, free / rate / 3600
    limit = say("doctor.limit_cap" if by_cap <= by_disk else "doctor.limit_disk")
    hours = min(by_cap, by_disk)
    if hours < HOURS:
        return Finding("warning", subject, say("doctor.spool_little", hours=hours, limit=limit))
    return Finding("ok", subject, say("doctor.spool_fine", pending=pending, hours=hours, limit=limit))


def _spooled(file: Path) -> tuple[int, int, float]:
    """Records not known to be committed, their bytes, and bytes a second, by the gateway's own last word."""
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=_WAIT_S) as db:
            pending, size = db.execute(f"SELECT count(*), coalesce(sum(size), 0) {PENDING}").fetchone()
            rate = db.execute("SELECT value FROM meta WHERE key = 'bytes_per_s'").fetchone()
    except sqlite3.Error:
        return 0, 0, 0.0
    return int(pending), int(size), float(rate[0]) if rate else 0.0


async def _machine(asset: str, machine: Machine[Any]) -> Finding:
    subject = say("doctor.machine", asset=asset.rpartition("/")[2])
    try:
        rows = await probe(machine, wait_s=_WAIT_S, bursts=False)
    except RootdxError as error:
        return Finding("failed", subject, str(error))
    good = sum(row.quality is not None and row.quality < BAD_BIT for row in rows)
    wrong = next((f"{row.name}: {row.error}" for row in rows if row.error), "")
    text = say("doctor.machine_fine", good=good, tags=len(rows))
    return Finding("ok" if good == len(rows) else "warning", subject, f"{text}  {wrong}".strip())
