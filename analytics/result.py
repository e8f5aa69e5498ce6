"""What a formula returns: a number or the reason why there is none (section 0.1 of the domain specification).

* `Result.value` is a finite float or None; undefined is never 0, 1, infinity or NaN.
* `value` is None exactly when `reason` says so; only OK and OUT_OF_VALID_RANGE carry a value.
* A formula has one implementation, on columns: it takes anything that broadcasts and returns `Results` of that shape.
  One set of inputs is the 0-d case, and `results.one()` is its `Result`.
* An input that is NaN, infinite or None is missing; a formula need not say so.
* `inputs_hash` is of one row's inputs, so a row of a year and a single call of the same inputs agree. It is computed
  when a `Result` is taken out, so a column pays nothing for it.
* A value that is not finite although every input is good (an overflow, say) is OUT_OF_VALID_RANGE and None.
"""

import enum
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Column = npt.ArrayLike | None
"""A number, a sequence or an array of any shape; None and NaN are missing."""

BAD_FROM: Final = 0x8000_0000
"""OPC UA status codes from here on are bad (bits 31-30 are 10)."""


class Reason(enum.IntEnum):
    """Why a value is what it is; the number is the code in a column."""

    OK = 0
    ZERO_DENOM = 1  # a denominator is zero or negative
    MISSING_INPUT = 2  # a mandatory input is missing, or there are too few of them
    LOW_COVERAGE = 3  # too much of the time is not covered by good samples
    OUT_OF_VALID_RANGE = 4  # computed outside the range the formula is stated for; the value is kept
    BAD_QUALITY = 5  # the inputs are bad
    NOT_REACHED = 6  # the event that the formula waits for did not happen


