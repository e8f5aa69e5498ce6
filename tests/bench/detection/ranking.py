"""How well scores rank labelled rows, and how labelled rows are rung: plain NumPy, ties counted fairly."""

from collections.abc import Mapping

import numpy as np

from analytics.result import Bools, Floats


def auc(label: Bools, score: Floats) -> float:
    """Chance that a bad row scores above a good one; ties are half. NaN without rows of both kinds.

    >>> auc(np.array([False, False, True]), np.array([0.1, 0.5, 0.5]))
    0.75
    """
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    bad, good = int(label.sum()), int((~label).sum())
    if not bad or not good:
        return float("nan")
    return float((ranks[label].sum() - bad * (bad + 1) / 2) / (bad * good))


def average_precision(label: Bools, score: Floats) -> float:
    """Mean precision over the recalls, a step a distinct score. NaN without bad rows.

    >>> average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    0.8333333333333333
    """
    if not label.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(label[order])
    last = np.append(np.diff(score[order]) != 0, [True])
    precision = hits[last] / (np.flatnonzero(last) + 1)
    return float(np.sum(np.diff(hits[last] / label.sum(), prepend=0.0) * precision))


def ranked(label: Bools, score: Floats, rung: Bools | None = None) -> Mapping[str, float]:
    """AUC and average precision, and false and missed alarms of the rows that ring; no opinion ranks last.

    Args:
        label: (n,) whether a row is bad.
        score: (n,), NaN where there is no opinion.
        rung: (n,) which rows ring; without it those of a score above 1.
    """
    told = np.where(np.isfinite(score), score, np.min(score, where=np.isfinite(score), initial=0.0) - 1)
    alarm = told > 1 if rung is None else rung
    return {
        "auc": auc(label, told),
        "ap": average_precision(label, told),
        "false_alarms": float(np.mean(alarm[~label])) if (~label).any() else float("nan"),
        "missed": float(np.mean(~alarm[label])) if label.any() else float("nan"),
    }


def whole(x: Floats) -> Floats:
    """(n, k) without NaN, for methods that need it: the last number of the column, at the start its first.

    >>> whole(np.array([[np.nan], [1.0], [np.nan]]))[:, 0].tolist()
    [1.0, 1.0, 1.0]
    """
    row = np.arange(len(x))[:, None]
    last = np.maximum.accumulate(np.where(np.isfinite(x), row, 0), axis=0)
    filled = np.take_along_axis(x, last, axis=0)
    first = np.take_along_axis(x, np.argmax(np.isfinite(x), axis=0)[None], axis=0)
    return np.nan_to_num(np.where(np.isfinite(filled), filled, first))
