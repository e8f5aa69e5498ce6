"""What is wrong with a signal itself: stuck, spiky, noisy, drifting, out of range, copied from its setpoint (6.6).

* Detectors return flags per sample of the `Samples` they were given; the statistics are `Result`.
* F-DQ-01, coverage and gaps, is `time_series.coverage`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from analytics.result import Bools, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, silent
from analytics.time_series import Samples

F_SCORE: Final = Formula("F-DQ-03", "1")
F_SLOPE: Final = Formula("F-DQ-05", "/s")
F_TREND: Final = Formula("F-DQ-05", "1")
F_FROZEN: Final = Formula("F-DQ-07", "1")

MAD_TO_SIGMA: Final = 1.4826


def stuck(
    samples: Samples,
    running: npt.ArrayLike,
    resolution: float,
    *,
    usual_run_s: float = 0.0,
    least_s: float = 600.0,
    least_samples: int = 20,
) -> Bools:
    """F-DQ-02: stuck, (n,) samples in a run unchanged for more than max(10 min, 20 samples) while not idle.

    Unchanged: each step within half a resolution. `running` is (n,) machine not idle; an idle sample and a gap end a
    run. `usual_run_s` is the 99.9 % longest run of the tag's history: a run must be longer than that as well.
    Unit: flag. Valid: resolution >= 0. Source: section 6.6.

    >>> t = np.arange(40) * 60.0
    >>> flat = stuck(Samples.of(t, np.where(t < 900, t, 900)), np.ones(40), 0.1)
    >>> int(flat.sum()), int(np.argmax(flat))
    (25, 15)
    """
    alive = np.atleast_1d(np.asarray(running, dtype=np.bool_))
    same = _unchanged(samples, resolution) & alive[1:] & alive[:-1]
    flags = np.zeros(samples.value.size, dtype=np.bool_)
    for begin, end in _spans(same):
        length_s = samples.time_s[end] - samples.time_s[begin]
        if length_s > max(least_s, usual_run_s) and end - begin + 1 > least_samples:
            flags[begin : end + 1] = True
    return flags


def unchanged_runs(samples: Samples, resolution: float) -> Floats:
    """F-DQ-02: lengths in s of all unchanged runs of a history; their 99.9 % quantile is `usual_run_s`.

    Unit: s. Valid: resolution >= 0. Source: section 6.6.

    >>> unchanged_runs(Samples.of([0, 1, 2, 3, 4], [5, 5, 5, 6, 6]), 0.1)
    array([2., 1.])
    """
    spans = _spans(_unchanged(samples, resolution))
    return np.array([samples.time_s[end] - samples.time_s[begin] for begin, end in spans], dtype=np.float64)


def spike_score(x: npt.ArrayLike, *, window: int = 7, resolution: float = 0.0, span: float = 0.0) -> Results:
    """F-DQ-03: spike score (Hampel), |x - median| over 1.4826 MAD of a window of 7; a spike is above 5.

    `x` is (n,). At the ends the window is the first or last seven samples. With MAD 0 the larger of resolution and
    0.1 % of span stands in; with neither, ZERO_DENOM. A NaN in a window is left out; a NaN sample is MISSING_INPUT.
    Unit: 1. Valid: n >= window. Source: section 6.6.

    >>> scores = spike_score([10, 10.1, 9.9, 10, 14, 10.1, 9.9])
    >>> f"{scores[4]:.2f}"
    '26.98 1'
    """
    (sample,) = given = columns(x)
    if sample.size < window:
        return judged(np.full(sample.shape, np.nan), F_SCORE, given, (Reason.MISSING_INPUT, True))
    rows = np.lib.stride_tricks.sliding_window_view(sample, window)
    row = np.clip(np.arange(sample.size) - window // 2, 0, len(rows) - 1)
    seen = np.asarray(np.isfinite(rows).any(axis=1), dtype=np.bool_)
    blind = (Reason.MISSING_INPUT, ~seen[row])
    with silent():
        filled = np.where(seen[:, None], rows, 0.0)
        median = np.nanmedian(filled, axis=1)
        mad = np.nanmedian(np.abs(filled - median[:, None]), axis=1)
        scale = MAD_TO_SIGMA * np.where(mad > 0, mad, max(resolution, 1e-3 * span))[row]
        score = np.abs(sample - median[row]) / scale
        return judged(score, F_SCORE, given, blind, (Reason.ZERO_DENOM, scale <= 0), evidence=Evidence(window))


def is_spike(scores: Results, *, limit: float = 5.0) -> Bools:
    """F-DQ-03: which samples are spikes; a sample without a score is none.

    Unit: flag. Valid: scores of `spike_score`. Source: section 6.6.

    >>> int(np.argmax(is_spike(spike_score([10, 10.1, 9.9, 10, 14, 10.1, 9.9]))))
    4
    """
    return np.greater(np.nan_to_num(scores.value, nan=0.0), limit)


def noise_burst(
    x: npt.ArrayLike, baseline: float, *, window: int = 20, factor: float = 3.0, least_windows: int = 5
) -> Bools:
    """F-DQ-04: noise burst, (n,) samples in at least five windows in a row with noisy first differences.

    Decided: windows follow each other without overlap; one is noisy when the sample deviation of its differences
    exceeds 3 times `baseline`. A window with a NaN is not noisy.
    Unit: flag. Valid: baseline > 0 (else nothing is flagged). Source: section 6.6.

    >>> x = np.concatenate([np.zeros(40), np.tile([0.0, 9.0], 60)])
    >>> flags = noise_burst(x, 0.5)
    >>> int(flags.sum()), int(np.argmax(flags))
    (120, 40)
    """
    (sample,) = columns(x)
    flags = np.zeros(sample.size, dtype=np.bool_)
    whole = sample.size // window
    blocks = sample[: whole * window].reshape(whole, window)
    with silent():
        noisy = np.std(np.diff(blocks, axis=1), axis=1, ddof=1) > factor * baseline
    for begin, end in _spans(np.asarray(noisy & (baseline > 0), dtype=np.bool_)):
        if end - begin >= least_windows:
            flags[begin * window : end * window] = True
    return flags


@dataclass(frozen=True, slots=True)
class Drift:
    """Robust slope per second, the probability of no trend, and whether that is below the limit."""

    slope: Result
    probability: Result
    drifting: bool


def drift(samples: Samples, *, limit: float = 0.01, most_samples: int = 2000) -> Drift:
    """F-DQ-05: drift, Theil-Sen slope and Mann-Kendall test (normal approximation, ties corrected).

    More than `most_samples` are thinned evenly: the work is quadratic. Fewer than 4 are MISSING_INPUT.
    Unit: /s (unit of the tag a second). Valid: n >= 4. Source: section 6.6.

    >>> found = drift(Samples.of(np.arange(20.0), np.arange(20) * 0.5))
    >>> f"{found.slope:.2f}", found.drifting
    ('0.50 /s', True)
    """
    every = -(-samples.time_s.size // most_samples) if samples.time_s.size else 1
    t, x = samples.time_s[::every], samples.value[::every]
    n = t.size
    later, earlier = np.tril_indices(n, -1)
    apart, rise = t[later] - t[earlier], x[later] - x[earlier]
    slope = np.median(rise[apart > 0] / apart[apart > 0]) if np.any(apart > 0) else np.nan
    few = (Reason.MISSING_INPUT, n < 4)
    still = (Reason.ZERO_DENOM, not np.any(apart > 0))
    given, evidence = (samples.time_s, samples.value), Evidence(n, samples.coverage)
    probability = judged(_mann_kendall(x, float(np.sum(np.sign(rise)))), F_TREND, given, few, evidence=evidence).one()
    return Drift(
        slope=judged(slope, F_SLOPE, given, few, still, evidence=evidence).one(),
        probability=probability,
        drifting=probability.value is not None and probability.value < limit,
    )


def _mann_kendall(x: Floats, score: float) -> float:
    n = x.size
    ties = np.unique(x, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - float(np.sum(ties * (ties - 1) * (2 * ties + 5)))) / 18
    if variance <= 0:
        return 1.0
    z = max(abs(score) - 1, 0.0) / np.sqrt(variance)
    return float(2 * special.ndtr(-z))


def out_of_range(samples: Samples, low: float, high: float, *, fastest_per_s: float = np.inf) -> Bools:
    """F-DQ-06: range and rate, (n,) samples outside [low, high] or reached faster than a process can move.

    The rate across a gap is not judged.
    Unit: flag. Valid: low < high. Source: section 6.6.

    >>> out_of_range(Samples.of([0, 1, 2], [20, 900, 21]), 0, 1200, fastest_per_s=50)
    array([False,  True,  True])
    """
    flags = np.asarray((samples.value < low) | (samples.value > high), dtype=np.bool_)
    with silent():
        rate = np.abs(np.diff(samples.value)) / samples.step_s
    flags[1:] |= (rate > fastest_per_s) & ~samples.is_gap
    return flags


def frozen_to_setpoint(measured: npt.ArrayLike, setpoint: npt.ArrayLike) -> Results:
    """F-DQ-07: part of the samples on the last axis that equal the setpoint exactly.

    Near 1 the scaling is wrong or the value a copy. Pairs with a NaN are left out.
    Unit: 1. Valid: at least one pair. Source: section 6.6.

    >>> f"{frozen_to_setpoint([850, 850, 850, 849.9], 850).one():.2f}"
    '0.75 1'
    """
    pv, sp = np.broadcast_arrays(*columns(measured, setpoint))
    both = np.isfinite(pv) & np.isfinite(sp)
    n = np.sum(both, axis=-1)
    with silent():
        share = np.sum((pv == sp) & both, axis=-1) / n
    return judged(share, F_FROZEN, (pv, sp), (Reason.MISSING_INPUT, n == 0), evidence=Evidence(n))


def _unchanged(samples: Samples, resolution: float) -> Bools:
    steps: Floats = np.abs(np.diff(samples.value))
    return np.less_equal(steps, resolution / 2) & ~samples.is_gap


def _spans(flags: Bools) -> list[tuple[int, int]]:
    """Begin and end of each run of set flags, as [begin, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]
