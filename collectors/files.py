"""A folder into which a machine drops CSV files, one burst each; see files.md.

* A file is read when it has not changed for `settle_s` and stored once; when it is durable, and only then, it is left
  alone, moved or deleted.
* What was read is remembered in the spool, in the same append as the waveform: a restart reads nothing twice.
* A file that cannot be read is told once and passed over until it, or the machine file, changes.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import Field, PositiveFloat

from collectors.bursts import check_size, period_ns, plausible, refused, shaped
from collectors.csv_burst import Layout, Table
from collectors.folder import DONE, After, File, Folder, Memory
from collectors.source import Arrival, Opening, Reading, Source
from pipeline.errors import BadData, Unavailable
from pipeline.model import MOST_VALUES, Body, Floats, Waveform
from pipeline.plant import Tag, WaveformEntry, Zone

log = logging.getLogger(__name__)

NAME_FORMAT: Final = "%Y%m%dT%H%M%S.%fZ"
_DIRECTIVES: Final = {
    "%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{2}", "%d": r"\d{2}", "%H": r"\d{2}", "%M": r"\d{2}", "%S": r"\d{2}",
    "%f": r"\d{1,6}", "%j": r"\d{3}", "%z": r"(?:[+-]\d{2}:?\d{2}|Z)", "%%": "%",
}  # fmt: skip
_UNIT_S: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_FARTHEST_S: Final = 1e12
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TOGETHER: Final = 32
"""Files of one reading at most."""


class Files(Source):
    """A folder of CSV files."""

    protocol: Literal["files"] = "files"
    folder: Path
    """Watched; it must exist."""
    settle_s: PositiveFloat = 2.0
    """A file that has not changed for so long is complete."""
    after: After = "keep"
    """What becomes of a file that is stored; `move`: into the folder `done` within."""
    time: Literal["name", "column", "mtime"] = "name"
    """Where the time of the first sample is found; `mtime` is taken as the time of the last one."""
    time_format: str | None = None
    """strptime format of the time in the name, default %Y%m%dT%H%M%S.%fZ, or in the column, default ISO 8601."""
    time_zone: Zone = "UTC"
    """Of times that say none themselves."""
    time_column: str = "time_s"
    """Heading of the samples' times; without such a column the period comes from the machine file."""
    time_unit: Literal["s", "ms", "us"] = "s"
    """Unit of numbers in that column."""
    encoding: str | None = None
    delimiter: Literal["\t", ";", "|", ",", ":", " "] | None = None
    decimal: Literal[".", ","] | None = None
    header_row: Annotated[int, Field(ge=0)] = 1
    """Line of the headings, counted without empty lines; 0: none, and addresses are places as #2."""
    max_mb: PositiveFloat = 64.0
    """A larger file is refused unread."""

    @property
    def arrival(self) -> Arrival:
        """The folder keeps what comes while nobody looks."""
        return "kept"

    def check(self, tags: Sequence[Tag]) -> None:
        """Refuses tags and times that cannot be read."""
        if tags:
            raise ValueError(
                f"tag {tags[0].name!r}: files bring waveforms, no tags; read tags from [source] and name the folder in "
                "[waveform_source], or write tag = []"
            )
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise ValueError(f"encoding = {self.encoding!r}: unknown; examples: cp949, utf-8, utf-16, latin-1")
        if self.time == "name":
            _name_pattern(self.time_format or NAME_FORMAT)

    def check_waveforms(self, waveforms: Sequence[WaveformEntry]) -> None:
        """Refuses addresses that are no pattern of file names in the folder."""
        for one in waveforms:
            path = PurePosixPath(pattern_of(one))
            if path.is_absolute() or ".." in path.parts or path.parts[:1] == (DONE,):
                raise ValueError(
                    f"waveform {one.name!r}: address {one.address!r} is no pattern of files in the folder, "
                    "e.g. 'shot_*.csv' or '*/shot_*.csv'"
                )

    def open(self, opening: Opening) -> AbstractAsyncContextManager["FilesSession"]:
        """A look at the folder."""
        return _open(self, opening)


