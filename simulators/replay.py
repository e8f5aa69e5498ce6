"""A recorded CSV as a Modbus machine, at any speed.

- Numeric columns become float64 holding registers, four each (ABCD); others are left out and named in `left_out`.
- `row` (0-based) is at register 0; `source_time_ms` (epoch ms) at 4 if there is a time column; then the columns.
- At a speed, recorded time runs that many times as fast. At "max" a row stays until the next read request that
  starts at holding register 0; so one request a row sees each row exactly once, and a wide row may take several.
- Coil 0, `done`, becomes 1 when the last row has been read to its end; that row stays.
"""

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tomli_w
from numpy.typing import NDArray

from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.recording import Recording
from simulators.registers import Table
from simulators.serve_modbus import Request
from simulators.truth import Truth

MAX_READ = 125
_WORDS = 4
Speed = float | Literal["max"]


@dataclass(frozen=True, slots=True)
class ReplayTag:
    """A tag of a replayed machine; `column` is the heading in the file."""

    name: str
    column: str
    address: str


def replay_tags(recording: Recording) -> tuple[ReplayTag, ...]:
    """All register tags in address order, `row` first."""
    columns = ["row", *(["source_time_ms"] if recording.time_ms is not None else []), *recording.columns]
    taken: dict[str, int] = {"done": 1}
    tags = []
    for place, column in enumerate(columns):
        slug = re.sub(r"[^a-z0-9_.-]+", "_", column.lower()).strip("_.-") if column.isascii() else ""
        slug = slug or f"c{place:03d}"
        taken[slug] = taken.get(slug, 0) + 1
        name = slug if taken[slug] == 1 else f"{slug}_{taken[slug]}"
        tags.append(ReplayTag(name, column, f"holding:{place * _WORDS}:float64"))
    return tuple(tags)


class ReplayDevice:
    """A recording as registers; `answer` and `left` as in `serve_modbus.Device`."""

    def __init__(self, recording: Recording, speed: Speed, clock: SimClock, truth: Truth) -> None:
        self.tags = replay_tags(recording)
        self._values = _table(recording)
        self._words = self._values.astype(">f8").view(">u2").astype(np.uint16)
        self._times_s = recording.elapsed_s()
        self._speed = speed
        self._clock = clock
        self._truth = truth
        self._row = -1
        self._reached = 0

    @property
    def rows(self) -> int:
        """Rows of the recording."""
        return len(self._values)

    def extents(self) -> Mapping[Table, Sequence[tuple[int, int]]]:
        """One block of holding registers and the `done` coil."""
        return {"holding": ((0, self._words.shape[1]),), "coil": ((0, 1),)}

    def answer(self, request: Request) -> list[int]:
        """Registers of the row that is current now."""
        if request.table == "coil":
            return [int(self._done()), *([0] * (request.count - 1))]
        if self._speed != "max":
            self._row = max(1, bisect_right(self._times_s, self._clock.now_s())) - 1
        elif (request.address == 0 or self._row < 0) and self._row < self.rows - 1:
            self._row += 1
            self._reached = 0
        end = request.address + request.count
        if request.address <= self._reached:
            self._reached = max(self._reached, end)
        words: list[int] = self._words[self._row, request.address : end].tolist()
        return words

    def left(self, request: Request, words: Sequence[int]) -> None:
        """Tell the truth about the columns that lie wholly in the answer."""
        if not self._truth.wanted:
            return
        if request.table == "coil":
            self._truth.served(self._clock.wall(), {"done": float(words[0])})
            return
        first, last = -(-request.address // _WORDS), (request.address + len(words)) // _WORDS
        names = [tag.name for tag in self.tags[first:last]]
        self._truth.served(
            self._clock.wall(), dict(zip(names, self._values[self._row, first:last].tolist(), strict=True))
        )

    def _done(self) -> bool:
        if self._speed != "max":
            return self._clock.now_s() > self._times_s[-1]
        return self._row == self.rows - 1 and self._reached >= self._words.shape[1]


def _table(recording: Recording) -> NDArray[np.float64]:
    """Row number, time and columns side by side, shape (rows, tags)."""
    parts = [np.arange(len(recording.values), dtype=np.float64)[:, None]]
    if recording.time_ms is not None:
        parts.append(recording.time_ms[:, None])
    return np.hstack([*parts, recording.values])


@dataclass(frozen=True, slots=True)
class MachineFile:
    """What a machine file says that a recording does not know."""

    path: str = "replay/line1/replay1"
    name: str = "재생 설비 / replayed machine"
    process: str = "casting"
    host: str = "127.0.0.1"
    port: int = 15023
    unit_id: int = 1
    every_s: float = 1.0
    timeout_s: float = 0.5


def machine_toml(recording: Recording, about: MachineFile) -> str:
    """The machine file that reads a replayed recording, as TOML text."""
    source = {"protocol": "modbus", "host": about.host, "port": about.port, "unit_id": about.unit_id}
    source |= {"every_s": about.every_s, "timeout_s": about.timeout_s, "max_registers": MAX_READ}
    tables = _table(recording)
    tags: list[dict[str, object]] = []
    for tag, column in zip(replay_tags(recording), tables.T, strict=True):
        tags.append(_tag(tag.name, tag.address, _range(column), tag.column))
    tags.append(_tag("done", "coil:0", [0.0, 1.0], "recording has ended"))
    document = {"path": about.path, "name": about.name, "process": about.process, "source": source, "tag": tags}
    return tomli_w.dumps(document)


def write_machine_file(recording: Recording, path: Path, about: MachineFile) -> None:
    """Write `machine_toml` to a file."""
    try:
        path.write_text(machine_toml(recording, about), encoding="utf-8")
    except OSError as exc:
        raise InputError(f"{path}: cannot write the machine file ({exc.strerror})") from exc


def _tag(name: str, address: str, limits: list[float], text: str) -> dict[str, object]:
    return {"name": name, "role": name, "unit": "1", "range": limits, "address": address, "text": text}


def _range(column: NDArray[np.float64]) -> list[float]:
    """Twice the recorded span, so that a replayed value is never out of range."""
    finite = column[np.isfinite(column)]
    if not len(finite):
        return [0.0, 1.0]
    low, high = float(finite.min()), float(finite.max())
    margin = (high - low) / 2.0 or max(1.0, math.fabs(low) / 2.0)
    return [low - margin, high + margin]
