"""A small plant in a real store, with all that people enter, and the commands run on it as they would run them.

Two machines of simulated rows: a die-casting cell (`dc1`, 40 minutes) and a plating line (`ni1`, two hours).
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import tomli_w
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from analytics.entries import CheckEntry, ContextEntry, Entry, LabEntry, LinkEntry, QuantityEntry, enter
from analytics.machines import load_machines
from analytics.process import Limit
from analytics.processes.casting import HpdcShot
from analytics.processes.surface_treatment import PlatingRack
from analytics.record_store import RecordStore, Subject
from analytics.records import Profile
from analytics.watch import watching
from analytics.window import SECOND_NS, Window
from pipeline.database import connect
from pipeline.errors import ConfigError, RootdxError
from pipeline.settings import DSN_ENV
from pipeline.store import opened
from rootdx.cli import app
from tests.support.plant_rows import QUICK, Feed, batches, store_settings
from tests.support.simulated import ORIGIN_NS, simulated
from tests.support.spine import tally

START: Final = datetime.fromtimestamp(ORIGIN_NS / SECOND_NS, UTC)
MINUTES: Final = 40
DC1: Final = "test/plant/casting/line1/dc1"
NI1: Final = "test/plant/plating/line1/ni1"
SHOT: Final = HpdcShot(
    states=("IDLE", "DIE_CLOSE", "POUR", "SLOW_SHOT", "FAST_SHOT", "INTENSIFY", "COOL", "DIE_OPEN", "EJECT", "SPRAY"),
    limit={"v_fast": Limit(low=2.0, high=3.2)}, warm_up_shots=3, ideal_cycle_s=50.0,
)  # fmt: skip
RACK: Final = PlatingRack(rectifiers=2, area_dm2=120.0)
PROFILES: Final = {"casting": Profile(kinds=("hpdc_shot",), features=("v_fast",), checks=("calibration",))}
SECRET: Final = "only-for-tests"


def at(minutes: float) -> datetime:
    """Minutes after the simulation began."""
    return START + timedelta(minutes=minutes)


def windows() -> dict[str, Window]:
    """What the machines did, by asset."""
    made = {DC1: simulated("casting", 60.0 * MINUTES).window, NI1: simulated("surface_treatment", 7200.0).window}
    return {asset: dataclasses.replace(window, asset=asset) for asset, window in made.items()}


def said() -> list[Entry]:
    """What people entered."""
    who: dict[str, Any] = {"author": "kim", "asset": DC1}
    contexts = [
        *(("lot", "L-1", -5), ("lot", "L-2", 20), ("die", "D-17", -5), ("melt", "M-7", -5), ("order", "W-1", 10)),
        *(("part", "P-1", 5), ("part", "", 7), ("recipe", "=ADC12 r7", -5)),
    ]
    return [
        *(ContextEntry(**who, kind=kind, value=value, valid_from=at(minute)) for kind, value, minute in contexts),
        QuantityEntry(**who, ts=at(12), scrap=2, reason="기포"),
        LabEntry(author="park", sampled=at(1), name="fe", value=0.8, unit="%", item_kind="lot", item="L-2"),
        LinkEntry(author="kim", item_kind="part", item="P-9", of_kind="lot", of_item="L-2"),
        CheckEntry(**who, kind="calibration", subject="TC-101", done=START.date() - timedelta(days=100), months=12,
                   passed=True, document="KOLAS-2601"),
    ]  # fmt: skip


def write_plant(folder: Path, shapes: Mapping[str, Window]) -> None:
    """The plant folder: a file a machine, tags named as their roles."""
    folder.mkdir()
    shifts = [
        {"name": "day", "start": "06:00:00", "end": "18:00:00", "days": list(_DAYS)},
        {"name": "night", "start": "18:00:00", "end": "06:00:00", "days": list(_DAYS)},
    ]
    plant = {"enterprise": "test", "site": "plant", "time_zone": "Asia/Seoul", "contract_kw": 500.0, "shift": shifts}
    (folder / "plant.toml").write_text(tomli_w.dumps(plant))
    more: dict[str, dict[str, Any]] = {
        DC1: {"life": [{"name": "die_shots", "per": "die", "limit": 40.0}],
              "check": [{"kind": "calibration", "subject": "TC-101", "months": 12}],
              "detector": [{"kind": "limits", "name": "biscuit", "on": "hpdc_shot", "of": ["biscuit"], "low": 23.0}]},
        NI1: {},
    }  # fmt: skip
    for asset, process in ((DC1, SHOT), (NI1, RACK)):
        tags = [{"name": role, "role": role, "unit": "1", "address": "x"} for role in shapes[asset].series]
        cycle = process.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {"kind": process.kind}
        machine = {
            "path": asset.split("/", 2)[2], "name": asset.rpartition("/")[2], "process": "casting",
            "source": {"protocol": "none"}, "tag": tags, "cycle": [cycle], **more[asset],
        }  # fmt: skip
        (folder / f"{asset.rpartition('/')[2]}.toml").write_text(tomli_w.dumps(machine))


async def fill(dsn: str, folder: Path, shapes: Mapping[str, Window]) -> None:
    """Rows, what people said of them, cycles, elements, demand, two records."""
    plant, machines = load_machines(folder)
    async with opened(store_settings(dsn)) as store:
        for asset, window in shapes.items():
            feed = Feed(store, asset)
            await feed.declare(window)
            minutes = range(window.start_ns // _MINUTE_NS * _MINUTE_NS, window.end_ns, _MINUTE_NS)
            due = [tally(60, asset=asset, tags=(tag,), minute_ns=m) for m in minutes for tag in window.series]
            await feed.take(*batches(window, 600.0), *(due if asset == DC1 else []))
    live = QUICK.model_copy(update={"live_s": 1e9})  # as if the rows were of today
    async with watching(store_settings(dsn), live, plant, machines) as watch:
        db = await connect(dsn, 5)
        try:
            await enter(db, said())
            await db.execute("DELETE FROM rootdx.recompute WHERE reason = 'context'")  # all is asked for anyway
            await watch.drain()
            records = RecordStore(db, plant, machines)
            for lot in ("L-1", "L-2"):
                await records.make(Subject("lot", lot), PROFILES, profile=None, author="lee", reason="")
        finally:
            await db.close()


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Shop:
    """The plant as a person sees it: settings, roles, a language."""

    dsn: str
    config: Path
    language: str = "en"
    more: Mapping[str, str] = field(default_factory=dict)

    def environment(self, role: str) -> dict[str, str]:
        """Variables of a process of this role."""
        dsn = self.dsn if role == "postgres" else make_conninfo(self.dsn, user=f"rootdx_{role}", password=SECRET)
        return {
            "ROOTDX_CONFIG": str(self.config), DSN_ENV: dsn, "ROOTDX_LANG": self.language, "COLUMNS": "400",
            **self.more,
        }  # fmt: skip

    def __call__(self, *arguments: str, role: str = "reader") -> Done:
        """One command, its errors as `main` tells them."""
        result = CliRunner().invoke(app, list(arguments), env=self.environment(role))
        error = result.exception
        code, told = result.exit_code, ""
        if isinstance(error, RootdxError):
            code, told = 78 if isinstance(error, ConfigError) else 1, str(error)
        elif error is not None and not isinstance(error, SystemExit):
            raise error
        return Done(code, result.stdout_bytes.decode("utf-8-sig"), told or result.stderr, result.stdout_bytes)


def let_in(dsn: str, roles: Sequence[str] = ("rootdx_reader", "rootdx_analytics", "rootdx_board")) -> None:
    """Lets roles log in."""
    with psycopg.connect(dsn, autocommit=True) as db:
        for role in roles:
            db.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{SECRET}'".encode())


def clean_environment() -> dict[str, str]:
    """This process's, without what is ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROOTDX_")}


def day_of(minutes: float) -> date:
    """The plant's day."""
    return (at(minutes) + timedelta(hours=9)).date()


_MINUTE_NS: Final = 60 * SECOND_NS
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