def pattern_of(entry: WaveformEntry) -> str:
    """Which files of the folder hold this waveform."""
    return entry.address or f"{entry.name}_*.csv"


def _is_encoding(name: str) -> bool:
    try:
        "".encode(name)
    except LookupError:
        return False
    return True


def _name_pattern(text: str) -> re.Pattern[str]:
    pieces = re.split(r"(%.)", text)
    unknown = [piece for piece in pieces[1::2] if piece not in _DIRECTIVES]
    if unknown or len(pieces) < 3:
        raise ValueError(
            f"time_format = {text!r}: expected the parts of a date as {' '.join(_DIRECTIVES)}, e.g. {NAME_FORMAT}"
        )
    return re.compile("".join(_DIRECTIVES.get(piece) or re.escape(piece) for piece in pieces))


@asynccontextmanager
async def _open(source: Files, opening: Opening) -> AsyncIterator["FilesSession"]:
    if not await asyncio.to_thread(source.folder.is_dir):
        raise Unavailable(f"{source.folder}: no such folder; is it mounted?")
    yield FilesSession(source, opening)


class FilesSession:
    """Looks into the folder every `every_s`."""

    def __init__(self, source: Files, opening: Opening) -> None:
        self._source, self._opening = source, opening
        self._entries = {entry.name: entry for entry in opening.waveforms}
        said = [source.model_dump_json(), *(entry.model_dump_json() for entry in opening.waveforms)]
        self._memory = Memory(opening.memory, "".join(said))
        patterns = {entry.name: pattern_of(entry) for entry in opening.waveforms}
        self._folder = Folder(source.folder, patterns, source.settle_s, source.after, self._memory)

    async def readings(self) -> AsyncIterator[Reading]:
        """Some complete files at a time; the resumption moves or deletes them, if that is wanted."""
        while True:
            ready: Sequence[File] = await asyncio.to_thread(self._folder.look)
            while ready:
                part, ready = await asyncio.to_thread(self._part, ready)
                if part:
                    for file, body in part:
                        self._folder.learn(file, ready, refused=not isinstance(body, Waveform))
                    yield Reading(tuple(body for _, body in part), memory=self._memory.text())
                    await asyncio.to_thread(self._folder.put_away, [file for file, _ in part])
            await asyncio.sleep(self._source.every_s)

    def _part(self, ready: Sequence[File]) -> tuple[list[tuple[File, Body]], Sequence[File]]:
        """What the next files hold, as many as fit into a reading, and the files that are left."""
        part: list[tuple[File, Body]] = []
        size = 0
        for place, file in enumerate(ready):
            body = self._read(file)
            more = body.value.size if isinstance(body, Waveform) else 0
            if part and (size + more > MOST_VALUES or len(part) >= _TOGETHER):
                return part, ready[place:]
            if body is not None:
                part.append((file, body))
                size += more
        return part, ()

    # ---- reading ----

    def _read(self, file: File) -> Body | None:
        """A waveform, or the event that says why not; None where the file changed meanwhile."""
        try:
            self._check_size(file)
            content = file.path.read_bytes()
            return self._waveform(file, content) if file.is_same() else None
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._refuse(file, BadData(f"cannot be read: {error.strerror or error}; let this user read it"))
        except BadData as error:
            return self._refuse(file, error)

    def _check_size(self, file: File) -> None:
        if file.size > self._source.max_mb * 1e6:
            raise BadData(f"{file.size / 1e6:.1f} MB, at most {self._source.max_mb:g} are read; see max_mb")

    def _refuse(self, file: File, error: BadData) -> Body:
        name = file.path.relative_to(self._source.folder).as_posix()
        log.warning("file refused asset=%s file=%s error=%s", self._opening.asset, name, error)
        told = BadData(f"{name}: {error}")
        return refused(self._opening.asset, file.label, self._opening.clock(), told, file=name)

    def _waveform(self, file: File, content: bytes) -> Waveform:
        source, entry = self._source, self._entries[file.label]
        table = Table(content, Layout(source.encoding, source.delimiter, source.decimal, source.header_row))
        check_size(entry, len(table))
        columns = [table.numbers(channel.address or channel.name) for channel in entry.channel]
        start_s, period_s = self._times(table)
        if source.time == "mtime":
            ts_ns = file.modified_ns - (len(table) - 1) * period_ns(entry, period_s)
        elif source.time == "column":
            ts_ns = round(start_s * 1e6) * 1000
        else:
            ts_ns = self._time_in(file.path.name) + round(start_s * 1e9)
        now = self._opening.clock()
        if not plausible(ts_ns, now):
            stamp = np.datetime_as_string(np.datetime64(ts_ns // 1_000_000_000, "s"))
            raise BadData(f"says it began at {stamp}Z; check time, time_format and time_zone")
        return shaped(self._opening.asset, entry, ts_ns, period_s, columns)

    def _times(self, table: Table) -> tuple[float, float | None]:
        """Seconds of the first sample (since 1970, or since the time in the name), and from one sample to the next."""
        source, n = self._source, len(table)
        if not table.has(source.time_column):
            if source.time == "column":
                table.texts(source.time_column)  # says which columns there are
            return 0.0, None
        try:
            numbers = table.numbers(source.time_column)
        except BadData:
            if source.time != "column":
                return 0.0, None
        else:
            return _even(numbers, _UNIT_S[source.time_unit])
        cells = table.texts(source.time_column)
        first, last = self._moment(cells[0]), self._moment(cells[-1])
        return first, (last - first) / (n - 1) if n > 1 else None

    def _moment(self, cell: str) -> float:
        """Seconds since 1970 of a time written as text."""
        form = self._source.time_format
        try:
            then = datetime.strptime(cell.strip(), form) if form else datetime.fromisoformat(cell.strip())  # noqa: DTZ007
        except ValueError as error:
            raise BadData(f"{cell!r} is no time of the form {form or 'ISO 8601'}; see time_format") from error
        return self._since_1970(then, utc=bool(form and form.endswith("Z"))) / 1_000_000

    def _time_in(self, name: str) -> int:
        """Nanoseconds since 1970 of the time in a file name."""
        form = self._source.time_format or NAME_FORMAT
        found = _name_pattern(form).search(name)
        try:
            then = datetime.strptime(found[0] if found else "", form)  # noqa: DTZ007  # its zone is put on below
        except ValueError as error:
            raise BadData(f"no time of the form {form} in its name; see time and time_format") from error
        return self._since_1970(then, utc=form.endswith("Z")) * 1000

    def _since_1970(self, then: datetime, *, utc: bool) -> int:
        """Microseconds."""
        zone = UTC if utc else ZoneInfo(self._source.time_zone)
        aware = then if then.tzinfo else then.replace(tzinfo=zone)
        return (aware - _EPOCH) // timedelta(microseconds=1)


def _even(times: Floats, unit_s: float) -> tuple[float, float | None]:
    """First moment and period, in seconds, of samples that are evenly spaced; coarse clocks are forgiven.

    Raises:
        BadData: they are not.
    """
    if not np.isfinite(times).all() or np.abs(times).max() * unit_s > _FARTHEST_S:
        raise BadData("the column of times holds a cell that is no time")
    n, since_s = len(times), (times - times[0]) * unit_s
    if n == 1:
        return float(times[0]) * unit_s, None
    period_s = float(since_s[-1]) / (n - 1)
    if period_s <= 0:
        raise BadData("the column of times does not rise from row to row")
    off_s = np.abs(since_s - period_s * np.arange(n)).max()
    steps_s = np.diff(since_s)
    if off_s > max(period_s / 2, steps_s[steps_s > 0].min(), since_s[-1] / 1000):
        raise BadData(f"samples are not evenly spaced: one is {off_s:.4g} s off a period of {period_s:.4g} s")
    return float(times[0]) * unit_s, period_s
