"""Numenta Anomaly Benchmark: its own scoring, all three profiles, every file, one setting for all.

Rules of the benchmark (Lavin and Ahmad, 2015; scoring version 1.1): the first 15 % of a file, at most 750 rows, are
not scored; the earliest alarm in a labelled window earns up to 1, none costs the weight of a miss, each alarm outside
costs up to the weight of a false one, less right behind a window; 0 is a detector that never rings, 100 a perfect one.
One threshold for all files is chosen to score best, a profile at a time: that is `score`. `score at 1` is what the
frozen limit of the detector, 1, gives.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import signal

from analytics.detectors.general import General
from analytics.result import Floats, Ints
from analytics.table import Table, Variable
from tests.bench.detection.report import Report, Row

OURS = General(kind="general")
SPLITS = 20
SEED = 20261122


@dataclass(frozen=True, slots=True)
class Profile:
    """What hits, misses and false alarms weigh."""

    name: str
    hit: float
    false: float
    miss: float


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One file: name, rows, and its labelled windows as first and last row."""

    name: str
    table: Table
    windows: Sequence[tuple[int, int]]

    @property
    def category(self) -> str:
        return self.name.split("/", maxsplit=1)[0]

    @property
    def probation(self) -> int:
        """Rows at the start that are not scored."""
        return math.floor(min(0.15 * len(self.table), 750))


def read(folder: Path) -> list[Recording]:
    """Every labelled file that lies in the folder `nab`."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    return [_recording(folder, name, limits) for name, limits in sorted(labels.items()) if _file(folder, name).exists()]


def _file(folder: Path, name: str) -> Path:
    return folder / "data" / name


def _recording(folder: Path, name: str, limits: Sequence[tuple[str, str]]) -> Recording:
    with _file(folder, name).open() as lines:
        rows = list(csv.DictReader(lines))
    stamps = [_seconds(row["timestamp"]) for row in rows]
    every_s = float(np.median(np.diff(stamps)))
    table = Table(
        ts_ns=np.maximum.accumulate(np.array(stamps, dtype=np.int64)) * 1_000_000_000,
        variables=(Variable(name),),
        value=np.array([[float(row["value"])] for row in rows]),
        group=np.zeros(len(rows), dtype=np.int64),
        normal=np.ones(len(rows), dtype=np.bool_),
        every_s=every_s,
    )
    return Recording(name, table, [(stamps.index(_seconds(a)), stamps.index(_seconds(b))) for a, b in limits])


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def read_profiles(folder: Path) -> list[Profile]:
    found = json.loads((folder / "config" / "profiles.json").read_text())
    each = [(name, one["CostMatrix"]) for name, one in found.items()]
    return [Profile(name, cost["tpWeight"], cost["fpWeight"], cost["fnWeight"]) for name, cost in each]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The scored rows of some files: (n,) scores, worth of an alarm before weights, number of the window or -1."""

    score: Floats
    worth: Floats
    window: Ints
    windows: int


def sigmoid(position: Floats) -> Floats:
    """Worth of an alarm at a place beside a window: -1 its first row, 0 its last, 1 a width behind it."""
    near = np.minimum(position, 3.0)
    return np.where(position >= 3.0, -1.0, 2 / (1 + np.exp(5 * near)) - 1)


def worth_of(recording: Recording) -> tuple[Floats, Ints]:
    """(n,) worth of an alarm at each row, and the window that it lies in, -1 outside."""
    n = len(recording.table)
    index = np.arange(n, dtype=np.float64)
    worth, window = np.full(n, -1.0), np.full(n, -1, dtype=np.int64)
    for number, (first, last) in enumerate(recording.windows):
        width = last - first + 1
        worth[last + 1 :] = sigmoid((index[last + 1 :] - last) / (width - 1))
        inside = slice(first, last + 1)
        worth[inside] = sigmoid((index[inside] - last - 1) / width) / sigmoid(np.array(-1.0))
        window[inside] = number
    return worth, window


def judged(recordings: Sequence[Recording], scores: Mapping[str, Floats]) -> Judged:
    """The rows of all files behind their probation; a row without an opinion never rings."""
    parts: list[tuple[Floats, Floats, Ints]] = []
    windows = 0
    for one in recordings:
        worth, window = worth_of(one)
        kept = slice(one.probation, None)
        known = np.nan_to_num(scores[one.name], nan=-np.inf)
        parts.append((known[kept], worth[kept], np.where(window >= 0, window + windows, -1)[kept]))
        windows += len(one.windows)
    score, worth, window = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return Judged(score, worth, window.astype(np.int64), windows)


def curve(rows: Judged, profile: Profile) -> tuple[Floats, Floats]:
    """Thresholds, falling from infinity, and the benchmark's score at each; one a distinct score."""
    order = np.argsort(-rows.score, kind="stable")
    score, worth, window = rows.score[order], rows.worth[order], rows.window[order]
    gain = np.where(window < 0, worth * profile.false, 0.0)
    best = np.full(rows.windows, -profile.miss)
    for row in np.flatnonzero(window >= 0):
        value = worth[row] * profile.hit
        gain[row] = max(value - best[window[row]], 0.0)
        best[window[row]] = max(best[window[row]], value)
    ends = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)
    thresholds = np.concatenate([[np.inf], score[ends]])
    total = np.concatenate([[0.0], np.cumsum(gain)[ends]])
    rings = np.isfinite(thresholds) | (thresholds > 0)
    span = rows.windows * (profile.hit + profile.miss)
    return thresholds[rings], 100 * total[rings] / span if span else total[rings] * np.nan


