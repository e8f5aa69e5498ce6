"""KAMP injection: real injection-moulded parts, one row each; which of them failed.

Parts of each name are a context; rows in order of time, nobody sees a label. What learns learns from the first rows of
a part. Few parts failed: read differences of a few hundredths of AUC as noise.
"""

import csv
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from analytics.detector import Detector
from analytics.detectors.adaptive import Adaptive
from analytics.detectors.combined import Combined
from analytics.detectors.hotelling import Hotelling
from analytics.result import Floats
from analytics.table import Table
from tests.bench.detection.exact import exact_t2, fixed_limits, random_scores, rolling_top3, sigmas
from tests.bench.detection.ranking import ranked, whole
from tests.bench.detection.report import Report, Row

BURN_IN = 50
"""Rows of a part before any is scored."""
PAST = 400
"""Rows of a part that those methods learn from which learn."""
FEATURES_AFTER = "Reason"
"""The columns after this one are features."""
ADAPTIVE: Detector = Adaptive(kind="adaptive")
LEARNING: Mapping[str, Detector] = {"hotelling": Hotelling(kind="hotelling"), "combined": Combined(kind="combined")}


def measure(data: Path) -> list[Report]:
    """A report a file."""
    return [_report(file) for file in sorted((data / "kamp_injection").glob("labeled_data_*.csv"))]


def _report(file: Path) -> Report:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = sorted(csv.DictReader(lines), key=lambda row: row["TimeStamp"])
    head = list(rows[0])
    names = tuple(head[head.index(FEATURES_AFTER) + 1 :])
    parts = sorted({row["PART_NAME"] for row in rows})
    failed = np.array([row["PassOrFail"].strip() in {"1", "1.0", "N"} for row in rows])
    value = np.array([[float(row[name] or "nan") for name in names] for row in rows])
    group = np.array([parts.index(row["PART_NAME"]) for row in rows], dtype=np.int64)
    table = replace(Table.of(value, names), group=group, groups=tuple(parts))
    place = np.zeros(len(rows), dtype=np.int64)
    for number in range(len(parts)):
        place[group == number] = np.arange(int((group == number).sum()))
    began = time.process_time()
    told = {"adaptive": ADAPTIVE.examine(table).score[:, 0]}
    for name, detector in LEARNING.items():
        score = detector.examine(table, detector.learn(table.take(place < PAST))).score[:, 0]
        told[name] = np.where(place >= PAST, score, np.nan)
    seconds = time.process_time() - began
    told["rolling top-3 z"] = _each(table, lambda x: rolling_top3(x, 100))
    for name, build in {"3 sigma": sigmas, "fixed limits": fixed_limits, "exact T2": _t2}.items():
        score = _each(table, _learning(build))
        told[name] = np.where(place >= PAST, score, np.nan)
    told |= {"null": np.zeros(len(rows)), "random": random_scores(len(rows), 0.01), "always": np.full(len(rows), 2.0)}
    every, later = place >= BURN_IN, place >= PAST
    return Report(
        benchmark=f"KAMP injection {file.stem.removeprefix('labeled_data_')}",
        data=f"{len(rows)} parts, {int(failed.sum())} failed; {int(failed[every].sum())} after {BURN_IN} rows of each "
        f"part, {int(failed[later].sum())} after {PAST}",
        rows=[
            Row(name, {
                **ranked(failed[every], score[every]),
                **{f"later_{key}": figure for key, figure in ranked(failed[later], score[later]).items()},
            })
            for name, score in told.items()
        ],
        settings={"adaptive": ADAPTIVE.model_dump(mode="json")},
        notes=(
            f"auc, ap: rows after {BURN_IN} of each part; later_*: after {PAST}, from which what learns has learned.",
        ),
        seconds=seconds,
    )  # fmt: skip


def _each(table: Table, judge: Callable[[Floats], Floats]) -> Floats:
    score = np.full(len(table), np.nan)
    for number in range(len(table.groups)):
        rows = table.of_group(number)
        score[rows] = judge(whole(table.value[rows]))
    return score


def _learning(build: Callable[[Floats], Callable[[Floats], Floats]]) -> Callable[[Floats], Floats]:
    return lambda x: build(x[:PAST])(x)


def _t2(past: Floats) -> Callable[[Floats], Floats]:
    return exact_t2(past, 0.01)
