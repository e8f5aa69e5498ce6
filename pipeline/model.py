"""All that flows from a device to the tables.

* Time is int64 nanoseconds UTC, values are float64 in the tag's unit (float32 in a burst), quality is an OPC UA status
  code.
* A value is NaN exactly where its quality is bad: bad never becomes a number, and a number is never silent.
* Everything is frozen and compared by value; arrays are read-only.
* A body carries its own names (asset path, tag names), so nothing upstream of the store needs the database.

A `Record` is one group commit of the spool: all bodies that became durable together, under one `seq`.
"""

import enum
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint32]
Indices = npt.NDArray[np.uint16]

EARLIEST_NS: Final = 946_684_800_000_000_000
"""2000-01-01 UTC: no plant computer lived before; an earlier row is a clock without battery."""
LATEST_NS: Final = 4_102_444_800_000_000_000 - 1
"""The last nanosecond before 2100-01-01 UTC."""
MOST_VALUES: Final = 1 << 20
"""Values of one waveform, all channels together: 4 MiB, which every broker takes; 26 s of two channels at 20 kHz."""
MOST_CHANNELS: Final = 64
"""Channels of one waveform."""
MINUTE_NS: Final = 60_000_000_000
HOUR_NS: Final = 60 * MINUTE_NS


class Quality(enum.IntEnum):
    """OPC UA status codes in use (OPC 10000-6 StatusCode.csv); bits 31-30 say good, uncertain or bad."""

    GOOD = 0x0000_0000
    GOOD_LOCAL_OVERRIDE = 0x0096_0000
    UNCERTAIN = 0x4000_0000
    UNCERTAIN_NO_COMMUNICATION_LAST_USABLE = 0x408F_0000
    UNCERTAIN_LAST_USABLE = 0x4090_0000
    UNCERTAIN_SENSOR_NOT_ACCURATE = 0x4093_0000
    UNCERTAIN_UNITS_EXCEEDED = 0x4094_0000
    UNCERTAIN_SIMULATED = 0x4209_0000
    BAD = 0x8000_0000
    BAD_COMMUNICATION_ERROR = 0x8005_0000
    BAD_NO_COMMUNICATION = 0x8031_0000
    BAD_TYPE_MISMATCH = 0x8074_0000
    BAD_CONFIGURATION_ERROR = 0x8089_0000
    BAD_DEVICE_FAILURE = 0x808B_0000
    BAD_SENSOR_FAILURE = 0x808C_0000
    BAD_OUT_OF_SERVICE = 0x808D_0000
    BAD_NO_DATA = 0x809B_0000


BAD_BIT: Final = np.uint32(0x8000_0000)
UNCERTAIN_BIT: Final = np.uint32(0x4000_0000)


class Severity(enum.IntEnum):
    """How much an event matters, in the bands of OPC UA part 9 (1 to 1000)."""

    INFO = 100
    WARNING = 400
    ERROR = 700
    CRITICAL = 900


class Phase(enum.StrEnum):
    """What an event says of its condition."""

    RAISED = "raised"
    CLEARED = "cleared"
    NOTE = "note"


class Cause(enum.StrEnum):
    """Why an expected row is missing. The order is the order of the columns of `tally`."""

    UNREACHABLE = "unreachable"  # the device did not answer
    LATE = "late"  # the previous scan was still running when the tick was due
    GATEWAY_DOWN = "gateway_down"  # no gateway was running, or it died before the row was durable
    SPOOL_FULL = "spool_full"  # dropped by the spool's cap or by a full disk
    QUARANTINED = "quarantined"  # arrived, could not be stored, lies in the quarantine
    MACHINE_OFF = "machine_off"  # the machine file says that silence is normal in this state


CAUSES: Final = tuple(Cause)


