"""Shapes of cycles: golden envelope, dynamic time warping, matrix profile (section 6.6).

* A profile is resampled to a fixed grid of a phase (normalised time, position or crank angle) before it is compared.
* The duration of a phase is a feature of its own; warping hides timing faults, so it is never the only score.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import Bools, Evidence, Floats, Formula, Reason, Result, Results, columns, judged, silent

F_SCORE: Final = Formula("F-PRF-01", "1")
F_DTW: Final = Formula("F-PRF-02", "1")
F_DISTANCE: Final = Formula("F-PRF-03", "1")


def resample(grid: npt.ArrayLike, value: npt.ArrayLike, points: npt.ArrayLike) -> Floats:
    """(k,) values at `points` by linear interpolation over a rising `grid` (n,); NaN outside of it.

    >>> resample([0, 10], [0, 100], [2.5, 5, 11])
    array([25., 50., nan])
    """
    x, y, at = columns(grid, value, points)
    good = np.isfinite(x) & np.isfinite(y)
    if np.sum(good) < 2:
        return np.full(at.shape, np.nan)
    return np.interp(at, x[good], y[good], left=np.nan, right=np.nan)


def normalise_phase(value: npt.ArrayLike, points: int = 200) -> Floats:
    """(points,) the samples of one phase over its normalised time 0..1.

    >>> normalise_phase([0.0, 1.0, 2.0], 5)
    array([0. , 0.5, 1. , 1.5, 2. ])
    """
    (y,) = columns(value)
    return resample(np.linspace(0, 1, y.size), y, np.linspace(0, 1, points))


@dataclass(frozen=True, slots=True)
class Envelope:
    """A golden profile: (points,) mean, standard deviation and half width of the band, and the cycles it is of."""

    mean: Floats
    deviation: Floats
    half_width: Floats
    cycles: int


def golden_envelope(cycles: npt.ArrayLike, *, k_sigma: float = 4.0, floor: float = 0.0, least: int = 30) -> Envelope:
    """F-PRF-01: golden envelope, mean and band max(k sigma, floor) of (cycles, points) accepted profiles.

    A NaN point is left out of its column. Learn again for each recipe, die and lot type.
    Unit: that of the profile. Valid: at least 30 cycles (else ValueError). Source: section 6.6.

    >>> golden_envelope(np.tile([1.0, 2.0], (30, 1)), floor=0.5).half_width
    array([0.5, 0.5])
    """
    (table,) = columns(cycles)
    if table.ndim != 2 or table.shape[0] < least:
        raise ValueError(f"a golden profile needs {least} accepted cycles, got {table.shape}")
    seen = np.sum(np.isfinite(table), axis=0)
    with silent():  # a point that no cycle has is NaN, and so is its band
        mean = np.nansum(table, axis=0) / seen
        deviation = np.sqrt(np.nansum((table - mean) ** 2, axis=0) / np.where(seen > 1, seen - 1, np.nan))
    return Envelope(mean, deviation, np.maximum(k_sigma * deviation, floor), table.shape[0])


@dataclass(frozen=True, slots=True)
class ProfileScore:
    """How far profiles are from the envelope: in half widths, one a profile; `outside` is the fraction of points."""

    rms: Results
    largest: Results
    outside: Results


def profile_score(profiles: npt.ArrayLike, envelope: Envelope) -> ProfileScore:
    """F-PRF-01: score of profiles (..., points) against an envelope, RMS and largest deviation in half widths.

    Decided: s is the half width of the band, so 1 is the edge. A NaN in a profile is MISSING_INPUT; a band of no width
    is ZERO_DENOM.
    Unit: 1. Valid: half width > 0. Source: section 6.6.

    >>> band = golden_envelope(np.tile([1.0, 2.0], (30, 1)), floor=0.5)
    >>> score = profile_score([1.0, 3.0], band)
    >>> f"{score.rms.one():.4f} {score.largest.one():.1f} {score.outside.one():.1f}"
    '1.4142 1 2.0 1 0.5 1'
    """
    (y,) = columns(profiles)
    given = (y, np.broadcast_to(envelope.mean, y.shape), np.broadcast_to(envelope.half_width, y.shape))
    with silent():
        z = np.abs(y - envelope.mean) / envelope.half_width
        flat = (Reason.ZERO_DENOM, np.any(envelope.half_width <= 0))
        missing = (Reason.MISSING_INPUT, ~np.isfinite(y).all(axis=-1))
        evidence = Evidence(y.shape[-1])
        rms = judged(np.sqrt(np.mean(z * z, axis=-1)), F_SCORE, given, missing, flat, evidence=evidence)
        largest = judged(np.max(z, axis=-1), F_SCORE, given, missing, flat, evidence=evidence)
        beyond = judged(np.mean(z > 1, axis=-1), F_SCORE, given, missing, flat, evidence=evidence)
        return ProfileScore(rms, largest, beyond)


def warping_distance(first: npt.ArrayLike, second: npt.ArrayLike, *, band: int | None = None) -> Result:
    """F-PRF-02: dynamic time warping distance, cost |a - b|, steps (1,0) (0,1) (1,1), sum not normalised.

    `band` is the Sakoe-Chiba radius in samples; lengths that differ by more are NOT_REACHED. NaN is MISSING_INPUT.
    Unit: 1. Valid: non-empty profiles, in the unit of the profile. Source: section 6.6.

    >>> f"{warping_distance([0, 1, 2, 3, 2, 0], [0, 0, 1, 3, 3, 1, 0]):.1f}"
    '2.0 1'
    """
    a, b = given = columns(first, second)
    radius = max(a.size, b.size) if band is None else band
    bad = (Reason.MISSING_INPUT, min(a.size, b.size) == 0 or not (np.isfinite(a).all() and np.isfinite(b).all()))
    value = np.nan if bad[1] else _warp(a, b, radius)
    far = (Reason.NOT_REACHED, not np.isfinite(value))
    hashed = (*given, np.array([float(radius)]))
    return judged(value, F_DTW, hashed, bad, far, evidence=Evidence(a.size + b.size)).one()


def _warp(a: Floats, b: Floats, radius: int) -> float:
    """Row by row; a row's horizontal steps are a running sum, so each is a prefix minimum: no loop over columns."""
    column = np.arange(b.size)
    row = np.full(b.size, np.inf)
    for i, sample in enumerate(a):
        allowed = np.abs(column - i) <= radius
        cost = np.where(allowed, np.abs(b - sample), np.inf)
        diagonal = np.concatenate([[0.0 if i == 0 else np.inf], row[:-1]])
        enter = np.where(allowed, np.minimum(row, diagonal), np.inf)
        run = np.cumsum(np.where(allowed, cost, 0.0))
        before = run - np.where(allowed, cost, 0.0)
        row = np.where(allowed, run + np.minimum.accumulate(enter - before), np.inf)
    return float(row[-1])


