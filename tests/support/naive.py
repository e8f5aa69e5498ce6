"""Slow, obvious twins of what the database and the kernels compute."""

from collections.abc import Sequence
from dataclasses import dataclass, field

GOOD_BELOW = 1 << 30
"""Quality codes from 0 to below this are good; from 2^31 on they are bad."""
BAD_FROM = 1 << 31


@dataclass(slots=True)
class Bucket:
    """One tag in one span of time."""

    rows: list[tuple[int, float | None, int]] = field(default_factory=list)

    def figures(
        self,
    ) -> tuple[float | None, float | None, float | None, float | None, float | None, int, int, int, int]:
        """min, max, sum, first, last, count, value_count, good_count, bad_count."""
        there = sorted((ts, value) for ts, value, _ in self.rows if value is not None)
        values = [value for _, value in there]
        good = sum(quality < GOOD_BELOW for _, _, quality in self.rows)
        bad = sum(quality >= BAD_FROM for _, _, quality in self.rows)
        counts = (len(self.rows), len(values), good, bad)
        if not values:
            return (None, None, None, None, None, *counts)
        return (min(values), max(values), sum(values), values[0], values[-1], *counts)


def buckets(rows: Sequence[tuple[str, int, float | None, int]], span_ns: int) -> dict[tuple[str, int], Bucket]:
    """Rows (tag, ts_ns, value, quality) by tag and start of the span, in ns."""
    found: dict[tuple[str, int], Bucket] = {}
    for tag, ts_ns, value, quality in rows:
        found.setdefault((tag, ts_ns - ts_ns % span_ns), Bucket()).rows.append((ts_ns, value, quality))
    return found
