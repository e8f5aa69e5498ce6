"""What the notebooks look at: a carburising furnace of two days and a casting cell with three dies, both simulated.

* The furnace's last load has a leak: its probe falls by 40 mV, and more enriching gas is called for.
* Each die has its own biscuit, as dies have; at the end of the third the dosing falls by less than dies differ.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import tomli_w

from analytics.entries import ContextEntry, Entry, enter
from analytics.machines import METER, load_machines
from analytics.watch import watching
from analytics.window import Window
from pipeline.database import connect
from pipeline.store import opened
from simulators.faults import Fault
from tests.support.front_door import DC1, SHOT, START
from tests.support.plant_rows import QUICK, Feed, batches, store_settings
from tests.support.simulated import simulated

FURNACE: Final = "test/plant/heattreat/line1/iq2"
LOADS_S: Final = 43.0 * 3600.0
LEAK_S: Final = 36.0 * 3600.0
DIE_S: Final = 80.0 * 60.0
DIES: Final = {"D-11": 0.0, "D-12": -6.0, "D-13": 5.0}
"""Biscuit of each beside that of the simulator, mm."""
FALL_S: Final = 3.0 * DIE_S - 900.0
FALL_MM: Final = -3.5
_DEPLOY: Final = Path(__file__).resolve().parents[2] / "deploy" / "plant"


def shapes() -> dict[str, Window]:
    """What the machines did, by asset."""
    leak = Fault("air_leak", "probe.mv", LEAK_S, LOADS_S, 40.0)
    furnace = simulated("heat_treatment", LOADS_S, every_s=10.0, faults=[leak]).window
    series = {**furnace.series, METER: furnace.series["energy"]}
    end_s = len(DIES) * DIE_S
    levels = [(n * DIE_S, min((n + 1) * DIE_S, FALL_S), mm) for n, mm in enumerate(DIES.values())]
    steps = [*levels, (FALL_S, end_s, levels[-1][2] + FALL_MM)]
    cell = simulated("casting", end_s, faults=[Fault("dosing", "biscuit", *step) for step in steps]).window
    return {
        FURNACE: dataclasses.replace(furnace, asset=FURNACE, series=series),
        DC1: dataclasses.replace(cell, asset=DC1),
    }


def said() -> list[Entry]:
    """Which die was in the machine."""
    moments = [START + timedelta(seconds=n * DIE_S) for n in range(len(DIES))]
    return [
        ContextEntry(author="kim", asset=DC1, kind="die", value=die, valid_from=moment)
        for die, moment in zip(DIES, moments, strict=True)
    ]


def write_plant(folder: Path, made: Mapping[str, Window]) -> None:
    """The plant folder: the furnace as it is shipped, tags named as their roles."""
    folder.mkdir()
    plant = {"enterprise": "test", "site": "plant", "time_zone": "Asia/Seoul", "contract_kw": 500.0}
    (folder / "plant.toml").write_text(tomli_w.dumps(plant))
    shipped: dict[str, Any] = tomllib.loads((_DEPLOY / "iq2.toml").read_text(encoding="utf-8"))
    shot = SHOT.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {"kind": SHOT.kind}
    cycles = {FURNACE: ("heat_treatment", shipped["cycle"]), DC1: ("casting", [shot])}
    units = {tag["role"]: tag["unit"] for tag in shipped["tag"]} | {METER: "kW.h"}
    for asset, (process, tables) in cycles.items():
        tags = [{"name": r, "role": r, "unit": units.get(r, "1"), "address": "x"} for r in made[asset].series]
        machine = {"path": asset.split("/", 2)[2], "name": asset.rpartition("/")[2], "process": process,
                   "source": {"protocol": "none"}, "tag": tags, "cycle": tables}  # fmt: skip
        (folder / f"{asset.rpartition('/')[2]}.toml").write_text(tomli_w.dumps(machine))


async def fill(dsn: str, folder: Path, made: Mapping[str, Window]) -> None:
    """Rows, dies, cycles, demand."""
    plant, machines = load_machines(folder)
    async with opened(store_settings(dsn)) as store:
        for asset, window in made.items():
            feed = Feed(store, asset)
            await feed.declare(window)
            await feed.take(*batches(window, 3600.0))
    live = QUICK.model_copy(update={"live_s": 1e9})  # as if the rows were of today
    async with watching(store_settings(dsn), live, plant, machines) as watch:
        db = await connect(dsn, 5)
        try:
            await enter(db, said())
            await db.execute("DELETE FROM rootdx.recompute WHERE reason = 'context'")  # all is asked for anyway
            await watch.drain()
        finally:
            await db.close()
