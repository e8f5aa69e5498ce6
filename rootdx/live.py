"""The live view of a demo in the terminal: rates, lag, spool, and the newest value of every machine."""

import asyncio
import sqlite3
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import psycopg
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from pipeline.spool_database import PENDING
from rootdx.alarm_text import sentence
from rootdx.texts import say

REFRESH_S: Final = 1.0
PLAIN_S: Final = 10.0
"""Between two lines where there is no screen."""
TAGS: Final = 4
"""Signals shown of a machine."""
_CYCLES: Final = """
    SELECT asset, kind, count(*) FILTER (WHERE end_ts IS NOT NULL),
           (array_agg(running_phase ORDER BY start_ts DESC) FILTER (WHERE end_ts IS NULL))[1],
           max(start_ts) FILTER (WHERE end_ts IS NULL),
           (array_agg(seconds ORDER BY start_ts DESC) FILTER (WHERE end_ts IS NOT NULL))[1],
           (array_agg(coalesce(verdict, '') ORDER BY start_ts DESC) FILTER (WHERE end_ts IS NOT NULL))[1]
    FROM rootdx.cycles GROUP BY asset, kind ORDER BY asset, kind"""
_ALARMS: Final = """
    SELECT asset, detector, priority, state, raised, facts FROM rootdx.alarms WHERE state <> 'normal'
    ORDER BY active DESC, array_position(ARRAY['high', 'medium', 'low'], priority), raised DESC"""
_ZONE: Final = ZoneInfo("Asia/Seoul")
"""Of the demo's plant."""
ALARMS: Final = 4
"""Alarms shown."""
_PRIORITIES: Final = {"high": "bold red", "medium": "yellow", "low": "cyan"}
_VERDICTS: Final = {
    "pass": "green", "review": "yellow", "fail": "bold red", "incomplete": "yellow", "unverified": "yellow", "": "dim",
}  # fmt: skip
_COLOURS: Final = {"good": "green", "uncertain": "yellow", "bad": "red"}

_STATE: Final = """
    SELECT (SELECT coalesce(sum(rows), 0) FROM rootdx.record),
           (SELECT extract(epoch FROM max(ingest_ts) - max(gateway_ts)) FROM
                (SELECT ingest_ts, gateway_ts FROM rootdx.record ORDER BY id DESC LIMIT 1) r),
           (SELECT count(*) FROM rootdx.quarantine WHERE resolved IS NULL)"""
