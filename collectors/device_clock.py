"""Whether a device's own clock can be believed, and how far off it is. A pure fold: no clock of its own.

* Ahead of the gateway by more than the tolerance is wrong at once: nothing comes from the future.
* Behind may be a message that waited somewhere; only when for `_SETTLE_NS` nothing came with a believable time is the
  clock wrong. It is believed again as soon as a time is within the tolerance.
* The offset is that of the quickest message since the last look: transport only ever makes a device look late.
"""

from typing import Final

from collectors.bursts import plausible
from pipeline import metrics
from pipeline.model import Event, Phase, Severity

KIND: Final = "device.clock"
_SETTLE_NS: Final = 60_000_000_000


class DeviceClock:
    """The clock of one machine.

    Args:
        asset: ISA-95 path.
        tolerance_s: how far off a time may be; None: whatever is plausible is believed.
        onset_ns: since when it has been wrong, 0 where it was right.
    """

    def __init__(self, asset: str, tolerance_s: float | None, onset_ns: int = 0) -> None:
        self._asset = asset
        self._tolerance = None if tolerance_s is None else round(tolerance_s * 1e9)
        self.onset_ns = onset_ns if tolerance_s is not None else 0
        self._behind_since = 0
        self._best: int | None = None
        self._change = False

    def believed(self, ts_ns: int, now_ns: int) -> bool:
        """Whether a row may carry this time; the gateway's goes with it if not."""
        if not plausible(ts_ns, now_ns):
            return False
        if self._tolerance is None:
            return True
        offset = ts_ns - now_ns
        self._best = offset if self._best is None else max(self._best, offset)
        if abs(offset) <= self._tolerance:
            self._behind_since = 0
            self._turn(0)
            return True
        if offset < 0 and not self.onset_ns:
            self._behind_since = self._behind_since or now_ns
            if now_ns - self._behind_since < _SETTLE_NS:
                return True
        self._turn(now_ns)
        return False

    def _turn(self, wrong_ns: int) -> None:
        if bool(wrong_ns) != bool(self.onset_ns):
            self._change = True
            self._was, self.onset_ns = self.onset_ns, wrong_ns

    def events(self, now_ns: int) -> list[Event]:
        """What changed since the last look; the offset goes to the metrics."""
        if self._best is None:
            return []
        offset_s, self._best = self._best / 1e9, None
        metrics.device_clock_offset.labels(self._asset).set(offset_s)
        if not self._change:
            return []
        self._change = False
        wrong = bool(self.onset_ns)
        text = f"{offset_s:+.3f} s"
        return [
            Event(
                self._asset,
                KIND,
                now_ns,
                text,
                Phase.RAISED if wrong else Phase.CLEARED,
                Severity.WARNING if wrong else Severity.INFO,
                onset_ns=self.onset_ns or self._was,
                data={"offset_s": round(offset_s, 6)},
            )
        ]