def shape_distance(first: npt.ArrayLike, second: npt.ArrayLike, *, least_deviation: float = 1e-9) -> Results:
    """F-PRF-03: z-normalised distance of shapes on the last axis, sqrt(2 m (1 - rho)); 0 is the same shape.

    A flat shape has none: ZERO_DENOM. A NaN is MISSING_INPUT.
    Unit: 1. Valid: standard deviations above `least_deviation`. Source: section 6.6.

    >>> f"{shape_distance([1, 2, 3, 4], [10, 20, 30, 45]).one():.6f}"
    '0.212100 1'
    """
    a, b = given = columns(first, second)
    m = a.shape[-1]
    if m == 0:
        return judged(np.full(a.shape[:-1], np.nan), F_DISTANCE, given, (Reason.MISSING_INPUT, True))
    with silent():
        centred_a, centred_b = (x - np.mean(x, axis=-1, keepdims=True) for x in given)
        deviation_a, deviation_b = np.std(a, axis=-1), np.std(b, axis=-1)
        rho = np.mean(centred_a * centred_b, axis=-1) / (deviation_a * deviation_b)
        value = np.sqrt(2 * m * np.clip(1 - rho, 0, 2))
        missing = (Reason.MISSING_INPUT, ~(np.isfinite(deviation_a) & np.isfinite(deviation_b)))
        flat = (Reason.ZERO_DENOM, (deviation_a <= least_deviation) | (deviation_b <= least_deviation))
        return judged(value, F_DISTANCE, given, missing, flat, evidence=Evidence(m))


def matrix_profile(series: npt.ArrayLike, m: int, *, least_deviation: float = 1e-9) -> Floats:
    """F-PRF-03: matrix profile, distance of each window of m samples to its nearest other window.

    (n - m + 1,) float64; neighbours within m / 4 are excluded, flat windows and windows with a NaN are NaN.
    Unit: 1. Valid: m >= 4 and n >= 2 m (else ValueError). Source: section 6.6.

    >>> wave = np.tile([0.0, 1.0, 2.0, 1.0], 6)
    >>> wave[13] = 4.0
    >>> int(np.argmax(matrix_profile(wave, 4))) in range(10, 14)
    True
    """
    (x,) = columns(series)
    if m < 4 or x.size < 2 * m:
        raise ValueError(f"windows of {m} samples in {x.size}: 4 <= m <= n / 2 is needed")
    windows = np.lib.stride_tricks.sliding_window_view(x, m)
    deviation = np.std(windows, axis=1)
    usable: Bools = np.isfinite(deviation) & (deviation > least_deviation)
    shapes = np.zeros(windows.shape)
    shapes[usable] = (windows[usable] - windows[usable].mean(axis=1, keepdims=True)) / deviation[usable, None]
    index = np.arange(len(windows))
    nearest = np.full(len(windows), np.nan)
    for i in np.flatnonzero(usable):
        others = usable & (np.abs(index - i) > m / 4)
        if others.any():
            rho = np.max((shapes @ shapes[i] / m)[others])
            nearest[i] = np.sqrt(2 * m * max(0.0, 1 - rho))
    return nearest