def _column(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The column itself where nobody can write it, else a view that nobody can write."""
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and not flags.writeable:
        return array
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


class _ByValue:
    """Equality field by field that knows arrays (NaN equals NaN: both say "no good value")."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        for f in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            mine, theirs = getattr(self, f.name), getattr(other, f.name)
            if isinstance(mine, np.ndarray):
                if not np.array_equal(mine, theirs, equal_nan=mine.dtype.kind == "f"):
                    return False
            elif mine != theirs:
                return False
        return True

    __hash__ = None  # type: ignore[assignment]  # arrays inside


@dataclass(frozen=True, slots=True, eq=False)
class Batch(_ByValue):
    """One machine's rows as columns, in reading order.

    Attributes:
        asset: ISA-95 path `enterprise/site/area/line/cell`.
        tags: names of the tags; at most 65,535.
        ts_ns: (n,) source time.
        tag: (n,) index into `tags`.
        value: (n,) in the tag's unit, NaN where quality is bad.
        quality: (n,) OPC UA status codes.
    """

    asset: str
    tags: tuple[str, ...]
    ts_ns: Int64s
    tag: Indices
    value: Floats
    quality: Codes

    def __post_init__(self) -> None:
        n = len(self.ts_ns)
        if not (len(self.tag) == len(self.value) == len(self.quality) == n):
            lengths = (n, len(self.tag), len(self.value), len(self.quality))
            raise ValueError(f"batch of {self.asset}: columns of different length {lengths}")
        for name, dtype in _BATCH_COLUMNS:
            object.__setattr__(self, name, _column(getattr(self, name), dtype))

    def __len__(self) -> int:
        return len(self.ts_ns)

    @classmethod
    def made_of(
        cls, asset: str, tags: tuple[str, ...], ts_ns: Int64s, tag: Indices, value: Floats, quality: Codes
    ) -> "Batch":
        """Columns that are right already: of equal length and the right type, contiguous, and written by nobody.

        For the one place where a hundred thousand batches a second are read back; a third of the time.
        """
        made = object.__new__(cls)
        put = object.__setattr__
        put(made, "asset", asset)
        put(made, "tags", tags)
        put(made, "ts_ns", ts_ns)
        put(made, "tag", tag)
        put(made, "value", value)
        put(made, "quality", quality)
        return made

    @classmethod
    def of(
        cls,
        asset: str,
        tags: tuple[str, ...],
        ts_ns: npt.ArrayLike,
        tag: npt.ArrayLike,
        value: npt.ArrayLike,
        quality: npt.ArrayLike = Quality.GOOD,
    ) -> "Batch":
        """Rows from raw readings, with the invariants enforced. Scalars are spread over all rows.

        A NaN or infinite value that claims to be good becomes BAD_SENSOR_FAILURE; the value of a bad row becomes NaN.
        """
        values = np.array(value, dtype=np.float64, ndmin=1)
        n = len(values)
        codes = np.array(np.broadcast_to(np.asarray(quality, dtype=np.uint32), n))
        codes[~np.isfinite(values) & (codes < BAD_BIT)] = Quality.BAD_SENSOR_FAILURE
        values[codes >= BAD_BIT] = np.nan
        stamps = np.array(np.broadcast_to(np.asarray(ts_ns, dtype=np.int64), n))
        return cls(asset, tags, stamps, np.array(np.broadcast_to(np.asarray(tag, np.uint16), n)), values, codes)


_BATCH_COLUMNS: Final = (
    ("ts_ns", np.dtype(np.int64)),
    ("tag", np.dtype(np.uint16)),
    ("value", np.dtype(np.float64)),
    ("quality", np.dtype(np.uint32)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Tally(_ByValue):
    """How many rows were expected of a tag in a minute, and how many are missing for which cause.

    Counted by the gateway from its own clock, never from what arrives in the tables, so that
    Σ expected = Σ stored + Σ missing is a check and not a definition. Several tallies of one minute add up.

    Attributes:
        asset: ISA-95 path.
        tags: names of the tags.
        minute_ns: (n,) start of the minute.
        tag: (n,) index into `tags`.
        expected: (n,) rows that were due.
        missing: (n, len(CAUSES)) rows that will never arrive, by cause.
    """

    asset: str
    tags: tuple[str, ...]
    minute_ns: Int64s
    tag: Indices
    expected: Int64s
    missing: Int64s

    def __post_init__(self) -> None:
        n = len(self.minute_ns)
        if not (len(self.tag) == len(self.expected) == n and self.missing.shape == (n, len(CAUSES))):
            raise ValueError(f"tally of {self.asset}: columns of different length")
        for name, dtype in _TALLY_COLUMNS:
            object.__setattr__(self, name, _column(getattr(self, name), dtype))

    def __len__(self) -> int:
        return len(self.minute_ns)


_TALLY_COLUMNS: Final = (
    ("minute_ns", np.dtype(np.int64)),
    ("tag", np.dtype(np.uint16)),
    ("expected", np.dtype(np.int64)),
    ("missing", np.dtype(np.int64)),
)

_EVENT_NAMESPACE: Final = uuid.UUID("6d9a4a5e-0a3b-5c53-9a44-5d6b3b0f1c11")


@dataclass(frozen=True, slots=True)
class Event:
    """A named thing that happened: a state, an alarm text, a lot, a machine's description, a loss.

    Attributes:
        asset: ISA-95 path of what it is about (a gateway's own events use `gateway/<name>`).
        kind: slug, e.g. `device.unreachable`, `loss`, `machine.declared`.
        ts_ns: when it happened.
        text: for people, already in the plant's language or language-neutral.
        key: tells conditions of one kind apart (a tag, a range of seq).
        onset_ns: when the condition began; RAISED and CLEARED of one condition share it and so share an `id`.
        data: JSON object.
    """

    asset: str
    kind: str
    ts_ns: int
    text: str
    phase: Phase = Phase.NOTE
    severity: Severity = Severity.INFO
    key: str = ""
    onset_ns: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> uuid.UUID:
        """Computed from what the event says, so that writing it twice is writing it once."""
        onset = self.ts_ns if self.onset_ns is None else self.onset_ns
        return uuid.uuid5(_EVENT_NAMESPACE, json.dumps([self.asset, self.kind, self.key, onset]))


@dataclass(frozen=True, slots=True, eq=False)
class Waveform(_ByValue):
    """A burst: the channels of one shot, weld or stroke, sampled together at one fixed period.

    Its identity is (asset, name, ts_ns): the same burst sent twice is stored once.

    Attributes:
        asset: ISA-95 path `enterprise/site/area/line/cell`.
        name: which waveform of the machine, as `shot.curve`.
        ts_ns: time of the first sample.
        period_ns: time from one sample to the next, at least 1.
        channels: (k,) names of the columns, all different.
        value: (n, k) in the channels' units, NaN = no good sample; read-only.
        quality: OPC UA status code of the whole burst.
    """

    asset: str
    name: str
    ts_ns: int
    period_ns: int
    channels: tuple[str, ...]
    value: Singles
    quality: int = Quality.GOOD

    def __post_init__(self) -> None:
        if self.value.ndim != 2 or self.value.shape[1] != len(self.channels) or not self.value.size:
            raise ValueError(
                f"waveform {self.name} of {self.asset}: shape {self.value.shape}, expected (n, {len(self.channels)})"
            )
        if self.value.size > MOST_VALUES or len(self.channels) > MOST_CHANNELS:
            raise ValueError(
                f"waveform {self.name} of {self.asset}: shape {self.value.shape}, at most {MOST_VALUES} values in "
                f"{MOST_CHANNELS} channels are carried"
            )
        if len(set(self.channels)) != len(self.channels):
            raise ValueError(f"waveform {self.name} of {self.asset}: a channel appears twice in {self.channels}")
        if self.period_ns < 1:
            raise ValueError(f"waveform {self.name} of {self.asset}: period_ns = {self.period_ns}, expected at least 1")
        object.__setattr__(self, "value", _column(self.value, _SINGLE))

    def __len__(self) -> int:
        return len(self.value)


_SINGLE: Final = np.dtype(np.float32)

Body = Batch | Tally | Event | Waveform


@dataclass(frozen=True, slots=True)
class Record:
    """One group commit of one spool: what crosses the bus and is committed whole or not at all.

    Attributes:
        source: name of the gateway.
        epoch: identity of the spool folder.
        seq: position in that spool; strictly increasing, not always by one.
        previous: seq of the record before this one, 0 where there is none. A reader whose last is at least
            `previous` has missed nothing.
        gateway_ns: gateway clock when the record was made durable.
        bodies: what it carries, in the order in which it was appended.
    """

    source: str
    epoch: uuid.UUID
    seq: int
    previous: int
    gateway_ns: int
    bodies: tuple[Body, ...]


def rows_of(bodies: Sequence[Body]) -> int:
    """Measurement rows among the bodies."""
    return sum(len(body) for body in bodies if isinstance(body, Batch))


def waveforms_of(bodies: Sequence[Body]) -> int:
    """Waveforms among the bodies."""
    return sum(isinstance(body, Waveform) for body in bodies)


def weight_of(bodies: Sequence[Body]) -> int:
    """How much there is to carry, in rows: five values of a waveform take the place of one row."""
    return rows_of(bodies) + sum(body.value.size for body in bodies if isinstance(body, Waveform)) // 5
