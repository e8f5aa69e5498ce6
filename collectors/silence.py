"""A device that has gone: one row a tag that says so, once, with the last value where there was one.

* UNCERTAIN_NO_COMMUNICATION_LAST_USABLE with the last good value of this session, else BAD_NO_COMMUNICATION.
* Once an absence, over restarts and reconnects too: `onset_ns` is remembered with the rows.
* An event `device.silent` is raised and, when something is heard, cleared under the same id. What counts is that it
  arrives, whatever its time says: the clock of the device may be wrong.
"""

from typing import Final

import numpy as np

from pipeline.model import BAD_BIT, Batch, Codes, Event, Floats, Indices, Phase, Quality, Severity

KIND: Final = "device.silent"


class Silence:
    """What was last heard of each tag of one machine (or of one part of it, told apart by `key`).

    Args:
        asset: ISA-95 path.
        onset_ns: since when nothing has been heard, 0 while it talks.
        key: of the event.
    """

    def __init__(self, asset: str, onset_ns: int = 0, key: str = "") -> None:
        self._asset, self._key = asset, key
        self.onset_ns = onset_ns
        self._last: Floats = np.full(0, np.nan)

    def heard(self, tag: Indices, value: Floats, quality: Codes) -> None:
        """Rows that are being stored."""
        if not len(tag):
            return
        self._grow(int(tag.max()) + 1)
        good = quality < BAD_BIT
        self._last[tag[good]] = value[good]

    def _grow(self, tags: int) -> None:
        if tags > len(self._last):
            self._last = np.concatenate([self._last, np.full(tags - len(self._last), np.nan)])

    def falls(self, tags: tuple[str, ...], which: Indices, now_ns: int, cause: str) -> tuple[Batch, Event] | None:
        """The rows and the event of an absence that begins now; None where it had begun before.

        Args:
            tags: names of the machine's tags.
            which: those of them that bring numbers and are concerned.
            now_ns: gateway clock.
            cause: in a word or two, for people.
        """
        if self.onset_ns:
            return None
        self.onset_ns = now_ns
        self._grow(len(tags))
        value = self._last[which]
        held = np.isfinite(value)
        code = np.where(held, Quality.UNCERTAIN_NO_COMMUNICATION_LAST_USABLE, Quality.BAD_NO_COMMUNICATION)
        rows = Batch.of(self._asset, tags, now_ns, which, value, code.astype(np.uint32))
        self._last[:] = np.nan
        return rows, self._event(Phase.RAISED, now_ns, cause, {"cause": cause})

    def ends(self, now_ns: int) -> Event | None:
        """The end of an absence: the device says something that is not known to be old. None: there was none."""
        if not self.onset_ns:
            return None
        away_s = max(0, now_ns - self.onset_ns) / 1e9
        event = self._event(Phase.CLEARED, now_ns, f"{away_s:.1f} s", {"away_s": round(away_s, 3)})
        self.onset_ns = 0
        return event

    def _event(self, phase: Phase, now_ns: int, text: str, data: dict[str, object]) -> Event:
        severity = Severity.WARNING if phase is Phase.RAISED else Severity.INFO
        return Event(self._asset, KIND, now_ns, text, phase, severity, self._key, self.onset_ns, data)
