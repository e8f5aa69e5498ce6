"""How capable a feature of a machine is: indices with intervals, gates, stability, and which cycles entered.

* Cycles with a flag (warm-up, aborted, gap, recipe changed) stay out, and are counted by flag.
* Limits are those that were in force for the newest of the cycles; where they changed in the span this is said.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from psycopg.types.json import Jsonb

from analytics.capability import (
    Interval,
    Study,
    capability_study,
    performance_interval,
    potential_interval,
    sigma_moving_range,
    sigma_overall,
)
from analytics.result import Floats, Result
from analytics.spc import WESTERN_ELECTRIC, standard_scores, western_electric
from pipeline.errors import BadData
from pipeline.migrate import Connection
from rootdx.export import Cell, Missing, Table, column
from rootdx.invocation import ask, machine_paths
from rootdx.key_figures import cell
from rootdx.moments import Span
from rootdx.texts import say

RANGE_FREEDOM: Final = 0.62
"""Degrees of freedom of a sigma from moving ranges, of those of n - 1 [GK]; so Cp has no exact interval."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be studied.

    Attributes:
        machine: its path, or the end of it.
        feature: name.
        span: in which the cycles begin.
        context: only cycles with this recipe, die, ... by kind.
        low: lower limit in place of the cycles' own.
        high: upper limit, likewise.
    """

    machine: str
    feature: str
    span: Span
    context: dict[str, str]
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the cycles say: (n,) values in order of time, the limits, and what stayed out by cause."""

    values: Floats
    unit: str
    low: float | None
    high: float | None
    left_out: Counter[str]
    limits: int


async def studied(db: Connection, question: Question, zone: str) -> list[Table]:
    """The study as tables: facts and indices.

    Raises:
        BadData: no such machine or feature; says which there are.
    """
    (machine,) = await machine_paths(db, [question.machine])
    given = {
        "machine": machine, "feature": question.feature, "first": question.span.first, "last": question.span.last,
        "context": Jsonb(question.context),
    }  # fmt: skip
    rows = await ask(db, _VALUES, given)
    if not rows:
        there = await ask(db, _THERE, {"machine": machine})
        names = ", ".join(name for (name,) in there) or "–"
        raise BadData(say("capability.nothing", feature=question.feature, machine=machine, features=names))
    sample = _sample(rows, question)
    study = capability_study(sample.values, sample.low, sample.high)
    notes = [say(f"capability.{study.gate}")]
    if sample.limits > 1:
        notes.append(say("capability.limits_changed", times=sample.limits - 1))
    if sample.low is None and sample.high is None:
        notes.append(say("capability.no_limits"))
    return [_facts(question, machine, sample, study, zone), _indices(sample, study, zone, notes)]


def _sample(rows: Sequence[tuple[Any, ...]], question: Question) -> _Sample:
    left_out: Counter[str] = Counter()
    values = []
    for value, _, _, _, flags in rows:
        if flags:
            left_out.update(flags[:1])
        elif value is None:
            left_out["undefined"] += 1
        else:
            values.append(value)
    kinds = {row[1] for row in rows}
    if len(kinds) > 1:
        raise BadData(say("capability.units", feature=question.feature, units=", ".join(sorted(kinds))))
    given = question.low is not None or question.high is not None
    pairs = [(low, high) for _, _, low, high, _ in rows]
    low, high = (question.low, question.high) if given else pairs[-1]
    return _Sample(
        np.array(values, dtype=np.float64), rows[-1][1], low, high, left_out, 1 if given else len(set(pairs))
    )


def _facts(question: Question, machine: str, sample: _Sample, study: Study, zone: str) -> Table:
    x = sample.values
    within, overall = sigma_moving_range(x), sigma_overall(x)
    centre = float(np.mean(x)) if len(x) else np.nan
    scores = standard_scores(x, centre, np.nan if within.value is None else within.value)
    fired = western_electric(scores).sum(axis=-1) if len(x) else np.zeros(4, dtype=np.int64)
    facts: list[tuple[str, Cell, str]] = [
        ("machine", machine, ""), ("feature", question.feature, ""), ("n", len(x), "1"),
        *((f"out_{name}", times, "1") for name, times in sorted(sample.left_out.items())),
        ("mean", centre if len(x) else Missing("MISSING_INPUT"), sample.unit),
        ("sigma_within", cell(within), sample.unit), ("sigma_overall", cell(overall), sample.unit),
        ("low", sample.low, sample.unit), ("high", sample.high, sample.unit),
        ("normality", cell(study.normality), "1"), ("gate", study.gate.value, ""),
        *((name, int(times), "1") for name, times in zip(WESTERN_ELECTRIC, fired, strict=True)),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [say(f"fact.{name}"), value if _numeric(value) else None, unit, value if isinstance(value, str) else
         value.reason if isinstance(value, Missing) else None]
        for name, value, unit in facts
    ]  # fmt: skip
    columns = [column("name"), column("value", "number"), column("unit"), column("text")]
    return Table("facts", say("capability.title"), columns, rows, zone)


def _numeric(value: Cell) -> bool:
    return isinstance(value, int | float)


def _indices(sample: _Sample, study: Study, zone: str, notes: Sequence[str]) -> Table:
    n = len(sample.values)
    found: list[tuple[str, Result, Interval | None]] = [
        ("Cp", study.cp, None),
        ("Cpk", study.cpk, performance_interval(study.cpk.value, n, freedom=RANGE_FREEDOM * (n - 1))),
        ("Pp", study.pp, potential_interval(study.pp.value, n)),
        ("Ppk", study.ppk, study.interval),
    ]
    if study.percentile_ppk is not None:
        found.append(("Ppk (percentile)", study.percentile_ppk, None))
    rows = [
        [name, cell(value), *_ends(ends), value.n_used,
         value.formula_id]
        for name, value, ends in found
    ]  # fmt: skip
    columns = [
        column("index"), column("value", "number", "1"), column("ci_low", "number", "1"),
        column("ci_high", "number", "1"), column("n_used", "whole"), column("formula"),
    ]  # fmt: skip
    return Table("indices", say("capability.indices"), columns, rows, zone, reasons=True, notes=notes)


def _ends(interval: Interval | None) -> list[Cell]:
    return [None, None] if interval is None else [cell(interval.low.one()), cell(interval.high.one())]


_VALUES: Final = """
    SELECT c.value[p.place], s.units[p.place], s.lows[p.place], s.highs[p.place], c.flags
    FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) JOIN rootdx.feature_set s USING (set_id)
    CROSS JOIN LATERAL (SELECT array_position(s.names, %(feature)s::text) AS place) p
    WHERE a.path = %(machine)s AND p.place IS NOT NULL
      AND c.start_ts >= %(first)s AND c.start_ts < %(last)s AND c.context @> %(context)s
    ORDER BY c.start_ts, c.cycle_id"""
_THERE: Final = """
    SELECT DISTINCT n FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) JOIN rootdx.feature_set s USING (set_id)
    CROSS JOIN LATERAL unnest(s.names) AS n WHERE a.path = %(machine)s ORDER BY 1"""
