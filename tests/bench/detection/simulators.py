"""Every failure that our simulators can make, on weeks of an otherwise normal plant, with the detectors of the plant.

    python -m tests.bench.detection.simulators casting molding --days 30 --times 3 --seed 201

The detectors are the `[[detector]]` tables of the machine files in deploy/plant, as a plant would run them; alarms are
told as live: alarm settings, one ring for what comes together, nobody acknowledges. Made runs are kept in
build/detection, so that another setting costs seconds.
"""

import argparse
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from analytics.result import Floats
from analytics.signature import resembling
from analytics.watching import Watching, watchings
from analytics.window import SECOND_NS
from tests.bench.detection.plants import DAY_S, PLANTS, ROOT, Run, run
from tests.bench.detection.report import Report, Row
from tests.bench.detection.ringing import Told, always, by_chance, three_sigma, told
from tests.support.simulated import ORIGIN_NS

FILES: Final = {
    "casting": "dc1", "heat_treatment": "iq2", "vacuum": "more/vf1", "mesh_belt": "more/mb1", "melting": "more/mf1",
    "welding": "weld1", "spot_welding": "more/sp1", "surface_treatment": "ni1", "forging": "more/press1",
    "molding": "more/inj1",
}  # fmt: skip
"""Machine file of each plant, in deploy/plant."""
DAYS: Final = {"welding": 7.0, "spot_welding": 2.0, "forging": 0.5}
"""Normal days of machines so fast that thirty of them would take hours to simulate."""
CYCLE_S: Final = {
    "casting": 62.0, "heat_treatment": 15_000.0, "vacuum": 13_600.0, "mesh_belt": 3_000.0, "melting": 12_600.0,
    "welding": 20.0, "spot_welding": 4.0, "surface_treatment": 2_760.0, "forging": 2.0, "molding": 32.0,
}  # fmt: skip
"""How long a cycle takes, s: a failure may be told until two cycles after its end."""
RECOVERY_CYCLES: Final = 4.0
LEAST_RECOVERY_S: Final = 3600.0
"""So long after a failure an alarm is neither found nor false."""
TARGETS: Final = {"found": ">= 0.95", "false_per_day": "<= 1", "named": ">= 0.70"}


@dataclass(frozen=True, slots=True)
class Case:
    """A failure that was injected, and the first alarm of it."""

    failure: str
    delay_s: float
    cycles: float
    resembles: tuple[str, ...]

    @property
    def is_found(self) -> bool:
        """Whether an alarm told of it."""
        return bool(np.isfinite(self.delay_s))


@dataclass(frozen=True, slots=True)
class Score:
    """How a method did on one machine.

    Attributes:
        cases: every failure.
        false: alarms outside of failures and of the recovery after them.
        days: such days.
        alarms: all that were told.
    """

    cases: tuple[Case, ...]
    false: int
    days: float
    alarms: int

    def figures(self) -> dict[str, float]:
        """As a row of the report shows them."""
        found = [one for one in self.cases if one.is_found]
        return {
            "found": _share(len(found), len(self.cases)),
            "false_per_day": self.false / self.days,
            "named": _share(sum(one.failure in one.resembles[:1] for one in found), len(found)),
            "named_in_two": _share(sum(one.failure in one.resembles[:2] for one in found), len(found)),
            "delay_s": float(np.median([one.delay_s for one in found])) if found else float("nan"),
            "delay_cycles": float(np.median([one.cycles for one in found])) if found else float("nan"),
            "days": self.days,
            "alarms": float(self.alarms),
        }


@lru_cache(maxsize=16)
def detectors(name: str) -> tuple[Watching, ...]:
    """Those of the machine file of a plant."""
    file = ROOT / "deploy" / "plant" / f"{FILES[name]}.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))["detector"]
    return watchings(tables, [PLANTS[name].process.kind], file.name)


def score(name: str, made: Run, alarms: Sequence[Told]) -> Score:
    """Alarms against what was wrong."""
    kind, cycle_s = PLANTS[name].process.kind, CYCLE_S[name]
    recovery_s = max(RECOVERY_CYCLES * cycle_s, LEAST_RECOVERY_S)
    when_s = (np.array([one.ts_ns for one in alarms], dtype=np.int64) - ORIGIN_NS) / SECOND_NS
    ends_s = (made.end_ns - ORIGIN_NS) / SECOND_NS
    quiet = np.ones(len(alarms), dtype=np.bool_)
    cases, busy_s = [], 0.0
    for fault in made.faults:
        quiet &= ~((when_s >= fault.start_s) & (when_s < fault.end_s + recovery_s))
        busy_s += fault.end_s + recovery_s - fault.start_s
        inside = np.flatnonzero((when_s >= fault.start_s) & (when_s <= fault.end_s + 2 * cycle_s))
        cases.append(_case(fault.type, fault.start_s, ends_s, alarms[inside[0]] if len(inside) else None, kind))
    return Score(tuple(cases), int(quiet.sum()), (made.seconds - busy_s) / DAY_S, len(alarms))


