"""Overall equipment effectiveness and its relatives, ISO 22400-2 (section 6.1).

* Elements are summed, percentages never: a line, a day, a mix of products is the sum of its elements.
* OEE = sum(PRI_j GQ_j) / PBT, always; with one product that is availability x effectiveness x quality ratio.
* Nothing is clipped: an effectiveness above 1 says that the planned run time is wrong.
* PBT = 0 makes F-KPI-01 to 05 undefined. PBT > 0 without production: availability and OEE 0,
  effectiveness undefined.
* Columns broadcast; a NaN or None element is MISSING_INPUT for the figures that need it.
"""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.result import (
    Column,
    Condition,
    Evidence,
    Floats,
    Formula,
    Reason,
    Result,
    Results,
    columns,
    judged,
    ratio,
    silent,
)

_IDS: Final = tuple(f"F-KPI-{n:02}" for n in range(13))
PER_S: Final = "/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """The time and quantity elements of a machine over a period; each is a column of periods.

    Attributes:
        planned_busy_s: PBT, planned operation time less planned downtime.
        production_s: APT, actual production time.
        setup_s: AUST, actual setup time.
        delay_s: ADET, actual delay.
        busy_s: AUBT, actual busy time.
        order_s: AOET, order execution time.
        planned_run_s: sum over products of PRI PQ.
        planned_good_s: sum over products of PRI GQ.
        produced: PQ.
        good: GQ.
        scrap: SQ.
        rework: RQ.
        inspected: IP, serialised parts inspected.
        first_pass: GP, of those good at first pass.
        corrective_s: CMT, corrective maintenance time.
        preventive_s: PMT, preventive maintenance time.
    """

    planned_busy_s: Column = None
    production_s: Column = None
    setup_s: Column = None
    delay_s: Column = None
    busy_s: Column = None
    order_s: Column = None
    planned_run_s: Column = None
    planned_good_s: Column = None
    produced: Column = None
    good: Column = None
    scrap: Column = None
    rework: Column = None
    inspected: Column = None
    first_pass: Column = None
    corrective_s: Column = None
    preventive_s: Column = None

    def total(self, axis: int = -1) -> "Elements":
        """The elements of the whole: sums over an axis of periods, products or machines; missing stays missing."""
        summed = {
            f.name: np.sum(_column(getattr(self, f.name)), axis=axis) for f in fields(self) if self._known(f.name)
        }
        return Elements(**summed)

    def _known(self, name: str) -> bool:
        return getattr(self, name) is not None


def planned_time(run_per_item_s: Column, quantity: Column) -> Floats:
    """Planned run time of a quantity, PRI times items; (..., products) summed over the last axis, a number as it is.

    >>> float(planned_time([42.0, 30.0], [500, 100])), float(planned_time(42.0, 494))
    (24000.0, 20748.0)
    """
    per_item, items = columns(run_per_item_s, quantity)
    return np.asarray(np.sum(np.atleast_1d(per_item * items), axis=-1))


def availability(e: Elements) -> Results:
    """F-KPI-01: availability, APT / PBT.

    Unit: 1. Valid: PBT > 0. Source: [S3] [S52].

    >>> f"{availability(Elements(planned_busy_s=450 * 60, production_s=395 * 60)).one():.6f}"
    '0.877778 1'
    """
    return ratio(e.production_s, e.planned_busy_s, Formula(_IDS[1], "1"))


def effectiveness(e: Elements) -> Results:
    """F-KPI-02: effectiveness, sum(PRI PQ) / APT; not called performance in reports.

    Unit: 1. Valid: PBT > 0, APT > 0. Source: [S3] [S52].

    >>> e = Elements(planned_busy_s=27_000, production_s=23_700, planned_run_s=planned_time(42, 520))
    >>> f"{effectiveness(e).one():.6f}"
    '0.921519 1'
    """
    run, apt, pbt = given = columns(e.planned_run_s, e.production_s, e.planned_busy_s)
    with silent():
        return judged(run / apt, Formula(_IDS[2], "1"), given, _no(pbt), _no(apt))


def quality_ratio(e: Elements) -> Results:
    """F-KPI-03: quality ratio, GQ / PQ in pieces.

    Unit: 1. Valid: PBT > 0, PQ > 0. Source: [S3] [S52].

    >>> f"{quality_ratio(Elements(planned_busy_s=27_000, produced=520, good=494)).one():.4f}"
    '0.9500 1'
    """
    good, produced, pbt = given = columns(e.good, e.produced, e.planned_busy_s)
    with silent():
        return judged(good / produced, Formula(_IDS[3], "1"), given, _no(pbt), _no(produced))


def oee(e: Elements) -> Results:
    """F-KPI-04: OEE index, availability x effectiveness x quality ratio = sum(PRI GQ) / PBT.

    Decided: with several products the quality in the product is weighted by planned run time, so that the sum holds.
    Without production, or with nothing produced, OEE is 0.
    Unit: 1. Valid: PBT > 0. Source: [S3] [S52].

    >>> e = Elements(planned_busy_s=27_000, production_s=23_700, planned_good_s=planned_time(42, 494))
    >>> f"{oee(e).one():.6f}"
    '0.768444 1'
    """
    good_run, pbt, apt = given = columns(e.planned_good_s, e.planned_busy_s, e.production_s)
    with silent():
        value = np.where(apt <= 0, 0.0, good_run / pbt)
        return judged(value, Formula(_IDS[4], "1"), given, _no(pbt))


def nee(e: Elements) -> Results:
    """F-KPI-05: NEE index, like OEE with setup as no loss, (APT + setup) / PBT x effectiveness x quality ratio.

    Unit: 1. Valid: PBT > 0. Source: [S3] [S52].

    >>> e = Elements(planned_busy_s=27_000, production_s=23_700, setup_s=1500, planned_good_s=planned_time(42, 494))
    >>> f"{nee(e).one():.6f}"
    '0.817080 1'
    """
    good_run, pbt, apt, setup = given = columns(e.planned_good_s, e.planned_busy_s, e.production_s, e.setup_s)
    with silent():
        value = np.where(apt <= 0, 0.0, (apt + setup) / apt * good_run / pbt)
        return judged(value, Formula(_IDS[5], "1"), given, _no(pbt))


def allocation_efficiency(e: Elements) -> Results:
    """F-KPI-06: allocation efficiency, AUBT / PBT.

    Unit: 1. Valid: PBT > 0. Source: [S3] [S52].

    >>> f"{allocation_efficiency(Elements(busy_s=438 * 60, planned_busy_s=450 * 60)).one():.4f}"
    '0.9733 1'
    """
    return ratio(e.busy_s, e.planned_busy_s, Formula(_IDS[6], "1", "1 allocation"))


def utilisation_efficiency(e: Elements) -> Results:
    """F-KPI-06: utilisation efficiency, APT / AUBT.

    Unit: 1. Valid: AUBT > 0. Source: [S3] [S52].

    >>> f"{utilisation_efficiency(Elements(production_s=395 * 60, busy_s=438 * 60)).one():.4f}"
    '0.9018 1'
    """
    return ratio(e.production_s, e.busy_s, Formula(_IDS[6], "1", "1 utilisation"))


def technical_efficiency(e: Elements) -> Results:
    """F-KPI-07: technical efficiency, APT / (APT + ADET).

    Unit: 1. Valid: APT + ADET > 0. Source: [S3] [S52].

    >>> f"{technical_efficiency(Elements(production_s=395, delay_s=18)).one():.6f}"
    '0.956416 1'
    """
    return _part(e.production_s, e.delay_s, Formula(_IDS[7], "1"))


def setup_rate(e: Elements) -> Results:
    """F-KPI-08: setup rate, AUST / (APT + AUST).

    Unit: 1. Valid: APT + AUST > 0. Source: [S3] [S52].

    >>> f"{setup_rate(Elements(production_s=395, setup_s=25)).one():.6f}"
    '0.059524 1'
    """
    return _part(e.setup_s, e.production_s, Formula(_IDS[8], "1"))


def scrap_ratio(e: Elements) -> Results:
    """F-KPI-09: scrap ratio, SQ / PQ.

    Unit: 1. Valid: PQ > 0. Source: [S3] [S52].

    >>> f"{scrap_ratio(Elements(scrap=13, produced=520)).one():.4f}"
    '0.0250 1'
    """
    return ratio(e.scrap, e.produced, Formula(_IDS[9], "1", "1 scrap"))


def rework_ratio(e: Elements) -> Results:
    """F-KPI-09: rework ratio, RQ / PQ.

    Unit: 1. Valid: PQ > 0. Source: [S3] [S52].

    >>> f"{rework_ratio(Elements(rework=26, produced=520)).one():.4f}"
    '0.0500 1'
    """
    return ratio(e.rework, e.produced, Formula(_IDS[9], "1", "1 rework"))


def first_pass_yield(e: Elements) -> Results:
    """F-KPI-09: first pass yield, GP / IP of serialised parts.

    Unit: 1. Valid: IP > 0. Source: [S3] [S52].

    >>> f"{first_pass_yield(Elements(first_pass=90, inspected=100)).one():.2f}"
    '0.90 1'
    """
    return ratio(e.first_pass, e.inspected, Formula(_IDS[9], "1", "1 first pass"))


def throughput_rate(e: Elements) -> Results:
    """F-KPI-10: throughput rate, PQ / AOET.

    Unit: /s. Valid: AOET > 0. Source: [S3] [S52].

    >>> f"{throughput_rate(Elements(produced=520, order_s=26_000)).one():.3f}"
    '0.020 /s'
    """
    return ratio(e.produced, e.order_s, Formula(_IDS[10], PER_S))


def production_process_ratio(e: Elements) -> Results:
    """F-KPI-10: production process ratio, APT / AOET.

    Unit: 1. Valid: AOET > 0. Source: [S3] [S52].

    >>> f"{production_process_ratio(Elements(production_s=23_700, order_s=26_000)).one():.4f}"
    '0.9115 1'
    """
    return ratio(e.production_s, e.order_s, Formula(_IDS[10], "1"))


@dataclass(frozen=True, slots=True)
class Reliability:
    """Mean of failure intervals.

    Attributes:
        mean: s, over the intervals; undefined without a failure.
        iso_mean: s, the sum over failure events + 1, as ISO divides for TBF [GK].
        lower_bound_s: observed time when there was no failure, else None: the mean is at least about this.
        failures: failure events FE.
        intervals: intervals that entered.
    """

    mean: Result
    iso_mean: Result
    lower_bound_s: float | None
    failures: int
    intervals: int


def mean_interval(intervals_s: npt.ArrayLike, failures: int, observed_s: float) -> Reliability:
    """F-KPI-11: MTBF, MTTF or MTTR, the mean of TBF, TTF or TTR intervals; NaN intervals are left out.

    No failure is NOT_REACHED with the observed operating time as lower bound, never infinity.
    Unit: s. Valid: at least one failure and one interval. Source: [S3], divisor [GK].

    >>> found = mean_interval([3600, 7200], 2, 12_000)
    >>> f"{found.mean:.0f} {found.iso_mean:.0f}", f"{mean_interval([], 0, 12_000).mean:.0f}"
    ('5400 s 3600 s', 'none s (NOT_REACHED)')
    """
    (intervals,) = columns(intervals_s)
    good = intervals[np.isfinite(intervals)]
    given = (intervals, np.array([failures, observed_s], dtype=np.float64))
    never = (Reason.NOT_REACHED, failures <= 0)
    none = (Reason.MISSING_INPUT, good.size == 0)
    total = float(np.sum(good))
    evidence = Evidence(good.size)
    with silent():
        mean = judged(np.float64(total) / good.size, Formula(_IDS[11], "s"), given, never, none, evidence=evidence)
        iso = judged(total / (failures + 1), Formula(_IDS[11], "s", "1 iso"), given, never, none, evidence=evidence)
    return Reliability(mean.one(), iso.one(), observed_s if failures <= 0 else None, failures, good.size)


def corrective_maintenance_ratio(e: Elements) -> Results:
    """F-KPI-12: corrective maintenance ratio, CMT / (CMT + PMT).

    Unit: 1. Valid: CMT + PMT > 0. Source: [S3] [S52].

    >>> f"{corrective_maintenance_ratio(Elements(corrective_s=30, preventive_s=90)).one():.2f}"
    '0.25 1'
    """
    return _part(e.corrective_s, e.preventive_s, Formula(_IDS[12], "1"))


def _part(part: Column, rest: Column, formula: Formula) -> Results:
    one, other = given = columns(part, rest)
    with silent():
        return judged(one / (one + other), formula, given, _no(one + other))


def _no(denominator: Floats) -> Condition:
    return Reason.ZERO_DENOM, denominator <= 0


def _column(value: Column) -> Floats:
    return np.asarray(value, dtype=np.float64)
