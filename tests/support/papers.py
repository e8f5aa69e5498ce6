"""A furnace in a real store, one load of it sealed in a record, for what is printed."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli_w

from analytics.entries import CheckEntry, ContextEntry, Entry, LabEntry, enter
from analytics.machines import load_machines
from analytics.process import Limit
from analytics.processes.heat_treatment import SealedQuench
from analytics.record_store import RecordStore, Sealed, Subject
from analytics.records import load_profiles
from analytics.watch import watching
from analytics.window import SECOND_NS, Window
from pipeline.database import connect
from pipeline.model import Event
from pipeline.naming import DECLARED
from pipeline.store import opened
from simulators.heat_treatment import SIGNALS
from tests.support.plant_rows import QUICK, Feed, batches, store_settings
from tests.support.simulated import ORIGIN_NS, simulated
from tests.support.spine import tally

START: Final = datetime.fromtimestamp(ORIGIN_NS / SECOND_NS, UTC)
IQ2: Final = "test/plant/heat/line1/iq2"
LOAD_S: Final = 18_500.0
EVERY_S: Final = 10.0
QUENCH: Final = SealedQuench(
    limit={
        "soak_soak": Limit(low=1140.0), "boost_soak": Limit(low=5130.0), "diffuse_soak": Limit(low=3420.0),
        "zone_spread": Limit(high=8.0), "diffuse_carbon_mean": Limit(low=0.78, high=0.90),
        "boost_worst_deviation": Limit(low=-8.0, high=8.0), "case_depth": Limit(low=0.9, high=1.3),
        "quench_delay": Limit(high=25.0), "oil_rise": Limit(low=8.0, high=20.0), "oil_temp_max": Limit(high=110.0),
    },
)  # fmt: skip
HOSTILE: Final = '#read("/etc/passwd") $x^2$ ]] *b* _i_ <script>alert(1)</script> @r \\ ```'
"""What somebody may type where the paper shows it."""


def at(minutes: float) -> datetime:
    """Minutes after the simulation began."""
    return START + timedelta(minutes=minutes)


def window() -> Window:
    """What the furnace did over one load and a bit."""
    return dataclasses.replace(simulated("heat_treatment", LOAD_S, every_s=EVERY_S).window, asset=IQ2)


def write_plant(folder: Path, shape: Window) -> None:
    """The plant folder."""
    folder.mkdir()
    plant = {"enterprise": "test", "site": "plant", "time_zone": "Asia/Seoul", "contract_kw": 400.0}
    (folder / "plant.toml").write_text(tomli_w.dumps(plant))
    cycle = QUENCH.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {"kind": QUENCH.kind}
    machine = {
        "path": "heat/line1/iq2", "name": "침탄로 2호기", "process": "heat_treatment", "source": {"protocol": "none"},
        "tag": [{"name": role, "role": role, "unit": "1", "address": "x"} for role in shape.series],
        "cycle": [cycle],
        "check": [
            {"kind": "calibration", "subject": "TC-201", "months": 12}, {"kind": "sat", "subject": "IQ-2", "months": 3},
            {"kind": "tus", "subject": "IQ-2", "months": 12},
        ],
    }  # fmt: skip
    (folder / "iq2.toml").write_text(tomli_w.dumps(machine))


def said(*more: Entry) -> list[Entry]:
    """What people entered: the lot, checks of the instruments, a hardness."""
    who: dict[str, Any] = {"author": "kim", "asset": IQ2}
    day = START.date()
    checks = (("calibration", "TC-201", 12, 90), ("sat", "IQ-2", 3, 40), ("tus", "IQ-2", 12, 200))
    return [
        ContextEntry(**who, kind="lot", value="L-2611", valid_from=at(-5)),
        ContextEntry(**who, kind="recipe", value="SCM420 침탄 0.8", valid_from=at(-5)),
        LabEntry(author="park", sampled=at(400), name="hardness_hrc", value=61.5, unit="1", item_kind="lot",
                 item="L-2611", method="ISO 6508", sample="S-1"),
        *(CheckEntry(**who, kind=kind, subject=subject, done=day - timedelta(days=ago), months=months, passed=True,
                     document=f"KOLAS-26-{ago}") for kind, subject, months, ago in checks),
        *more,
    ]  # fmt: skip


async def declare(feed: Feed, shape: Window) -> None:
    """Tells the store the tags with their units."""
    units = {signal.role: signal.unit for signal in SIGNALS}
    tags = [{"name": role, "role": role, "unit": units[role], "every_s": EVERY_S} for role in shape.series]
    await feed.take(Event(IQ2, DECLARED, ORIGIN_NS, "", data=json.loads(json.dumps(
        {"name": "침탄로 2호기", "process": "heat_treatment", "tags": tags}))))  # fmt: skip


async def fill(dsn: str, folder: Path, shape: Window, entries: Sequence[Entry] = ()) -> Sealed:
    """Rows, what people said of them, the cycle, and the record of the lot."""
    plant, machines = load_machines(folder)
    async with opened(store_settings(dsn)) as store:
        feed = Feed(store, IQ2)
        await declare(feed, shape)
        minutes = range(shape.start_ns // _MINUTE_NS * _MINUTE_NS, shape.end_ns, _MINUTE_NS)
        due = [tally(6, asset=IQ2, tags=(tag,), minute_ns=m) for tag in shape.series for m in minutes]
        await feed.take(*batches(shape, 3600.0), *due)
    live = QUICK.model_copy(update={"live_s": 1e9})
    async with watching(store_settings(dsn), live, plant, machines) as watch:
        db = await connect(dsn, 5)
        try:
            await enter(db, said(*entries))
            await watch.drain()
            records = RecordStore(db, plant, machines)
            profiles = load_profiles()
            name = {
                "heat_treatment": profiles["heat_treatment"].model_copy(
                    update={"features": ("soak_soak", "case_depth")}
                )
            }
            return await records.make(Subject("lot", "L-2611"), name, profile=None, author="이 반장", reason="")
        finally:
            await db.close()


def day() -> date:
    """The plant's day."""
    return (START + timedelta(hours=9)).date()


def times(shape: Window) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """When the rows of the first zone were read."""
    return shape["zone1.pv"].ts_ns


_MINUTE_NS: Final = 60 * SECOND_NS
