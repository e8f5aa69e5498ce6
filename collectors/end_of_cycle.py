"""When a cycle has ended: a bit that rises or a counter that moves on. A pure fold.

* The first value ever seen is remembered and triggers nothing: nobody knows whether that cycle was read.
* A cycle counts as seen only when `done` says so; until then the next look finds it again.
* A counter that falls has rolled over when it stood in the last tenth of its range, else it was reset: then what it
  counts from zero on are new cycles.
"""

from typing import Final

_LAST_TENTH: Final = 0.9


class Trigger:
    """One trigger.

    Args:
        size: numbers the counter knows, 2 for a bit, 0 where it never rolls over.
        last: what `last` was when it was last remembered.
    """

    def __init__(self, size: int, last: int | None = None) -> None:
        self._size = size
        self.last = last

    def cycles(self, said: int) -> int:
        """How many cycles have ended since the last one that is `done`; 0: nothing to read."""
        last = self.last
        if last is None or said == last:
            self.last = said
            return 0
        if self._size == 2:
            if not said:
                self.last = said
            return 1 if said else 0
        if said > last:
            return said - last
        if self._size and last > _LAST_TENTH * self._size:
            return said + self._size - last
        if said == 0:
            self.last = said
        return said

    def done(self, said: int) -> None:
        """The cycle that this value ended is read."""
        self.last = said
