"""Raw columns of a burst to a waveform in engineering units: the same rules for every protocol.

* value = raw · scale + offset, in the channel's unit, as float32.
* What is no finite float32 is NaN: no good sample.
* A burst that cannot be carried is refused with a sentence, an event and a count; the stream goes on.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline import metrics
from pipeline.errors import BadData
from pipeline.model import EARLIEST_NS, LATEST_NS, MOST_VALUES, Event, Floats, Quality, Severity, Waveform
from pipeline.plant import WaveformEntry

FIRST_NS: Final = EARLIEST_NS + 366 * 86_400_000_000_000
"""2001-01-01 UTC: clocks whose battery is empty begin at 2000-01-01, and count on from there."""
AHEAD_NS: Final = 86_400_000_000_000
"""A time further ahead than this is no time."""
LONGEST_PERIOD_S: Final = 3600.0


def plausible(ts_ns: int, now_ns: int) -> bool:
    """Whether a device's time can be believed."""
    return FIRST_NS <= ts_ns <= min(LATEST_NS, now_ns + AHEAD_NS)


def shaped(
    asset: str,
    entry: WaveformEntry,
    ts_ns: int,
    period_s: float | None,
    columns: Sequence[npt.NDArray[Any]],
    quality: int = Quality.GOOD,
) -> Waveform:
    """A waveform of raw columns, one a channel in the order of the file.

    Raises:
        BadData: it cannot be carried; says why and what to do.
    """
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or not lengths.isdisjoint({0}):
        said = ", ".join(f"{c.name} {len(column)}" for c, column in zip(entry.channel, columns, strict=True))
        raise BadData(f"waveform {entry.name}: expected equally many samples, at least 1, in every channel; got {said}")
    check_size(entry, len(columns[0]))
    value = np.empty((len(columns[0]), len(columns)), np.float32)
    with np.errstate(all="ignore"):
        for place, (channel, column) in enumerate(zip(entry.channel, columns, strict=True)):
            value[:, place] = np.asarray(column, np.float64) * channel.scale + channel.offset
    value[~np.isfinite(value)] = np.nan
    names = tuple(channel.name for channel in entry.channel)
    return Waveform(asset, entry.name, ts_ns, period_ns(entry, period_s), names, value, quality)


def check_size(entry: WaveformEntry, samples: int) -> None:
    """Refuses what is too large to be carried, before memory is spent on it.

    Raises:
        BadData: says how large it may be.
    """
    if samples * len(entry.channel) > MOST_VALUES:
        raise BadData(
            f"waveform {entry.name}: {samples} samples in {len(entry.channel)} channels; at most {MOST_VALUES} values "
            "are carried; let the machine sample slower or record shorter"
        )


def period_ns(entry: WaveformEntry, said_s: float | None) -> int:
    """The machine file's period, else what the source said.

    Raises:
        BadData: neither is there, or it cannot be.
    """
    period_s = entry.period_s if entry.period_s is not None else said_s
    if period_s is None:
        raise BadData(
            f"waveform {entry.name}: nobody says how far apart samples are; give period_s in the machine file"
        )
    if not 0 < period_s <= LONGEST_PERIOD_S or round(period_s * 1e9) < 1:
        raise BadData(f"waveform {entry.name}: {period_s:g} s between samples, expected 1e-9 to {LONGEST_PERIOD_S:g}")
    return round(period_s * 1e9)


def numbers(column: object) -> Floats:
    """(n,) what a payload calls an array of numbers; null and whatever is no number becomes NaN.

    Raises:
        BadData: it is no array of single values.
    """
    if not isinstance(column, list):
        raise BadData(f"expected an array of numbers, got {type(column).__name__}")
    try:
        found = np.array([np.nan if one is None else one for one in column], np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array([number(one) for one in column], np.float64)
    if found.ndim != 1:
        raise BadData("expected an array of numbers, got an array of arrays")
    return found


def number(one: object) -> float:
    """What a payload calls a number; NaN where it is none.

    Raises:
        BadData: it is an array or an object.
    """
    if isinstance(one, list | dict):
        raise BadData("expected an array of numbers, got an array of arrays or objects")
    try:
        return float(one) if isinstance(one, int | float) else np.nan
    except OverflowError:
        return np.nan


def refused(asset: str, name: str, now_ns: int, error: BadData, **data: str) -> Event:
    """Counts a burst that is not stored, and says why."""
    metrics.bad_data.labels(asset, "waveform").inc()
    text = str(error)
    return Event(
        asset, "waveform.refused", now_ns, text, severity=Severity.WARNING, key=name, data={"waveform": name, **data}
    )


def portions(waveforms: Sequence[Waveform]) -> Iterator[tuple[Waveform, ...]]:
    """The same in parts of at most `MOST_VALUES` values, so that a part fits into one record."""
    part: list[Waveform] = []
    for one in waveforms:
        if part and sum(held.value.size for held in part) + one.value.size > MOST_VALUES:
            yield tuple(part)
            part = []
        part.append(one)
    if part:
        yield tuple(part)
