"""Whether a device's own clock can be believed, and how far off it is. A pure fold: no clock of its own.

* Ahead of the gateway by more than the tolerance is wrong at once: nothing comes from the future.
* Behind by more than the device may have kept is wrong at once, too: nothing waits that long.
* Between the two it may have waited: what was kept is handed over faster than time goes by, so it catches up. What is
  just as far behind a minute later is a clock that is wrong.
* What is known to be old (`kept`) tells nothing of the clock, unless it is ahead.
* A row is believed again as soon as its time is within the tolerance; the event is CLEARED when for a minute none was
  wrong, so that two devices behind one source do not make it come and go.
* The offset is that of the quickest message since the last look: transport only ever makes a device look late.
"""

from dataclasses import dataclass
from typing import Final

from collectors.bursts import AHEAD_NS, FIRST_NS, plausible
from pipeline import metrics
from pipeline.model import Event, Phase, Severity

KIND: Final = "device.clock"
TOLERANCE_S: Final = 300.0
"""Clocks that somebody sets by hand now and then are off by minutes; zones, summer time and empty batteries by more."""
BACKLOG_S: Final = 604_800.0
"""A device or a broker that keeps what it cannot send is away for a weekend, or for a week of holidays."""
_WINDOW_NS: Final = 30_000_000_000
_STEADY_NS: Final = 1_500_000_000
"""Two windows whose quickest messages are this alike are equally far behind: transport varies by less."""
_CALM_NS: Final = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a time may be off.

    Attributes:
        tolerance_s: either way.
        backlog_s: how long what is said may have been kept before it comes.
    """

    tolerance_s: float = TOLERANCE_S
    backlog_s: float = BACKLOG_S


class DeviceClock:
    """The clock of one machine.

    Args:
        asset: ISA-95 path.
        allowance: what it may be off.
        onset_ns: since when it has been wrong, 0 where it was right.
    """

    def __init__(self, asset: str, allowance: Allowance, onset_ns: int = 0) -> None:
        self._asset = asset
        self._tolerance = round(allowance.tolerance_s * 1e9)
        self._backlog = max(self._tolerance, round(allowance.backlog_s * 1e9))
        self._near = min(self._tolerance, AHEAD_NS)
        self.onset_ns = self._told_ns = onset_ns
        self._is_calm = not onset_ns
        """Nothing is wrong, and nothing is looked into."""
        self._wrong_ns = 0
        self._window_ns: int | None = None
        self._nearest = 0
        self._before: int | None = None
        self._best: int | None = None

    def believed(self, ts_ns: int, now_ns: int, *, kept: bool = False) -> bool:
        """Whether a row may carry this time; the gateway's goes with it if not.

        Args:
            ts_ns: what the device says.
            now_ns: gateway clock.
            kept: it is known to be old: retained, historical, or the value from before somebody began to listen.
        """
        offset = ts_ns - now_ns
        if not kept and -self._near <= offset <= self._near and self._is_calm and ts_ns >= FIRST_NS:
            if self._best is None or offset > self._best:  # as nearly all are: a call less for each
                self._best = offset
            return True
        if kept and offset <= self._tolerance:
            return plausible(ts_ns, now_ns)
        self._best = offset if self._best is None else max(self._best, offset)
        if not -self._backlog <= offset <= self._tolerance or not plausible(ts_ns, now_ns):
            self._is_wrong(now_ns)
            return False
        if offset >= -self._tolerance:
            self._window_ns = self._before = None
            if now_ns - self._wrong_ns >= _CALM_NS:
                self.onset_ns = 0
            self._is_calm = not self.onset_ns
            return True
        self._look_behind(offset, now_ns)
        return not self.onset_ns

    def _look_behind(self, offset: int, now_ns: int) -> None:
        self._is_calm = False
        if self._window_ns is None:
            self._window_ns, self._nearest = now_ns, offset
        elif 0 <= now_ns - self._window_ns < _WINDOW_NS:
            self._nearest = max(self._nearest, offset)
        else:
            before, self._before = self._before, self._nearest
            self._window_ns, self._nearest = now_ns, offset
            if before is not None and abs(self._before - before) <= _STEADY_NS:
                self._is_wrong(now_ns)
            elif before is not None:
                self.onset_ns = 0

    def _is_wrong(self, now_ns: int) -> None:
        self._wrong_ns, self._is_calm = now_ns, False
        self.onset_ns = self.onset_ns or self._told_ns or now_ns

    def events(self, now_ns: int) -> list[Event]:
        """What changed since the last look; the offset goes to the metrics."""
        if self._best is None:
            return []
        offset_s, self._best = self._best / 1e9, None
        metrics.device_clock_offset.labels(self._asset).set(offset_s)
        wrong = bool(self.onset_ns)
        if wrong == bool(self._told_ns):
            return []
        onset_ns, self._told_ns = self.onset_ns or self._told_ns, self.onset_ns
        text = f"{offset_s:+.3f} s"
        return [
            Event(
                self._asset,
                KIND,
                now_ns,
                text,
                Phase.RAISED if wrong else Phase.CLEARED,
                Severity.WARNING if wrong else Severity.INFO,
                onset_ns=onset_ns,
                data={"offset_s": round(offset_s, 6)},
            )
        ]
