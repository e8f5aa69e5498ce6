"""SKAB (water loop, 8 variables, 1 s): outliers by F1, false and missed alarms; change points by its NAB score.

Rows 0-399 of each file train, the rest is the test. Scored as SKAB's own evaluation does: all files pooled, a change
of the prediction is a predicted change point, its window is 60 s around the true one. In the profile standard a hit is
worth 1 at the left edge of the window and -0.11 at its right, a change outside costs 0.11, a window without one 1.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analytics.alarm import AlarmSettings
from analytics.detector import Detector, Scores
from analytics.detectors.combined import Combined
from analytics.detectors.hotelling import Hotelling
from analytics.detectors.residual_q import ResidualQ
from analytics.findings import episodes
from analytics.result import Bools, Floats, Ints
from analytics.table import Table
from tests.bench.detection.exact import exact_q, exact_t2, fixed_limits, random_scores, sigmas
from tests.bench.detection.report import Report, Row

TRAIN = 400
WINDOW_NS = 60_000_000_000
TARGET_FOLDERS = ("valve1", "valve2")
PROFILES = {"standard": (1.0, -0.11, -1.0), "low_fp": (1.0, -0.22, -1.0), "low_fn": (1.0, -0.11, -2.0)}
"""What a hit, a false change and a missed window are worth."""
ALARM = AlarmSettings(on_delay_s=3.0, off_delay_s=5.0)
OURS: Mapping[str, Detector] = {
    "combined": Combined(kind="combined"),
    "hotelling": Hotelling(kind="hotelling"),
    "residual_q": ResidualQ(kind="residual_q"),
}
SETTINGS = {**{name: one.model_dump(mode="json") for name, one in OURS.items()}, "alarm": ALARM.model_dump()}
PEERS: Mapping[str, Callable[[Floats], Callable[[Floats], Floats]]] = {
    "exact T2": lambda past: exact_t2(past, 0.01),
    "exact Q": lambda past: exact_q(past, 0.01),
    "3 sigma": sigmas,
    "fixed limits": fixed_limits,
    "null": lambda _: lambda x: np.zeros(len(x)),
    "random": lambda _: lambda x: random_scores(len(x), 0.1),
    "always": lambda _: lambda x: np.full(len(x), 2.0),
}
AS_LONG = 700
"""Test rows of a file with anomalies, about."""


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """One file: rows and their labels."""

    name: str
    ts_ns: Ints
    value: Floats
    anomaly: Bools
    change: Bools

    @property
    def table(self) -> Table:
        """As a detector sees it."""
        return replace(Table.of(self.value, every_s=1.0), ts_ns=self.ts_ns)


def measure(data: Path) -> list[Report]:
    """A report of the target folders, one of each other folder with labels, and one of the files without anomalies."""
    found = [read(file) for file in sorted((data / "skab").glob("*/*.csv"))]
    labelled = [one for one in found if one is not None and one.anomaly.any()]
    folders = sorted({one.name.partition("/")[0] for one in labelled} - set(TARGET_FOLDERS))
    parts = [TARGET_FOLDERS, *((folder,) for folder in folders)]
    chosen = [[one for one in labelled if one.name.partition("/")[0] in part] for part in parts]
    quiet = [one for one in found if one is not None and not one.anomaly.any()]
    reports = [_report(part, some) for part, some in zip(parts, chosen, strict=True) if some]
    return [*reports, *([_quiet(quiet)] if quiet else [])]


def read(file: Path) -> Experiment | None:
    """One file; without labels nothing in it was wrong. None when it has no test rows."""
    with file.open(encoding="utf-8") as lines:
        head = next(lines).strip().split(";")
        rows = [line.strip().split(";") for line in lines if line.strip()]
    if len(rows) <= TRAIN:
        return None
    when = np.array([row[0].replace(" ", "T") for row in rows], dtype="datetime64[ns]").astype(np.int64)
    numbers = {name: np.array([float(row[place]) for row in rows]) for place, name in enumerate(head) if place}
    change = numbers.pop("changepoint", np.zeros(len(rows))) > 0
    anomaly = numbers.pop("anomaly", np.zeros(len(rows))) > 0
    return Experiment(
        f"{file.parent.name}/{file.name}", when, np.stack(list(numbers.values()), axis=1), anomaly, change
    )


def _rung(files: Sequence[Experiment]) -> tuple[dict[str, list[Bools]], float]:
    """Which rows of each file ring, by method, and the CPU seconds of ours."""
    began = time.process_time()
    scores = {name: [_scores(one, file) for file in files] for name, one in OURS.items()}
    rung = {"combined, alarm": [_alarms(*one) for one in zip(files, scores["combined"], strict=True)]}
    seconds = time.process_time() - began
    rung |= {name: [one.score[:, 0] > 1 for one in told] for name, told in scores.items()}
    for name, build in PEERS.items():
        rung[name] = [build(file.value[:TRAIN])(file.value) > 1 for file in files]
    return rung, seconds


def _quiet(files: Sequence[Experiment]) -> Report:
    rung, seconds = _rung(files)
    rows = []
    for name, told in rung.items():
        early = np.concatenate([one[TRAIN : TRAIN + AS_LONG] for one in told])
        late = np.concatenate([one[TRAIN + AS_LONG :] for one in told])
        rows.append(Row(name, {"false_alarms": float(np.mean(early)), "later": float(np.mean(late))}))
    return Report(
        benchmark="SKAB without anomalies",
        data=f"{len(files)} files, {sum(len(one.ts_ns) - TRAIN for one in files)} test rows",
        rows=rows,
        settings=SETTINGS,
        notes=(
            f"false_alarms: share of the {AS_LONG} rows after the training rows; later: of the rest.",
            "The loop wanders for hours: a baseline of seven minutes does not hold for long, whatever reads it.",
        ),
        seconds=seconds,
    )


def _report(folders: Sequence[str], files: Sequence[Experiment]) -> Report:
    rung, seconds = _rung(files)
    return Report(
        benchmark=f"SKAB {' + '.join(folders)}",
        data=f"{len(files)} files, {sum(len(one.ts_ns) - TRAIN for one in files)} test rows",
        rows=[Row(name, _figures(files, told)) for name, told in rung.items()],
        targets={"f1": ">= .78", "false_alarms": "<= .20", "nab_standard": ">= 26"} if len(folders) > 1 else {},
        settings=SETTINGS,
        notes=(
            "f1_low, f1_high: the range when each file is left out in turn; f1_worst, f1_best: of single files.",
            "nab_after: the same score with the window after the change point instead of around it.",
            "The first alarm state counts as no change; a row beyond its limit counts as it is, nothing is adjusted.",
        ),
        seconds=seconds,
    )


def _scores(detector: Detector, file: Experiment) -> Scores:
    learned = detector.learn(file.table.take(slice(0, TRAIN))) if detector.learns else None
    return detector.examine(file.table, learned)


def _alarms(file: Experiment, scores: Scores) -> Bools:
    """(n,) whether an alarm stands."""
    stands = np.zeros(len(file.ts_ns), dtype=np.bool_)
    for one in episodes(file.table, scores, ALARM):
        end = len(stands) if one.cleared_ns is None else int(np.searchsorted(file.ts_ns, one.cleared_ns))
        stands[one.row : end] = True
    return stands


def _figures(files: Sequence[Experiment], rung: Sequence[Bools]) -> Mapping[str, float]:
    counts = np.array([_counts(file.anomaly[TRAIN:], told[TRAIN:]) for file, told in zip(files, rung, strict=True)])
    true, false, missed, quiet = counts.sum(axis=0)
    without = [_f1(counts.sum(axis=0) - one) for one in counts]
    alone = [_f1(one) for one in counts]
    return {
        "f1": _f1(counts.sum(axis=0)),
        "false_alarms": float(false / max(false + quiet, 1)),
        "missed_alarms": float(missed / max(true + missed, 1)),
        **{f"nab_{name}": _nab(files, rung, name, centred=True) for name in PROFILES},
        "nab_after": _nab(files, rung, "standard", centred=False),
        "f1_low": min(without), "f1_high": max(without), "f1_worst": min(alone), "f1_best": max(alone),
    }  # fmt: skip


def _counts(truth: Bools, told: Bools) -> list[int]:
    pairs = [(truth, told), (~truth, told), (truth, ~told), (~truth, ~told)]
    return [int((one & other).sum()) for one, other in pairs]


def _f1(counts: Sequence[int] | Ints) -> float:
    true, false, missed, _ = counts
    return float(true / max(true + (false + missed) / 2, 1e-12))


def _nab(files: Sequence[Experiment], rung: Sequence[Bools], profile: str, *, centred: bool) -> float:
    """0 is a detector that says nothing, 100 a perfect one."""
    _, _, fn = PROFILES[profile]
    total, perfect = 0.0, 0
    for file, told in zip(files, rung, strict=True):
        when = file.ts_ns[TRAIN:]
        changes = when[np.diff(told[TRAIN:].astype(np.int8), prepend=0) != 0]
        truth = when[file.change[TRAIN:]]
        total += _nab_of(changes, truth - (WINDOW_NS // 2 if centred else 0), profile)
        perfect += len(truth)
    return 100 * (total - fn * perfect) / max(perfect * (1 - fn), 1e-12)


def _nab_of(changes: Ints, starts: Ints, profile: str) -> float:
    tp, fp, fn = PROFILES[profile]
    ends = starts + WINDOW_NS
    starts = np.maximum(starts, np.concatenate([starts[:1], ends[:-1]]))
    inside = np.zeros(len(changes), dtype=np.bool_)
    total = 0.0
    for start, end in zip(starts, ends, strict=True):
        here = (changes >= start) & (changes <= end)
        inside |= here
        if here.any():
            x = np.pi * (float(changes[here][0] - start) / max(float(end - start), 1.0) - 0.5)
            total += fp + (tp - fp) / 2 * (1 - np.tanh(x) / np.tanh(np.pi / 2))
        else:
            total += fn
    return total + fp * float((~inside).sum())
