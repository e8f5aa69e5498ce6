"""What Grafana makes of a query before it reaches PostgreSQL, after its documentation of macros and variables.

* Macros of the PostgreSQL source, filled in by the server: `$__timeFilter`, `$__timeFrom`, `$__timeTo`, `$__timeGroup`,
  `$__timeGroupAlias`, `$__interval`, `$__interval_ms`.
* Variables, filled in by the page: `$__from`, `$__to`, `${name:sqlstring}`. Any other is an error here: only
  `sqlstring` quotes whether one or several are chosen.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class View:
    """What a person looks at: a range, on so many pixels, with what is chosen above the panels."""

    from_ms: int
    to_ms: int
    chosen: Mapping[str, Sequence[str]]
    pixels: int = 1000
    timescale: bool = False

    @property
    def interval_ms(self) -> int:
        """Of a pixel, at least a second."""
        return max(1000, (self.to_ms - self.from_ms) // self.pixels)


def expanded(sql: str, view: View) -> str:
    """The query that reaches the server."""
    begin, end = (f"'{_iso(ms)}'" for ms in (view.from_ms, view.to_ms))
    sql = re.sub(r"\$\{(\w+):sqlstring\}", lambda found: _quoted(view.chosen[found[1]]), sql)
    sql = re.sub(r"\$__timeFilter\(([^()]*)\)", rf"\1 BETWEEN {begin} AND {end}", sql)
    sql = re.sub(r"\$__timeGroupAlias\(([^()]*)\)", r'$__timeGroup(\1) AS "time"', sql)
    sql = re.sub(r"\$__timeGroup\(([^(),]*),\s*'?(\w+)'?\)", lambda found: _group(found[1], found[2], view), sql)
    sql = sql.replace("$__timeFrom()", begin).replace("$__timeTo()", end)
    sql = sql.replace("$__interval_ms", str(view.interval_ms)).replace("$__interval", f"{view.interval_ms}ms")
    sql = sql.replace("$__from", str(view.from_ms)).replace("$__to", str(view.to_ms))
    left = re.findall(r"\$\{?[A-Za-z_]\w*", sql)
    if left:
        raise ValueError(f"not filled in: {left}")
    return sql


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(values: Sequence[str]) -> str:
    return ",".join("'" + value.replace("'", "''") + "'" for value in values)


def _group(column: str, length: str, view: View) -> str:
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d|w)", length)
    assert found is not None, length
    seconds = int(found[1]) * _UNITS[found[2]]
    if view.timescale:
        return f"time_bucket('{seconds:.3f}s', {column})"
    return f"floor(extract(epoch from {column})/{seconds:g})*{seconds:g}"
