"""The store as data frames, for people with Python: `rootdx.connect(dsn)`.

    >>> import rootdx                                                             # doctest: +SKIP
    >>> with rootdx.connect("service=rootdx", zone="Asia/Seoul") as plant:         # doctest: +SKIP
    ...     plant.tags("iq2")
    ...     plant.window("iq2", ["zone1.pv", "zone1.sp"], "2026-11-21", "2026-11-22")
    ...     plant.cycles("dc1", since="2026-11-01", features=True)

* Frames are of pandas or polars, as `frames` says. Times are aware, in `zone`; a bad value is NaN.
* Units stand beside the numbers: `frame.attrs["units"]` in pandas, `Plant.units` in both.
* Rows come as arrays, a day of a tag at once, so a month of seconds takes seconds; `progress` is told how far it is.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self
from zoneinfo import ZoneInfo

import numpy as np
import psycopg

from analytics.columns import take_arrays
from analytics.result import Ints
from analytics.window import Series
from pipeline.bursts import decode
from pipeline.errors import BadData, ConfigError
from rootdx.frames import Columns, Frame, feature_columns, pandas_frame, polars_frame

Moment = str | datetime
"""A datetime, or ISO text; without a zone it is the plant's."""
DAY: Final = timedelta(days=1)


class Plant:
    """A connection to a store; made by `rootdx.connect`, closed by `with` or `close`.

    Attributes:
        units: of the columns of the last frame, by name.
    """

    def __init__(self, dsn: str, zone: str, frames: Literal["pandas", "polars"]) -> None:
        self._db = psycopg.connect(dsn, autocommit=True, application_name="rootdx client")
        self._zone, self._frames = ZoneInfo(zone), frames
        self.units: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()

    def tags(self, machine: str | None = None) -> Frame:
        """Every tag: machine, name, role, unit, engineering range, interval.

        Raises:
            BadData: no machine, or more than one, has that name.
        """
        asset = None if machine is None else self._asset(machine)
        return self._asked(_TAGS, {"asset": asset})

    def window(
        self,
        machine: str,
        tags: Sequence[str] | None,
        start: Moment,
        end: Moment,
        *,
        every: Literal["raw", "minute", "hour"] = "raw",
        quality: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Frame:
        """A column a tag over [start, end), a row wherever one of them has one.

        Args:
            machine: path, or the end of it.
            tags: names or roles; None: all with a role.
            start: begin.
            end: end, not included.
            every: raw rows, or mean, lowest and highest of minutes or hours (columns `tag`, `tag.min`, `tag.max`).
            quality: of raw rows a column `tag.quality` with the OPC UA status code.
            progress: told the share that is done, 0..1.

        Raises:
            BadData: no such machine or tag; says which there are.
        """
        asset = self._asset(machine)
        wanted = self._wanted(asset, tags)
        first, last = self._us(start), self._us(end)
        self.units = {name: unit for name, (_, unit) in wanted.items()}
        if every != "raw":
            return self._aggregated(wanted, first, last, every)
        parts: dict[str, list[Series]] = {name: [] for name in wanted}
        for share, begin, until in _days(first, last):
            for name, rows in self._rows(wanted, begin, until).items():
                parts[name].append(rows)
            if progress is not None:
                progress(share)
        return self._wide({name: _joined(some) for name, some in parts.items()}, quality=quality)

    def windows(self, machine: str, tags: Sequence[str] | None, start: Moment, end: Moment) -> Iterator[Frame]:
        """The same day by day, for ranges that do not fit into memory.

        Raises:
            BadData: as `window`.
        """
        asset = self._asset(machine)
        wanted = self._wanted(asset, tags)
        self.units = {name: unit for name, (_, unit) in wanted.items()}
        for _, begin, until in _days(self._us(start), self._us(end)):
            yield self._wide(self._rows(wanted, begin, until), quality=False)

    def cycles(
        self, machine: str | None = None, *, kind: str | None = None, since: Moment = "1970-01-01",
        until: Moment = "2100-01-01", features: bool = False,
    ) -> Frame:  # fmt: skip
        """A row a cycle that begins in [since, until), oldest first; with `features` a column a feature.

        Raises:
            BadData: no such machine.
        """
        columns = self._columns(_CYCLES, self._span(machine, since, until) | {"kind": kind})
        columns["context"] = [json.dumps(one, ensure_ascii=False) for one in columns["context"]]
        values, units, sets = columns.pop("value"), columns.pop("units"), columns.pop("names")
        self.units = {"seconds": "s"}
        if features:
            for name, column in feature_columns(sets, values).items():
                columns[name] = column
            for names, some in zip(sets, units, strict=True):
                self.units |= dict(zip(names or (), some or (), strict=True))
        return self._framed(columns)

    def features(
        self, machine: str | None = None, *, kind: str | None = None, since: Moment = "1970-01-01",
        until: Moment = "2100-01-01",
    ) -> Frame:  # fmt: skip
        """A row a feature of a cycle: value, unit, limits, the reason where there is no value, formula, coverage.

        Raises:
            BadData: no such machine.
        """
        return self._asked(_FEATURES, self._span(machine, since, until) | {"kind": kind})

    def phases(
        self, machine: str | None = None, *, kind: str | None = None, since: Moment = "1970-01-01",
        until: Moment = "2100-01-01",
    ) -> Frame:  # fmt: skip
        """A row a phase of a cycle that begins in [since, until), in order; the running one has no end.

        Raises:
            BadData: no such machine.
        """
        return self._asked(_PHASES, self._span(machine, since, until) | {"kind": kind}, {"seconds": "s"})

    def waveforms(self, machine: str, name: str, since: Moment, until: Moment) -> Frame:
        """The samples of the bursts of a name that begin in [since, until): burst, time in s since its begin, channels.

        Raises:
            BadData: no such machine.
        """
        found = self._columns(_WAVES, self._span(machine, since, until) | {"name": name})
        parts: dict[str, list[Any]] = {"burst": [], "time_s": []}
        for ts, period_ns, channels, samples, value, encoding in zip(*found.values(), strict=True):
            table = decode(bytes(value), encoding, samples, len(channels))
            parts["burst"].append(np.full(samples, np.datetime64(ts.replace(tzinfo=None), "us")))
            parts["time_s"].append(np.arange(samples) * period_ns / 1e9)
            for place, channel in enumerate(channels):
                parts.setdefault(channel, []).append(table[:, place])
        units = self._columns(_CHANNELS, {"asset": self._asset(machine), "name": name})
        self.units = {"time_s": "s"} | dict(zip(units["channel"], units["unit"], strict=True))
        return self._framed({key: np.concatenate(some) if some else np.empty(0) for key, some in parts.items()})

    def kpis(self, machine: str | None = None, *, since: Moment = "1970-01-01", until: Moment = "2100-01-01") -> Frame:
        """Key figures of every shift that begins in [since, until): fractions, not percent.

        Raises:
            BadData: no such machine.
        """
        return self._asked(_KPIS, self._span(machine, since, until))

    def demands(
        self, machine: str | None = None, *, since: Moment = "1970-01-01", until: Moment = "2100-01-01"
    ) -> Frame:
        """Mean power and energy of every quarter hour in [since, until) of the machines with a meter.

        Raises:
            BadData: no such machine.
        """
        return self._asked(_DEMANDS, self._span(machine, since, until), {"kw": "kW", "kwh": "kW.h"})

    def alarms(
        self, machine: str | None = None, *, since: Moment = "1970-01-01", until: Moment = "2100-01-01"
    ) -> Frame:
        """The journal of the alarms in [since, until), oldest first, with the facts of each raise as JSON.

        Raises:
            BadData: no such machine.
        """
        columns = self._columns(_ALARMS, self._span(machine, since, until))
        columns["facts"] = [None if one is None else json.dumps(one, ensure_ascii=False) for one in columns["facts"]]
        self.units = {"score": "1"}
        return self._framed(columns)

    def to_parquet(self, frame: Frame, file: Path) -> None:
        """A frame as a Parquet file, its units in the metadata of the columns.

        Raises:
            ConfigError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra
            import pyarrow.parquet as pq  # type: ignore[import-untyped]  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ConfigError("pyarrow is not installed: pip install 'rootdx[parquet]'") from error
        table = pa.Table.from_pandas(frame) if self._frames == "pandas" else frame.to_arrow()
        fields = [
            one.with_metadata({"unit": self.units[one.name]}) if one.name in self.units else one for one in table.schema
        ]
        pq.write_table(table.cast(pa.schema(fields, table.schema.metadata)), file)

    def _asset(self, machine: str) -> str:
        known: list[str] = [path for (path,) in self._db.execute("SELECT path FROM rootdx.asset ORDER BY path")]
        fitting = [path for path in known if path == machine] or [p for p in known if p.endswith(f"/{machine}")]
        if len(fitting) != 1:
            raise BadData(f"machine {machine!r}: {len(fitting)} of that name; there are {', '.join(known) or 'none'}")
        return fitting[0]

    def _wanted(self, asset: str, tags: Sequence[str] | None) -> dict[str, tuple[int, str]]:
        """Number and unit of each tag that was asked for, by the name it was asked by."""
        rows = self._db.execute(_TAG_IDS, [asset]).fetchall()
        known = {said: (tag_id, unit) for tag_id, name, role, unit in rows for said in (name, role) if said}
        missing = [name for name in tags or () if name not in known]
        if missing:
            raise BadData(f"{asset}: no tag {', '.join(missing)}; it has {', '.join(sorted(known))}")
        return {name: known[name] for name in tags or [role or name for _, name, role, _ in rows]}

    def _rows(self, wanted: Mapping[str, tuple[int, str]], first: int, last: int) -> dict[str, Series]:
        found = {}
        with self._db.cursor(binary=True) as cursor:
            take_arrays(cursor)
            for name, (tag_id, _) in wanted.items():
                ts, value, quality = cursor.execute(_ROWS, [tag_id, first, last]).fetchone() or (None,) * 3
                found[name] = Series.of([], []) if ts is None else Series.of(ts, value, quality.view(np.uint32))
        return found

    def _aggregated(self, wanted: Mapping[str, tuple[int, str]], first: int, last: int, every: str) -> Frame:
        view = "measurement_1m" if every == "minute" else "measurement_1h"
        parts: dict[str, Series] = {}
        with self._db.cursor(binary=True) as cursor:
            take_arrays(cursor)
            for name, (tag_id, _) in wanted.items():
                row = cursor.execute(_BUCKETS.format(view).encode(), [tag_id, first, last]).fetchone() or (None,) * 4
                for suffix, column in zip(("", ".min", ".max"), row[1:], strict=True):
                    made = Series.of([], []) if row[0] is None else Series.of(row[0], column)
                    parts[name + suffix] = made
                    self.units[name + suffix] = wanted[name][1]
        return self._wide(parts, quality=False)

    def _wide(self, parts: Mapping[str, Series], *, quality: bool) -> Frame:
        every = [one.ts_ns for one in parts.values()]
        same = all(len(one) == len(every[0]) and np.array_equal(one, every[0]) for one in every[1:])
        ticks: Ints = (
            every[0] if every and same else np.unique(np.concatenate(every)) if every else np.empty(0, np.int64)
        )
        columns: Columns = {"time": ticks}
        for name, rows in parts.items():
            place = slice(None) if same else np.searchsorted(ticks, rows.ts_ns)
            column = np.full(len(ticks), np.nan)
            column[place] = rows.value
            columns[name] = column
            if quality:
                codes = np.zeros(len(ticks), dtype=np.int64)
                codes[place] = rows.quality
                columns[f"{name}.quality"] = codes
        return self._framed(columns, index="time")

    def _span(self, machine: str | None, since: Moment, until: Moment) -> dict[str, Any]:
        asset = None if machine is None else self._asset(machine)
        return {"asset": asset, "since": self._moment(since), "until": self._moment(until)}

    def _moment(self, said: Moment) -> datetime:
        moment = datetime.fromisoformat(said) if isinstance(said, str) else said
        return moment if moment.tzinfo else moment.replace(tzinfo=self._zone)

    def _us(self, said: Moment) -> int:
        return round(self._moment(said).timestamp() * 1e6)

    def _columns(self, query: str, args: Mapping[str, Any]) -> Columns:
        cursor = self._db.execute(query.encode(), args)
        rows = cursor.fetchall()
        names = [one.name for one in cursor.description or ()]
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}

    def _asked(self, query: str, args: Mapping[str, Any], units: Mapping[str, str] = MappingProxyType({})) -> Frame:
        self.units = dict(units)
        return self._framed(self._columns(query, args))

    def _framed(self, columns: Columns, index: str | None = None) -> Frame:
        return (
            pandas_frame(columns, index, self._zone, self.units)
            if self._frames == "pandas"
            else polars_frame(columns, self._zone)
        )


def _days(first: int, last: int) -> Iterator[tuple[float, int, int]]:
    """[first, last) in pieces of a day, µs; with the share that is done after each."""
    step = round(DAY.total_seconds() * 1e6)
    for begin in range(first, last, step):
        until = min(begin + step, last)
        yield (until - first) / (last - first), begin, until


def _joined(parts: Sequence[Series]) -> Series:
    some = [one for one in parts if len(one)]
    if len(some) < 2:
        return some[0] if some else Series.of([], [])
    return Series(
        np.concatenate([one.ts_ns for one in some]), np.concatenate([one.value for one in some]),
        np.concatenate([one.quality for one in some]),
    )  # fmt: skip


def connect(dsn: str, *, zone: str = "Asia/Seoul", frames: Literal["pandas", "polars"] = "pandas") -> Plant:
    """A connection to a store, by a DSN of a role that may read (`rootdx_reader`).

    Raises:
        psycopg.OperationalError: no database there, or it refuses us.
    """
    return Plant(dsn, zone, frames)


_TAGS: Final = """
    SELECT a.path AS machine, t.name AS tag, t.role, t.unit, t.low, t.high, t.every_s
    FROM rootdx.tag t JOIN rootdx.asset a USING (asset_id)
    WHERE %(asset)s::text IS NULL OR a.path = %(asset)s ORDER BY a.path, t.tag_id"""
_TAG_IDS: Final = """
    SELECT t.tag_id, t.name, t.role, t.unit FROM rootdx.tag t JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s ORDER BY t.tag_id"""
_ROWS: Final = """
    SELECT array_agg(ts), array_agg(coalesce(value, 'NaN'::float8)), array_agg(quality) FROM rootdx.measurement
    WHERE tag_id = %s AND ts >= to_timestamp(0) + %s * INTERVAL '1 microsecond'
      AND ts < to_timestamp(0) + %s * INTERVAL '1 microsecond'"""
_BUCKETS: Final = """
    SELECT array_agg(bucket), array_agg(coalesce(sum / nullif(value_count, 0), 'NaN'::float8)),
           array_agg(coalesce(min, 'NaN'::float8)), array_agg(coalesce(max, 'NaN'::float8))
    FROM rootdx.{} WHERE tag_id = %s AND bucket >= to_timestamp(0) + %s * INTERVAL '1 microsecond'
      AND bucket < to_timestamp(0) + %s * INTERVAL '1 microsecond'"""
_CYCLES: Final = """
    SELECT c.cycle_id, c.asset AS machine, c.kind, c.lane, c.number, c.start_ts AS start, c.end_ts AS "end", c.seconds,
           c.verdict, c.flags, c.context, i.value, s.names, s.units
    FROM rootdx.cycles c JOIN rootdx.cycle i USING (cycle_id) LEFT JOIN rootdx.feature_set s USING (set_id)
    WHERE c.start_ts >= %(since)s AND c.start_ts < %(until)s
      AND (%(kind)s::text IS NULL OR c.kind = %(kind)s)
      AND (%(asset)s::text IS NULL OR c.asset = %(asset)s)
    ORDER BY c.start_ts, c.cycle_id"""
_FEATURES: Final = """
    SELECT * FROM rootdx.features WHERE start_ts >= %(since)s AND start_ts < %(until)s
      AND (%(kind)s::text IS NULL OR kind = %(kind)s)
      AND (%(asset)s::text IS NULL OR asset = %(asset)s)
    ORDER BY start_ts, cycle_id"""
_PHASES: Final = """
    SELECT cycle_id, asset AS machine, kind, lane, place, phase, start_ts AS start, end_ts AS "end", seconds
    FROM rootdx.phases WHERE cycle_id IN (
        SELECT cycle_id FROM rootdx.cycles WHERE start_ts >= %(since)s AND start_ts < %(until)s
          AND (%(kind)s::text IS NULL OR kind = %(kind)s)
          AND (%(asset)s::text IS NULL OR asset = %(asset)s))
    ORDER BY start_ts, cycle_id, place"""
_DEMANDS: Final = """
    SELECT asset AS machine, quarter, kw, kwh, nullif(reason, 'OK') AS reason FROM rootdx.demands
    WHERE quarter >= %(since)s AND quarter < %(until)s AND (%(asset)s::text IS NULL OR asset = %(asset)s)
    ORDER BY quarter, asset"""
_WAVES: Final = """
    SELECT w.ts, w.period_ns, w.channels, w.samples, w.value, w.encoding
    FROM rootdx.waveform w JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %(asset)s AND w.name = %(name)s AND w.ts >= %(since)s AND w.ts < %(until)s ORDER BY w.ts"""
_CHANNELS: Final = """
    SELECT c.channel, c.unit FROM rootdx.waveform_channel c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %(asset)s AND c.name = %(name)s ORDER BY c.place"""
_KPIS: Final = """
    SELECT * FROM rootdx.kpis WHERE shift_start >= %(since)s AND shift_start < %(until)s
      AND (%(asset)s::text IS NULL OR asset = %(asset)s)
    ORDER BY shift_start, asset, order_name"""
_ALARMS: Final = """
    SELECT * FROM rootdx.alarm_entries WHERE ts >= %(since)s AND ts < %(until)s
      AND (%(asset)s::text IS NULL OR asset = %(asset)s) ORDER BY entry_id"""
