"""What a seam did while the arc burned: stability of the arc and compliance with the procedure (section 3.2).

* Windows are 100 ms of equidistant samples, start and crater already cut off.
* A missing essential variable is INCOMPLETE, never a PASS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from analytics.result import (
    Bools,
    Column,
    Evidence,
    Formula,
    Reason,
    Result,
    Results,
    columns,
    judged,
    silent,
)
from analytics.time_series import Samples
from analytics.verdict import Verdict, worst

F_VARIATION: Final = Formula("F-WLD-06", "1")
F_SHORTS: Final = Formula("F-WLD-06", "Hz")
F_INTERRUPTIONS: Final = Formula("F-WLD-06", "1")
F_COMPLIANCE: Final = Formula("F-WLD-07", "1")
F_EXCURSION: Final = Formula("F-WLD-07", "s")


def variation(windows: npt.ArrayLike) -> Results:
    """F-WLD-06: coefficient of variation of voltage or current, sample deviation over mean of the last axis.

    A NaN in a window, or fewer than two samples, is MISSING_INPUT.
    Unit: 1. Valid: mean > 0. Source: section 3.2.

    >>> f"{variation([24.0, 26.0, 25.0, 25.0]).one():.6f}"
    '0.032660 1'
    """
    (x,) = given = columns(windows)
    n = x.shape[-1]
    with silent():
        mean = np.mean(x, axis=-1) if n else np.full(x.shape[:-1], np.nan)
        spread = np.std(x, axis=-1, ddof=1) if n > 1 else np.full(x.shape[:-1], np.nan)
        missing = (Reason.MISSING_INPUT, ~np.isfinite(spread))
        return judged(spread / mean, F_VARIATION, given, missing, (Reason.ZERO_DENOM, mean <= 0), evidence=Evidence(n))


def variation_limit(usual: Column, samples: Column, *, exceeded: Column = 0.00135) -> Results:
    """F-WLD-06: the coefficient of variation that a healthy window exceeds with a probability, by the chi-square.

    Use it on both sides: short-arc voltage gets calmer when the process leaves its optimum [S41], so the lower limit
    (`exceeded` 0.99865) matters as much as the upper.
    Unit: 1. Valid: usual > 0, samples >= 2. Source: [S41].

    >>> f"{variation_limit(0.03, 50, exceeded=0.99865).one():.5f} {variation_limit(0.03, 50).one():.5f}"
    '0.02123 1 0.03930 1'
    """
    s, n, tail = given = columns(usual, samples, exceeded)
    with silent():
        value = s * np.sqrt(special.chdtri(n - 1, tail) / (n - 1))
        return judged(value, F_VARIATION, given, (Reason.MISSING_INPUT, n < 2), (Reason.ZERO_DENOM, s <= 0))


def short_circuit_rate(voltage: Samples, *, level_v: float = 10.0, hysteresis_v: float = 3.0) -> Result:
    """F-WLD-06: short circuits a second, falls of the voltage through 10 V after it was above 13 V.

    Unit: Hz. Valid: a span of time. Source: section 3.2.

    >>> u = [20, 20, 5, 20, 5, 11, 5, 20, 5, 20]
    >>> f"{short_circuit_rate(Samples.of(np.arange(10) / 10, u)):.4f}"
    '3.3333 Hz'
    """
    state = np.where(voltage.value < level_v, -1, np.where(voltage.value > level_v + hysteresis_v, 1, 0))
    known = state[state != 0]
    falls = int(np.sum((known[:-1] == 1) & (known[1:] == -1)))
    span_s = float(np.ptp(voltage.time_s)) if voltage.time_s.size else 0.0
    with silent():
        value = np.float64(falls) / span_s
    few = (Reason.MISSING_INPUT, voltage.time_s.size < 2)
    evidence = Evidence(voltage.time_s.size, voltage.coverage)
    given = (voltage.time_s, voltage.value, np.array([level_v, hysteresis_v]))
    return judged(value, F_SHORTS, given, few, (Reason.ZERO_DENOM, span_s <= 0), evidence=evidence).one()


def arc_interruptions(current: Samples, *, off_a: float = 15.0, new_seam_s: float = 0.2) -> Result:
    """F-WLD-06: arc interruptions of a seam, times below 15 A shorter than 200 ms between arc and arc.

    Unit: 1. Valid: arc at both ends. Source: section 3.1.

    >>> amperes = [200] * 5 + [0] * 3 + [200] * 5 + [0] * 30 + [200] * 5
    >>> f"{arc_interruptions(Samples.of(np.arange(len(amperes)) / 100, amperes)):.0f}"
    '1 1'
    """
    low = np.concatenate([[False], current.value < off_a, [False]])
    edges = np.flatnonzero(low[1:] != low[:-1]).reshape(-1, 2)
    inner = edges[(edges[:, 0] > 0) & (edges[:, 1] < current.value.size)]
    lengths = current.time_s[inner[:, 1]] - current.time_s[inner[:, 0]]
    few = (Reason.MISSING_INPUT, current.value.size < 2)
    given = (current.time_s, current.value, np.array([off_a, new_seam_s]))
    evidence = Evidence(current.value.size, current.coverage)
    return judged(np.sum(lengths < new_seam_s), F_INTERRUPTIONS, given, few, evidence=evidence).one()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the procedure allows of one variable."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Compliance:
    """One essential variable of one seam: its windows against the limits."""

    compliance: Result
    longest_excursion: Result
    mean: float | None
    verdict: Verdict


def procedure_compliance(
    windows: npt.ArrayLike,
    limits: Limits,
    *,
    window_s: float = 0.1,
    least_compliance: float = 0.95,
    longest_excursion_s: float = 1.0,
) -> Compliance:
    """F-WLD-07: compliance of one variable with the procedure, the part of arc-on time inside its limits.

    `windows` is (n,) means over `window_s` while the arc burns. A NaN window is not counted and makes the verdict
    INCOMPLETE. PASS when enough is inside, no excursion is too long and the seam mean is inside, else REVIEW.
    Unit: 1. Valid: at least one window. Source: section 3.2, defaults [GK].

    >>> seam = procedure_compliance([25.25] * 39 + [27.4], Limits(24, 27))
    >>> f"{seam.compliance:.3f} {seam.longest_excursion:.1f} {seam.verdict}"
    '0.975 1 0.1 s pass'
    """
    (x,) = given = columns(windows)
    good = x[np.isfinite(x)]
    inside = (good >= limits.low) & (good <= limits.high)
    excursion = _longest_run(~((x >= limits.low) & (x <= limits.high)) & np.isfinite(x)) * window_s
    hashed = (*given, np.array([limits.low, limits.high, window_s]))
    none = (Reason.MISSING_INPUT, good.size == 0)
    evidence = Evidence(good.size, good.size / x.size if x.size else 0.0)
    share = np.mean(inside) if good.size else np.nan
    compliance = judged(share, F_COMPLIANCE, hashed, none, evidence=evidence).one()
    longest = judged(excursion, F_EXCURSION, hashed, none, evidence=evidence).one()
    mean = float(np.mean(good)) if good.size else None
    fine = share >= least_compliance and excursion <= longest_excursion_s + 1e-9
    centred = mean is not None and limits.low <= mean <= limits.high
    whole = Verdict.PASS if fine and centred else Verdict.REVIEW
    return Compliance(compliance, longest, mean, whole if good.size == x.size > 0 else Verdict.INCOMPLETE)


def seam_verdict(variables: Mapping[str, npt.ArrayLike | None], procedure: Mapping[str, Limits]) -> Verdict:
    """F-WLD-07: verdict of a seam over all essential variables of its procedure; a missing one is INCOMPLETE.

    A single value (interpass, preheat) is one window.
    Unit: verdict. Valid: all essential variables present. Source: section 3.2.

    >>> wps = {"voltage": Limits(24, 27), "interpass_temp": Limits(0, 250)}
    >>> seam_verdict({"voltage": [25.0] * 40, "interpass_temp": 180.0}, wps).value
    'pass'
    >>> seam_verdict({"voltage": [25.0] * 40}, wps).value
    'incomplete'
    """
    found = (
        procedure_compliance(np.atleast_1d(np.asarray(variables.get(name), dtype=np.float64)), limits).verdict
        for name, limits in procedure.items()
    )
    return worst(*found)


def _longest_run(flags: Bools) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]))).reshape(-1, 2)
    return int(np.max(edges[:, 1] - edges[:, 0], initial=0))