_LATEST: Final = """
    SELECT asset, tag, value, unit, quality, ts FROM rootdx.latest
    WHERE role <> '' ORDER BY asset, tag_id"""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is to be seen at one moment."""

    rows: int
    lag_s: float
    quarantined: int
    spool_records: int
    spool_bytes: int
    latest: list[tuple[Any, ...]]
    cycles: list[tuple[Any, ...]]
    alarms: list[tuple[Any, ...]]


async def show(dsn: str, folder: Path, console: Console, quiet: bool) -> None:  # noqa: FBT001  # passed on from the wish
    """Shows the plant until cancelled; on a screen a live table, else a line now and then."""
    history: deque[tuple[float, int]] = deque(maxlen=10)
    if quiet or not console.is_terminal:
        while True:
            sight = await asyncio.to_thread(look, dsn, folder)
            history.append((time.monotonic(), sight.rows))
            console.print(_line(sight, _rate(history)))
            await asyncio.sleep(PLAIN_S)
    with Live(console=console, refresh_per_second=4) as screen:
        while True:
            sight = await asyncio.to_thread(look, dsn, folder)
            history.append((time.monotonic(), sight.rows))
            screen.update(_picture(sight, _rate(history), folder))
            await asyncio.sleep(REFRESH_S)


def look(dsn: str, folder: Path) -> Sight:
    """Asks database and spool."""
    with psycopg.connect(dsn) as db:
        rows, lag_s, quarantined = db.execute(_STATE).fetchone() or (0, 0.0, 0)
        latest = db.execute(_LATEST).fetchall()
        cycles = db.execute(_CYCLES).fetchall()
        alarms = db.execute(_ALARMS).fetchall()
    records, size = spooled(folder / "spool" / "spool.sqlite")
    return Sight(int(rows), float(lag_s or 0), quarantined, records, size, latest, cycles, alarms)


def spooled(file: Path) -> tuple[int, int]:
    """Records and bytes in a spool that another process has open; reading it disturbs nobody."""
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=0.2) as db:
            records, size = db.execute(f"SELECT count(*), coalesce(sum(size), 0) {PENDING}").fetchone()
            return int(records), int(size)
    except sqlite3.Error:
        return 0, 0


def _rate(history: deque[tuple[float, int]]) -> float:
    (then, before), (now, after) = history[0], history[-1]
    return (after - before) / (now - then) if now > then else 0.0


def _line(sight: Sight, rate: float) -> str:
    spool = say("live.spool_value", records=sight.spool_records, kilobytes=sight.spool_bytes / 1000)
    return (
        f"{datetime.now().astimezone():%H:%M:%S}  {rate:,.0f} {say('live.rate')}  {sight.rows:,} {say('live.total')}  "
        f"{say('live.lag')} {sight.lag_s * 1000:.0f} ms  {say('live.spool')} {spool}  "
        f"{say('live.quarantine')} {sight.quarantined}  {say('live.alarms')} {len(sight.alarms)}"
    )


def _picture(sight: Sight, rate: float, folder: Path) -> Panel:
    head = Table.grid(expand=True)
    for _ in range(5):
        head.add_column(justify="center")
    keys = ("live.rate", "live.total", "live.lag", "live.spool", "live.quarantine")
    head.add_row(*(f"[dim]{say(key)}[/]" for key in keys))
    spool = say("live.spool_value", records=sight.spool_records, kilobytes=sight.spool_bytes / 1000)
    head.add_row(
        f"[bold cyan]{rate:,.0f}[/]", f"[bold]{sight.rows:,}[/]", f"[bold]{sight.lag_s * 1000:.0f} ms[/]", spool,
        f"[{'red' if sight.quarantined else 'green'}]{sight.quarantined}[/]",
    )  # fmt: skip
    hint = say("demo.stop_hint", service=folder / "pg_service.conf")
    return Panel(
        Group(head, "", _machines(sight), "", _cycles(sight), "", _alarms(sight)),
        title=say("demo.title", name="ansan1"),
        subtitle=hint,
    )


def _machines(sight: Sight) -> Table:
    table = Table(expand=True, box=None)
    for key in ("live.machine", "live.tag", "live.value", "live.age", "live.quality"):
        table.add_column(say(key), justify="right" if key == "live.value" else "left")
    shown: dict[str, int] = {}
    now = datetime.now(UTC)
    for asset, tag, value, unit, quality, ts in sight.latest:
        shown[asset] = shown.get(asset, 0) + 1
        if shown[asset] > TAGS:
            continue
        number = "–" if value is None else f"{value:,.2f} {'' if unit == '1' else unit}"
        name = f"[bold]{asset.rpartition('/')[2]}[/]" if shown[asset] == 1 else ""
        age = f"{max(0.0, (now - ts).total_seconds()):.1f} s"
        table.add_row(name, tag, number, age, f"[{_COLOURS[quality]}]{say(f'quality.{quality}')}[/]")
    return table


def _cycles(sight: Sight) -> Table:
    """What every machine is doing, and how its last cycle went."""
    table = Table(expand=True, box=None)
    for key in (
        "live.machine",
        "live.process",
        "live.phase",
        "live.since",
        "live.closed",
        "live.lasted",
        "live.verdict",
    ):
        table.add_column(say(key), justify="right" if key in ("live.since", "live.closed", "live.lasted") else "left")
    now = datetime.now(UTC)
    for asset, kind, closed, phase, since, lasted, verdict in sight.cycles:
        table.add_row(
            f"[bold]{asset.rpartition('/')[2]}[/]", kind, phase or "–",
            "–" if since is None else f"{max(0.0, (now - since).total_seconds()):.0f} s", f"{closed:,}",
            "–" if lasted is None else f"{lasted:.1f} s",
            "–" if verdict is None else f"[{_VERDICTS[verdict]}]{say('verdict.' + (verdict or 'none'))}[/]",
        )  # fmt: skip
    return table


def _alarms(sight: Sight) -> Table:
    """What stands, what matters most first, each with its reason in one sentence."""
    table = Table(expand=True, box=None)
    for key in ("live.alarms", "live.since", "live.why"):
        table.add_column(say(key), no_wrap=key != "live.why")
    for asset, detector, priority, state, raised, facts in sight.alarms[:ALARMS]:
        name = f"[{_PRIORITIES[priority]}]{asset.rpartition('/')[2]} {detector}[/] {say(f'alarm.state.{state}')}"
        table.add_row(name, f"{raised.astimezone(_ZONE):%H:%M:%S}", escape(sentence(facts, _ZONE)))
    if not sight.alarms:
        table.add_row("–", "", f"[dim]{say('alarms.none')}[/]")
    elif len(sight.alarms) > ALARMS:
        table.add_row(f"+ {len(sight.alarms) - ALARMS}", "", "[dim]rootdx alarms[/]")
    return table
