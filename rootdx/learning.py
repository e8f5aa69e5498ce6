"""What `rootdx learn` does: normal rows from the store or a file, into the baseline that a detector names."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from analytics.baseline import Baseline, Origin, learned, outlying, write_baseline
from analytics.feature_table import Wish, of_cycles
from analytics.machines import Watched
from analytics.profile_table import of_profiles
from analytics.table import Table
from analytics.watching import Watching
from pipeline.errors import BadData, ConfigError
from pipeline.migrate import Connection
from rootdx import backtesting
from rootdx.csv_table import CsvWish
from rootdx.export import Cell, Table as Sheet, column
from rootdx.invocation import ask
from rootdx.moments import Span
from rootdx.texts import say

SOURCE: Final = "store"


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What is learned from.

    Attributes:
        table: the range, without memory.
        excluded: rows of it that are not normal, by reason.
        asset: machine; empty for a file.
        source: `store`, or the file's name.
        since: first moment.
        until: the moment after the last.
    """

    table: Table
    excluded: Mapping[str, int]
    asset: str
    source: str
    since: datetime
    until: datetime


def target(watching: Watching, out: Path | None) -> Path:
    """Where the baseline goes.

    Raises:
        ConfigError: the detector learns nothing, or nobody names a file.
    """
    if not watching.detector.learns:
        raise ConfigError(say("learn.nothing_to_learn", name=watching.name, kind=watching.detector.kind))
    file = out or watching.view.baseline
    if file is None:
        raise ConfigError(say("learn.no_file", name=watching.name))
    return file


async def stored(db: Connection, machine: Watched, watching: Watching, span: Span) -> Rows:
    """The rows of a span of a machine.

    Raises:
        BadData: the machine has sent nothing.
    """
    first, last = (round(one.timestamp() * 1e6) * 1000 for one in (span.first, span.last))
    if watching.is_of_cycles:
        found = await ask(db, "SELECT asset_id FROM rootdx.asset WHERE path = %s", [machine.asset])
        if not found:
            raise BadData(say("backtest.nothing", machine=machine.asset))
        wish = Wish(found[0][0], watching.view.on, watching.view.of, watching.view.by)
        if watching.view.profile is None:
            cycles = await of_cycles(db, wish, first, last)
        else:
            cycles = await of_profiles(db, machine.asset, wish, watching.view.profile, first, last)
        table, excluded = cycles.table, Counter(why for why in cycles.why if why)
    else:
        table, begin = await backtesting.stored(db, machine, watching, span)
        table = table.take(table.ts_ns >= begin)
        excluded = Counter({"phase": int((~table.normal).sum())})
    return Rows(table, excluded, machine.asset, SOURCE, span.first, span.last)


def from_file(wish: CsvWish, watching: Watching, zone: ZoneInfo) -> tuple[Rows, int]:
    """The rows of a file, and how many cells of it could not be read.

    Raises:
        BadData: as `csv_table.read_csv`.
    """
    table, _, unreadable = backtesting.from_file(wish, watching, zone)
    since, until = (datetime.fromtimestamp(int(ts) / 1e9, UTC) for ts in (table.ts_ns[0], table.ts_ns[-1] + 1000))
    excluded = {"left_out": int((~table.normal).sum())}
    return Rows(table, excluded, "", wish.file.name, since, until), unreadable


def learn(watching: Watching, rows: Rows, outliers: float, now: datetime, file: Path) -> tuple[Baseline, Table]:
    """Writes the baseline of the normal rows; also returns the table with what was left out.

    Args:
        watching: the detector and what it looks at.
        rows: what to learn from.
        outliers: robust sigma of one variable beyond which a row is left out; 0 keeps all.
        now: when.
        file: where to.

    Raises:
        BadData: no context has rows enough.
        ConfigError: the file cannot be written.
    """
    table = rows.table
    missing = table.normal & ~np.isfinite(table.value).any(axis=1)
    table = replace(table, normal=table.normal & ~missing)
    far = outlying(table, outliers) if outliers > 0 else np.zeros(len(table), dtype=np.bool_)
    table = replace(table, normal=table.normal & ~far)
    told = {**rows.excluded, "missing": int(missing.sum()), "outlier": int(far.sum())}
    origin = Origin(
        asset=rows.asset,
        on=watching.view.on,
        by=watching.view.by,
        source=rows.source,
        since=rows.since.isoformat(),
        until=rows.until.isoformat(),
        learned_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        excluded={why: count for why, count in told.items() if count},
    )
    found = learned(watching.detector, table, origin)
    if not found.groups:
        raise BadData(say("learn.too_few", rows=int(table.normal.sum()), all=len(table), kind=watching.detector.kind))
    return write_baseline(found, file), table


def sheets(baseline: Baseline, table: Table, zone: str) -> list[Sheet]:
    """What was learned, by context, and what was left out, by reason."""
    counts: Sequence[tuple[str, int]] = [
        (name, int(table.normal[table.of_group(number)].sum())) for number, name in enumerate(table.groups)
    ]
    contexts: list[list[Cell]] = [
        [name or "–", count, say("learn.yes" if name in baseline.groups else "learn.no")] for name, count in counts
    ]
    left_out: list[list[Cell]] = [
        [say(f"learn.why.{why}"), count] for why, count in sorted(baseline.origin.excluded.items())
    ]
    return [
        Sheet("contexts", say("learn.title"), [column("context"), column("rows", "whole"), column("learned")], contexts,
              zone),
        Sheet("left_out", say("learn.left_out"), [column("reason"), column("rows", "whole")], left_out, zone),
    ]  # fmt: skip
