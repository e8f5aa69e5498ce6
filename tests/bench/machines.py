"""A plant of Modbus devices: their processes and their machine files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from tests.bench.device import FLOATS
from tests.bench.stage import Child, Stage

TAGS = 100
CLOCK = "clock"
ENTERPRISE, SITE = "bench", "plant"


@dataclass(frozen=True, slots=True)
class Plant:
    """Devices that run, and the settings of a gateway that reads them."""

    devices: Child
    ports: tuple[int, ...]
    settings: Path
    every_s: float


async def devices(stage: Stage, count: int) -> tuple[Child, tuple[int, ...]]:
    """`count` devices in one process."""
    child = await stage.start("devices", "tests.bench.device", str(count))
    line = await child.hears("ports ")
    return child, tuple(int(port) for port in line.split()[1:])


async def plant(stage: Stage, count: int, every_s: float, **settings: Any) -> Plant:
    """Devices, machine files and settings: 100 tags each, that one request of 123 registers reads."""
    child, ports = await devices(stage, count)
    place = stage.place("plant")
    folder = place / "plant"
    folder.mkdir()
    (folder / "plant.toml").write_text(tomli_w.dumps({"enterprise": ENTERPRISE, "site": SITE}))
    for number, port in enumerate(ports):
        source = {"protocol": "modbus", "host": "127.0.0.1", "port": port, "every_s": every_s}
        data = {"path": path(number), "name": f"m{number}", "process": "molding", "source": source, "tag": tags()}
        (folder / f"m{number:02d}.toml").write_text(tomli_w.dumps(data))
    return Plant(child, ports, stage.settings(place, name="bench", plant="plant", **settings), every_s)


def path(number: int) -> str:
    """Area, line and cell of a device."""
    return f"a/l/m{number:02d}"


def tags() -> list[dict[str, Any]]:
    """The clock, 20 float32 with a plausible range, 79 scaled integers."""
    clock = {"name": CLOCK, "address": "holding:0:float64", "unit": "ms"}
    floats = [
        {"name": f"f{i:02d}", "address": f"holding:{4 + 2 * i}:float32", "unit": "Cel", "range": [-50.0, 1500.0]}
        for i in range(FLOATS)
    ]
    first = 4 + 2 * FLOATS
    integers = [
        {"name": f"i{i:02d}", "address": f"holding:{first + i}:uint16", "unit": "1", "scale": 0.1}
        for i in range(TAGS - 1 - FLOATS)
    ]
    return [clock, *floats, *integers]
