"""What one benchmark reports: a row a method, always with the rows null, random and always beside ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one benchmark: its figures by name, in the benchmark's own units."""

    method: str
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """One benchmark.

    Attributes:
        benchmark: name, as `NAB standard`.
        data: what it ran on, as `32 files of NAB`.
        rows: one a method; ours first, then what a user would pick instead, then null, random, always.
        targets: by figure, in words, as `>= 60`.
        settings: the frozen settings of our rows.
        notes: what the figures mean, what stands in the way.
        seconds: CPU seconds of our detectors, without reading the files.
    """

    benchmark: str
    data: str
    rows: Sequence[Row]
    targets: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()
    seconds: float = 0.0
