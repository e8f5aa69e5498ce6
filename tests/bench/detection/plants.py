"""Simulated machines over weeks: features of their cycles and their tags on a grid, kept on disk once made.

Nothing here knows a detector. A month of a machine is simulated in pieces, each piece is segmented and measured as the
analytics would, and what comes out is written below `build/detection/`, so that another setting of a detector costs
seconds.
"""

import hashlib
import inspect
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from analytics.cycles import Span, measure, memory, segments
from analytics.process import Process
from analytics.processes.batch_furnace import VacuumLoad
from analytics.processes.casting import HpdcShot
from analytics.processes.forging import PressStroke
from analytics.processes.heat_treatment import SealedQuench
from analytics.processes.melting import MeltBatch
from analytics.processes.mesh_belt import ContinuousBatch
from analytics.processes.molding import MoldingCycle
from analytics.processes.spot_welding import SpotWeld
from analytics.processes.surface_treatment import PlatingRack
from analytics.processes.welding import ArcSeam
from analytics.result import Bools, Floats, Ints
from analytics.window import SECOND_NS, Window
from simulators import batch_furnace, mesh_belt, spot_welding
from simulators.faults import Fault
from simulators.run import MODELS, Model
from simulators.shot_curve import BORE_MM, FACE_MM, GATE_MM, PLUNGER_MM, ROD_MM
from tests.support.simulated import ORIGIN_NS, pieces

ROOT: Final = Path(__file__).resolve().parents[3]
CACHE: Final = ROOT / "build" / "detection"
_IMPORT: Final = re.compile(r"^from ((?:simulators|analytics)(?:\.\w+)*) import ([\w, ]*)", re.MULTILINE)
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Plant:
    """A machine and the process that finds its cycles.

    Attributes:
        name: for people and files.
        model: what simulates it.
        process: what finds and measures its cycles.
        every_s: reading interval, s.
        longest_s: no cycle lasts longer.
        fault_s: how long a failure lasts when it is injected.
        rest_s: normal operation between two failures.
        grid_s: grid of the tags that are kept.
        bursts: whether it records bursts.
        dies: failures that the simulator has but that no table of signatures lists.
    """

    name: str
    model: Model
    process: Process
    every_s: float
    longest_s: float
    fault_s: float
    rest_s: float
    grid_s: float = 10.0
    bursts: bool = False
    dies: tuple[str, ...] = field(default=())