def best_of(rows: Judged, profile: Profile) -> tuple[float, float]:
    """The best score and its threshold."""
    thresholds, scores = curve(rows, profile)
    at = int(np.argmax(scores))
    return float(scores[at]), float(thresholds[at])


def score_at(rows: Judged, profile: Profile, threshold: float) -> float:
    """The score when all rows at or above a threshold ring."""
    thresholds, scores = curve(rows, profile)
    return float(scores[np.sum(thresholds >= threshold) - 1])


def figures(rows: Judged, profile: Profile) -> dict[str, float]:
    score, threshold = best_of(rows, profile)
    rung = rows.score >= 1
    return {
        "score": score,
        "threshold": threshold,
        "score at 1": score_at(rows, profile, 1.0),
        "windows found at 1": float(len(np.unique(rows.window[rung & (rows.window >= 0)]))),
        "windows": float(rows.windows),
        "rows outside that ring at 1": float(np.sum(rung & (rows.window < 0))),
    }


def rolling_mad(x: Floats, rows: int = 200) -> Floats:
    """Distance from the median of the rows before, over 3 of their robust sigmas."""
    window = np.lib.stride_tricks.sliding_window_view(np.concatenate([np.full(rows, np.nan), x]), rows)[: len(x)]
    score = np.full(x.shape, np.nan)
    median = np.median(window[rows:], axis=1)
    sigma = 1.4826 * np.median(np.abs(window[rows:] - median[:, None]), axis=1)
    least = 1e-3 * np.ptp(window[rows:], axis=1) + 1e-9
    score[rows:] = np.abs(x[rows:] - median) / np.maximum(3 * sigma, least)
    return score


def ewma_deviation(x: Floats, weight: float = 0.05) -> Floats:
    """Distance from the EWMA of the rows before, over 3 of the EWMA deviations."""
    level = signal.lfilter([weight], [1, weight - 1], x, zi=[(1 - weight) * x[0]])[0]
    apart = x - np.append(x[0], level[:-1])
    spread: Floats = np.sqrt(signal.lfilter([weight], [1, weight - 1], apart**2))
    return np.asarray(np.abs(apart) / np.maximum(3 * np.append(np.inf, spread[:-1]), 1e-9))


Method = Callable[[Recording], Floats]


def others() -> dict[str, Method]:
    """What a user would pick instead, and what any method must beat."""
    generator = np.random.default_rng(SEED)
    return {
        "rolling median and MAD": lambda one: rolling_mad(one.table.value[:, 0]),
        "EWMA and its deviation": lambda one: ewma_deviation(one.table.value[:, 0]),
        "null": lambda one: np.zeros(len(one.table)),
        "random": lambda one: 2 * generator.random(len(one.table)),
        "always": lambda one: np.full(len(one.table), 2.0),
    }


def held_out(recordings: Sequence[Recording], scores: Mapping[str, Floats], profile: Profile) -> list[Row]:
    """What a threshold chosen on some files gives on the others, beside the frozen 1."""

    def row(name: str, pairs: Sequence[tuple[Sequence[Recording], Sequence[Recording]]]) -> Row:
        chosen, frozen = [], []
        for known, unseen in pairs:
            rows = judged(unseen, scores)
            if rows.windows and known:
                chosen.append(score_at(rows, profile, best_of(judged(known, scores), profile)[1]))
                frozen.append(score_at(rows, profile, 1.0))
        found = {"mean": np.mean(chosen), "lowest": np.min(chosen), "highest": np.max(chosen)}
        found |= {"frozen 1, mean": np.mean(frozen), "frozen 1, lowest": np.min(frozen)}
        found |= {"frozen 1, deviation": np.std(frozen)}
        return Row(name, {key: float(value) for key, value in found.items()})

    generator = np.random.default_rng(SEED)
    halves: list[tuple[Sequence[Recording], Sequence[Recording]]] = []
    for _ in range(SPLITS):
        order = generator.permutation(len(recordings))
        half = [[recordings[i] for i in part] for part in np.array_split(order, 2)]
        halves += [(half[0], half[1]), (half[1], half[0])]
    kinds = sorted({one.category for one in recordings})
    left = [([r for r in recordings if r.category != k], [r for r in recordings if r.category == k]) for k in kinds]
    return [row(f"{2 * SPLITS} halves, each judged by the other", halves), row("each category by all others", left)]


def measure(data: Path) -> list[Report]:
    """Three profiles, and what holds on files that the threshold was not chosen on."""
    folder = data / "nab"
    recordings = read(folder)
    profiles = read_profiles(folder)
    began = time.process_time()
    scores = {one.name: OURS.examine(one.table).score[:, 0] for one in recordings}
    seconds = time.process_time() - began
    every = {"general": scores}
    every |= {name: {one.name: method(one) for one in recordings} for name, method in others().items()}
    what = f"{len(recordings)} files, {sum(len(one.table) for one in recordings):,} rows"
    reports = [
        Report(
            benchmark=f"NAB {profile.name}",
            data=what,
            rows=[Row(name, figures(judged(recordings, found), profile)) for name, found in every.items()],
            targets={"score": ">= 60"} if profile.name == "standard" else {},
            settings=OURS.model_dump(),
            notes=("score: best threshold of the corpus, as the benchmark has it; score at 1: the frozen limit",),
            seconds=seconds,
        )
        for profile in profiles
    ]
    held = Report(
        benchmark="NAB standard, held out",
        data=what,
        rows=held_out(recordings, scores, profiles[0]),
        settings=OURS.model_dump(),
        notes=("thresholds from other files than those scored",),
    )
    return [*reports, held]
