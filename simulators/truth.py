"""The truth: what really happened, one JSON object a line, for whoever scores a platform.

- `{"kind": "fault", "machine", "type", "tag", "start_s", "end_s", "start_ns", "end_ns", "magnitude"}`, when serving
  begins.
- `{"kind": "cycle", "machine", "number", "start_ns", "end_ns", "phases": [{"name", "start_ns", "end_ns"}, ...],
  "features": {name: value}}`, once a cycle has ended; only cycles that began while it was served.
- `{"kind": "burst", "machine", "name", "ts_ns", "period_ns", "channels", "samples", "digest"}`, once its cycle has
  ended; `ts_ns` is to the microsecond, `digest` BLAKE2b (16 bytes) of the samples as little-endian float32, row by row.
- `{"kind": "served", "machine", "t_ns", "values": {tag: value}}`: exactly what left the device, in engineering units
  computed as raw * scale + offset. A value that is no finite number is null.
- `{"kind": "unanswered", "machine", "t_ns", "values"}`: the same, of what was sent and not acknowledged. Whether it
  arrived the device cannot know; a `served` line follows where it was sent again and acknowledged.

All `_ns` are wall time, ns UTC; `_s` are simulated seconds. Every line is written at once; nothing is kept in memory.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.faults import Faults
from simulators.signals import Burst, Cycle


class Truth:
    """Writes the truth of one machine; without a file it swallows everything."""

    def __init__(self, machine: str, file: TextIO | None = None) -> None:
        self._machine = machine
        self._file = file

    @property
    def wanted(self) -> bool:
        """Whether anybody will read it: the hot paths ask first."""
        return self._file is not None

    def faults(self, faults: Faults, clock: SimClock) -> None:
        """All faults of the timeline."""
        for fault in faults.entries:
            line = {"type": fault.type, "tag": fault.tag, "start_s": fault.start_s, "end_s": fault.end_s}
            line |= {"start_ns": clock.wall_ns(fault.start_s), "end_ns": clock.wall_ns(fault.end_s)}
            self._write("fault", line | {"magnitude": fault.magnitude})

    def cycle(self, cycle: Cycle, clock: SimClock) -> None:
        """One completed cycle."""
        phases = [
            {"name": p.name, "start_ns": clock.wall_ns(p.start_s), "end_ns": clock.wall_ns(p.end_s)}
            for p in cycle.phases
        ]
        line = {"number": cycle.number, "start_ns": clock.wall_ns(cycle.start_s), "end_ns": clock.wall_ns(cycle.end_s)}
        self._write("cycle", line | {"phases": phases, "features": dict(cycle.features)})

    def burst(self, burst: Burst, ts_ns: int, period_ns: int, digest: str) -> None:
        """One burst of a completed cycle."""
        line = {"name": burst.name, "ts_ns": ts_ns, "period_ns": period_ns, "channels": list(burst.channels)}
        self._write("burst", line | {"samples": len(burst.value), "digest": digest})

    def served(self, t_ns: int, values: Mapping[str, float]) -> None:
        """What left the device at `t_ns`."""
        self._values("served", t_ns, values)

    def unanswered(self, t_ns: int, values: Mapping[str, float]) -> None:
        """What was sent at `t_ns` and may have arrived."""
        self._values("unanswered", t_ns, values)

    def _values(self, kind: str, t_ns: int, values: Mapping[str, float]) -> None:
        if self._file is not None:
            finite = {tag: value if math.isfinite(value) else None for tag, value in values.items()}
            self._write(kind, {"t_ns": t_ns, "values": finite})

    def _write(self, kind: str, line: Mapping[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"kind": kind, "machine": self._machine, **line}, ensure_ascii=False) + "\n")


@contextmanager
def open_truth(machine: str, path: Path | None) -> Iterator[Truth]:
    """The truth file of a machine, appended to, line-buffered."""
    if path is None:
        yield Truth(machine)
        return
    try:
        file = path.open("a", encoding="utf-8", buffering=1)
    except OSError as exc:
        raise InputError(
            f"{path}: cannot write the truth file ({exc.strerror}); give a path in an existing folder"
        ) from exc
    with file:
        yield Truth(machine, file)