def _case(failure: str, start_s: float, ends_s: Floats, first: Told | None, kind: str) -> Case:
    if first is None:
        return Case(failure, float("nan"), float("nan"), ())
    at_s = (first.ts_ns - ORIGIN_NS) / SECOND_NS
    cycles = int(np.searchsorted(ends_s, at_s, side="right") - np.searchsorted(ends_s, start_s))
    names = tuple(one["failure"] for one in resembling(kind, first.moves(), first.facts))
    return Case(failure, at_s - start_s, float(cycles), names)


def measured(name: str, days: float, times: int, seed: int) -> Report:
    """One machine: ours, 3 sigma on every feature, null, random, always."""
    made = run(PLANTS[name], days, times, seed)
    ours = told(made, detectors(name))
    scores = {
        "ours": score(name, made, ours),
        "3 sigma on every feature": score(name, made, three_sigma(made, days)),
        "null": score(name, made, []),
        "random": score(name, made, by_chance(made, len(ours), seed)),
        "always": score(name, made, always(made)),
    }
    return Report(
        benchmark=f"simulated {name}",
        data=f"{days:g} normal days, {len(made.faults)} failures, seed {seed}",
        rows=[Row(method, one.figures()) for method, one in scores.items()],
        targets=TARGETS,
        settings={"detectors": [one.name for one in detectors(name)]},
        notes=[
            f"a failure is found by an alarm from its start to {2 * CYCLE_S[name]:g} s (two cycles) after its end",
            *(_line(failure, scores["ours"].cases) for failure in sorted({one.type for one in made.faults})),
        ],
    )


def _line(failure: str, cases: Sequence[Case]) -> str:
    """One failure: found, delay, named."""
    own = [one for one in cases if one.failure == failure]
    found = [one for one in own if one.is_found]
    seconds, cycles = ([getattr(one, name) for one in found] for name in ("delay_s", "cycles"))
    delay = f"median {np.median(seconds):,.0f} s, {np.median(cycles):g} cycles" if found else "never"
    named = sum(failure in one.resembles[:1] for one in found)
    others = sorted({one.resembles[0] if one.resembles else "nothing" for one in found} - {failure})
    said = f" (else {', '.join(others)})" if others else ""
    return f"{failure}: {len(found)} of {len(own)}, {delay}, named {named}{said}"


def overall(reports: Sequence[Report]) -> Report:
    """All machines: means over the machines."""
    methods = [row.method for row in reports[0].rows]
    rows = []
    for method in methods:
        figures = [next(row.figures for row in one.rows if row.method == method) for one in reports]
        names = ("found", "false_per_day", "named", "named_in_two")
        rows.append(Row(method, {name: _mean([one[name] for one in figures]) for name in names}))
    return Report(
        benchmark="simulated plant",
        data=f"{len(reports)} machines",
        rows=rows,
        targets=TARGETS,
        notes=["means over the machines; a failure counts as found, false, named as each machine's report says"],
    )


def _mean(values: Sequence[float]) -> float:
    known = [one for one in values if np.isfinite(one)]
    return float(np.mean(known)) if known else float("nan")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def measure(data: Path, names: Sequence[str] = (), days: float = 30.0, times: int = 3, seed: int = 201) -> list[Report]:
    """Every machine, or those named; nothing is read from the folder of the data sets."""
    del data
    reports = [measured(name, min(days, DAYS.get(name, days)), times, seed) for name in names or PLANTS]
    return [*reports, overall(reports)] if len(reports) > 1 else reports


if __name__ == "__main__":
    from rich.console import Console

    from tests.bench.detection.run import show

    parser = argparse.ArgumentParser(prog="python -m tests.bench.detection.simulators", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PLANTS))
    parser.add_argument("--days", type=float, default=30.0, help="normal days before the failures")
    parser.add_argument("--times", type=int, default=3, help="how often each failure")
    parser.add_argument("--seed", type=int, default=201)
    asked = parser.parse_args()
    for one in measure(Path(), asked.names, asked.days, asked.times, asked.seed):
        show(Console(width=170), one)