Condition = tuple[Reason, npt.ArrayLike]
"""A reason, and where it holds."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula's identity: what a stored number must name to be computed again.

    Attributes:
        id: as in the domain specification, `F-HPDC-02`.
        unit: UCUM unit of the value.
        version: changes with every change of the numbers; names the constant set where there are several.
    """

    id: str
    unit: str
    version: str = "1"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the value rests on. Each but the last may be a column.

    Attributes:
        n_used: samples, intervals or parts that entered.
        coverage: 0..1, the fraction of the time covered by good samples.
        quality: OPC UA status code, the worst used.
        least_coverage: below it the value is LOW_COVERAGE.
    """

    n_used: npt.ArrayLike = 1
    coverage: npt.ArrayLike = 1.0
    quality: npt.ArrayLike = 0
    least_coverage: float = 0.0


CLOSED: Final = Evidence()
"""A closed form of one set of good inputs."""


@dataclass(frozen=True, slots=True)
class Result:
    """One value of a formula, with all that an auditor asks."""

    value: float | None
    unit: str
    reason: Reason
    n_used: int
    coverage: float
    quality: int
    formula_id: str
    formula_version: str
    inputs_hash: str

    def __format__(self, spec: str) -> str:
        """The value with its unit; a reason other than OK in brackets: `48.1056 m/s`, `none m/s (ZERO_DENOM)`."""
        number = "none" if self.value is None else format(self.value, spec)
        note = "" if self.reason is Reason.OK else f" ({self.reason.name})"
        return f"{number} {self.unit}{note}"


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """A column of values of one formula, of any shape; () for a single one. Arrays are read-only.

    Attributes:
        value: float64, NaN where undefined.
        reason: codes of `Reason`, same shape.
        formula: which formula.
        inputs: what it was computed from; those with more axes than `value` are series of one value each.
        n_used: same shape.
        coverage: same shape, 0..1.
        quality: same shape, OPC UA status codes.
    """

    value: Floats
    reason: npt.NDArray[np.uint8]
    formula: Formula
    inputs: tuple[Floats, ...]
    n_used: Ints
    coverage: Floats
    quality: npt.NDArray[np.uint32]

    def __eq__(self, other: object) -> bool:
        """Field by field; NaN equals NaN."""
        if not isinstance(other, Results) or self.formula != other.formula or len(self.inputs) != len(other.inputs):
            return False
        names = [f.name for f in fields(self) if f.name not in {"formula", "inputs"}]
        pairs = [(getattr(self, name), getattr(other, name)) for name in names]
        pairs += zip(self.inputs, other.inputs, strict=True)
        return all(np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f") for mine, theirs in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays inside

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, index: int | tuple[int, ...]) -> Result:
        """One row, with its own inputs_hash."""
        reason = Reason(int(self.reason[index]))
        value = float(self.value[index])
        return Result(
            value=None if np.isnan(value) else value,
            unit=self.formula.unit,
            reason=reason,
            n_used=int(self.n_used[index]),
            coverage=float(self.coverage[index]),
            quality=int(self.quality[index]),
            formula_id=self.formula.id,
            formula_version=self.formula.version,
            inputs_hash=self._hash(index),
        )

    def __iter__(self) -> Iterator[Result]:
        """All rows, in C order."""
        return (self[index] for index in np.ndindex(self.value.shape))

    def one(self) -> Result:
        """The only row of a 0-d or 1-element column.

        Raises:
            ValueError: when there are more.
        """
        if self.value.size != 1:
            raise ValueError(f"{self.formula.id}: {self.value.size} values where one was asked for; index them")
        return self[(0,) * self.value.ndim]

    def graded(self, evidence: Evidence) -> "Results":
        """The same values with what they rest on: bad quality and low coverage make a value undefined."""
        kept = [(reason, self.reason == reason) for reason in Reason if reason is not Reason.OK]
        return judged(self.value, self.formula, (), *kept, optional=self.inputs, evidence=evidence)

    def _hash(self, index: int | tuple[int, ...]) -> str:
        digest = hashlib.blake2b(f"{self.formula.id} {self.formula.version}".encode(), digest_size=16)
        for column in self.inputs:
            series = column.ndim > self.value.ndim
            row = column[index] if series else np.broadcast_to(column, self.value.shape)[index]
            plain = np.where(np.isnan(row), np.nan, row) + 0.0  # one bit pattern for NaN, one for zero
            digest.update(f"|{plain.shape}|".encode() + plain.astype("<f8").tobytes())
        return digest.hexdigest()


def columns(*raw: Column) -> tuple[Floats, ...]:
    """Inputs as float64 arrays; None becomes NaN. Inputs are not copied when they already are float64."""
    return tuple(np.asarray(column, dtype=np.float64) for column in raw)


def silent() -> np.errstate:
    """Let a formula divide by zero or overflow: `judged` turns what comes out into a reason."""
    return np.errstate(all="ignore")


def judged(
    value: npt.ArrayLike,
    formula: Formula,
    inputs: tuple[Floats, ...],
    *conditions: Condition,
    optional: tuple[Floats, ...] = (),
    evidence: Evidence = CLOSED,
) -> Results:
    """`value` where it is defined, and the first reason that holds where it is not.

    Bad quality comes first, then missing inputs, then `conditions` in order, then low coverage. OUT_OF_VALID_RANGE
    is always last. Inputs with more axes than `value` are series: hashed, but their NaN is the caller's to judge;
    so is that of `optional` inputs.

    >>> f = Formula("F-X-01", "m/s")
    >>> speed, time = columns([10.0, 10.0, None], [4.0, 0.0, 1.0])
    >>> with silent():
    ...     found = judged(speed / time, f, (speed, time), (Reason.ZERO_DENOM, time <= 0))
    >>> [f"{r:.1f}" for r in found]
    ['2.5 m/s', 'none m/s (ZERO_DENOM)', 'none m/s (MISSING_INPUT)']
    """
    given = np.asarray(value, dtype=np.float64)
    code = np.zeros(given.shape, dtype=np.uint8)
    quality = np.asarray(evidence.quality, dtype=np.uint32)
    coverage = np.asarray(evidence.coverage, dtype=np.float64)
    missing = [(Reason.MISSING_INPUT, ~np.isfinite(column)) for column in inputs if column.ndim <= given.ndim]
    last = Reason.OUT_OF_VALID_RANGE
    ordered: list[Condition] = [
        (Reason.BAD_QUALITY, quality >= BAD_FROM),
        *missing,
        *(condition for condition in conditions if condition[0] is not last),
        (Reason.LOW_COVERAGE, coverage < evidence.least_coverage),
        *(condition for condition in conditions if condition[0] is last),
        (last, ~np.isfinite(given)),
    ]
    for reason, holds in ordered:
        code[(code == Reason.OK) & np.broadcast_to(np.asarray(holds, dtype=np.bool_), code.shape)] = reason
    defined = ((code == Reason.OK) | (code == last)) & np.isfinite(given)
    return Results(
        value=_frozen(np.where(defined, given, np.nan)),
        reason=_frozen(code),
        formula=formula,
        inputs=tuple(_frozen(column) for column in (*inputs, *optional)),
        n_used=np.broadcast_to(np.asarray(evidence.n_used, dtype=np.int64), code.shape),
        coverage=np.broadcast_to(coverage, code.shape),
        quality=np.broadcast_to(quality, code.shape),
    )


def ratio(numerator: Column, denominator: Column, formula: Formula, *conditions: Condition) -> Results:
    """`numerator / denominator`; ZERO_DENOM where the denominator is zero or negative.

    >>> f"{ratio(1, 0, Formula('F-X-02', '1')).one():.2f}"
    'none 1 (ZERO_DENOM)'
    """
    above, below = given = columns(numerator, denominator)
    with silent():
        return judged(above / below, formula, given, (Reason.ZERO_DENOM, below <= 0), *conditions)


def outside(value: Floats, low: float, high: float) -> Condition:
    """OUT_OF_VALID_RANGE where `value` is not in [low, high]."""
    return (Reason.OUT_OF_VALID_RANGE, (value < low) | (value > high))


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