VACUUM: Final = Model("opcua", batch_furnace.vacuum, batch_furnace.VACUUM_SIGNALS, batch_furnace.VACUUM_FAILURES, 0)
BELT: Final = Model("opcua", mesh_belt.MeshBelt, mesh_belt.SIGNALS, mesh_belt.FAILURES, 0)
GUN: Final = Model("opcua", spot_welding.SpotGun, spot_welding.SIGNALS, spot_welding.FAILURES, 0)
"""Models that are not served."""
SHOT: Final = HpdcShot(
    plunger_mm=PLUNGER_MM, gate_mm2=260.0, gate_mm=GATE_MM, cavity_cm3=550.0, sleeve_mm=FACE_MM, bore_mm=BORE_MM,
    rod_mm=ROD_MM, face_mm=FACE_MM, projected_mm2=90_000.0, clamp_t=850.0, biscuit_mm=25.0,
)  # fmt: skip
VACUUM_LOAD: Final = VacuumLoad(volume_l=2000.0, load_sensors=("load_tc.1",))
PLANTS: Final = {
    one.name: one
    for one in (
        Plant("casting", MODELS["casting"], SHOT, 1.0, 300.0, 4 * 3600.0, 12 * 3600.0),
        Plant("heat_treatment", MODELS["heat_treatment"], SealedQuench(), 5.0, 30_000.0, 45_000.0, 3 * DAY_S, 30.0),
        Plant("vacuum", VACUUM, VACUUM_LOAD, 10.0, 16_000.0, 30_000.0, 2 * DAY_S, 30.0),
        Plant("mesh_belt", BELT, ContinuousBatch(zone_lengths_m=(1.2,) * 5), 5.0, 9_000.0, 7_200.0, 12 * 3600.0, 30.0),
        Plant("melting", MODELS["melting"], MeltBatch(), 5.0, 30_000.0, 60_000.0, 3 * DAY_S, 30.0),
        Plant("welding", MODELS["welding"], ArcSeam(), 0.1, 120.0, 3600.0, 3 * 3600.0),
        Plant("spot_welding", GUN, SpotWeld(thinnest_mm=1.2), 1.0, 30.0, 1200.0, 3600.0, bursts=True),
        Plant(
            "surface_treatment", MODELS["surface_treatment"], PlatingRack(rectifiers=2, area_dm2=120.0), 2.0, 9_000.0,
            4 * 3600.0, DAY_S,
        ),
        Plant("forging", MODELS["forging"], PressStroke(), 1.0, 30.0, 1800.0, 3600.0, bursts=True),
        Plant("molding", MODELS["molding"], MoldingCycle(projected_mm2=42_000.0), 1.0, 240.0, 3600.0, 12 * 3600.0),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a machine did.

    Attributes:
        names: features.
        end_ns: (n,) end of each cycle.
        value: (n, k) features.
        normal: (n,) no flag.
        roles: tags on the grid.
        tick_ns: (m,) ticks.
        tag: (m, r) tags.
        faults: what was wrong, in order.
        seconds: simulated.
    """

    names: tuple[str, ...]
    end_ns: Ints
    value: Floats
    normal: Bools
    roles: tuple[str, ...]
    tick_ns: Ints
    tag: Floats
    faults: tuple[Fault, ...]
    seconds: float


def timeline(plant: Plant, days: float, times: int, seed: int) -> tuple[tuple[Fault, ...], float]:
    """So many days of normal operation, then every failure so often in a random order, with rest between; and the end.

    What is wrong lasts `fault_s` and has the simulator's default size; where a failure has several places one is drawn.
    """
    draw = np.random.default_rng(seed)
    menu = [failure for failure in plant.model.failures if failure.name not in plant.dies] * times
    order = draw.permutation(len(menu)).tolist()
    at_s, found = days * DAY_S, []
    for place in order:
        failure = menu[place]
        at_s += plant.rest_s * float(draw.uniform(0.8, 1.2))
        tag = failure.tags[int(draw.integers(len(failure.tags)))]
        found.append(Fault(failure.name, tag, at_s, at_s + plant.fault_s, failure.magnitude))
        at_s += plant.fault_s
    return tuple(found), at_s + plant.rest_s


def run(plant: Plant, days: float, times: int, seed: int, on_progress: Callable[[float], None] | None = None) -> Run:
    """The machine over its timeline, from disk when it has been made before with the same code."""
    faults, until_s = timeline(plant, days, times, seed)
    file = CACHE / f"{plant.name}-{days:g}-{times}-{seed}-{_key(plant)}.npz"
    if file.exists():
        kept = np.load(file)
        return Run(
            tuple(kept["names"].tolist()), kept["end_ns"], kept["value"], kept["normal"], tuple(kept["roles"].tolist()),
            kept["tick_ns"], kept["tag"].astype(np.float64), faults, until_s,
        )  # fmt: skip
    made = _made(plant, faults, until_s, seed, on_progress)
    CACHE.mkdir(parents=True, exist_ok=True)
    np.savez(
        file, names=np.array(made.names), end_ns=made.end_ns, value=made.value, normal=made.normal,
        roles=np.array(made.roles), tick_ns=made.tick_ns, tag=made.tag.astype(np.float32),
    )  # fmt: skip
    return made


def _key(plant: Plant) -> str:
    """Of everything that decides what comes out: the settings, and the code that the machine and its process import."""
    times = (plant.every_s, plant.longest_s, plant.fault_s, plant.rest_s, plant.grid_s, plant.bursts, plant.dies)
    how = "".join(inspect.getsource(one) for one in (timeline, _made, _windows, _grid))
    code = "".join(_sources([plant.model.make.__module__, type(plant.process).__module__]))
    said = f"{plant.process!r} {times} {how} {code}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _sources(modules: Sequence[str]) -> list[str]:
    """The text of these modules and of all of ours that they import, in order of their names."""
    found: dict[str, str] = {}
    left = list(modules)
    while left:
        name = left.pop()
        if name in found:
            continue
        found[name] = ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        for package, names in _IMPORT.findall(found[name]):
            beside = [f"{package}.{one.strip()}" for one in names.split(",")]
            left += [one for one in (package, *beside) if ROOT.joinpath(*one.split(".")).with_suffix(".py").exists()]
    return [found[name] for name in sorted(found)]


def _made(
    plant: Plant, faults: Sequence[Fault], until_s: float, seed: int, on_progress: Callable[[float], None] | None
) -> Run:
    cycles: list[tuple[int, bool, dict[str, float]]] = []
    grids: list[tuple[Ints, dict[str, Floats]]] = []
    spans: list[Span] = []
    last_ns, told = -1, time.monotonic()
    for window in _windows(plant, faults, until_s, seed):
        found = [
            one for one in segments(plant.process, window)
            if one.end_ns is not None and one.end_ns + plant.process.settle_s * SECOND_NS <= window.end_ns
        ]  # fmt: skip
        for one in sorted(found, key=lambda segment: segment.start_ns):
            if one.start_ns <= last_ns and not one.lane:
                continue
            if one.lane and any(end == one.end_ns for end, *_ in cycles[-40:]):
                continue
            end_ns = one.end_ns or 0
            lead, settle = (round(s * SECOND_NS) for s in (plant.process.lead_s, plant.process.settle_s))
            part = window.cut(one.start_ns - lead, end_ns + settle + 1000)
            cycle = measure(plant.process, one, part, spans, [], 0)
            values = {name: np.nan if r.value is None else r.value for name, r in cycle.features.items()}
            cycles.append((end_ns, not cycle.segment.flags, values))
            if not one.lane:
                spans = [*spans, Span(one.start_ns, end_ns)][-memory(plant.process) :]
            last_ns = max(last_ns, one.start_ns)
        grids.append(_grid(plant, window))
        if on_progress is not None and time.monotonic() - told > 10:
            told = time.monotonic()
            on_progress((window.end_ns - ORIGIN_NS) / SECOND_NS / until_s)
    return _gathered(cycles, grids, tuple(faults), until_s)


def _windows(plant: Plant, faults: Sequence[Fault], until_s: float, seed: int) -> Iterator[Window]:
    overlap_s = plant.longest_s * 2 + plant.process.lead_s + plant.process.settle_s
    return pieces(
        plant.model, until_s, piece_s=max(6 * 3600.0 if plant.every_s >= 1 else 3600.0, overlap_s),
        overlap_s=overlap_s, every_s=plant.every_s, seed=seed, faults=faults, bursts=plant.bursts,
    )  # fmt: skip


def _grid(plant: Plant, window: Window) -> tuple[Ints, dict[str, Floats]]:
    """The last row of each tag at every tick of the newer part of a window."""
    step = round(plant.grid_s * SECOND_NS)
    overlap = round((plant.longest_s * 2 + plant.process.lead_s + plant.process.settle_s) * SECOND_NS)
    first = window.start_ns if window.start_ns == ORIGIN_NS else window.start_ns + overlap
    ticks = np.arange(-(-first // step) * step, window.end_ns, step, dtype=np.int64)
    found = {}
    for role, rows in window.series.items():
        index = np.searchsorted(rows.ts_ns, ticks, side="right") - 1
        fresh = (index >= 0) & (ticks - rows.ts_ns[np.maximum(index, 0)] <= 3 * step)
        found[role] = np.where(fresh, rows.value[np.maximum(index, 0)], np.nan)
    return ticks, found


def _gathered(
    cycles: Sequence[tuple[int, bool, dict[str, float]]], grids: Sequence[tuple[Ints, dict[str, Floats]]],
    faults: tuple[Fault, ...], until_s: float,
) -> Run:  # fmt: skip
    ordered = sorted(cycles, key=lambda one: one[0])
    names = tuple(dict.fromkeys(name for _, _, values in ordered for name in values))
    value = np.array([[values.get(name, np.nan) for name in names] for _, _, values in ordered], dtype=np.float64)
    roles = tuple(grids[0][1])
    return Run(
        names=names,
        end_ns=np.array([end for end, *_ in ordered], dtype=np.int64),
        value=value.reshape(len(ordered), len(names)),
        normal=np.array([normal for _, normal, _ in ordered], dtype=np.bool_),
        roles=roles,
        tick_ns=np.concatenate([ticks for ticks, _ in grids]),
        tag=np.stack([np.concatenate([columns[role] for _, columns in grids]) for role in roles], axis=1),
        faults=faults,
        seconds=until_s,
    )


if __name__ == "__main__":
    import sys

    wanted, days, times, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    began = time.process_time()
    done = run(PLANTS[wanted], days, times, seed, lambda share: print(f"{wanted} {share:.0%}", flush=True))
    print(
        f"{wanted}: {len(done.end_ns)} cycles, {len(done.names)} features, {len(done.tick_ns)} ticks, "
        f"{len(done.faults)} failures, {done.seconds / DAY_S:.1f} days, {time.process_time() - began:.0f} s CPU"
    )
