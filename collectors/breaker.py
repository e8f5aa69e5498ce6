"""When a device that does not answer is asked again, so that it costs the others on its line next to nothing.

* Closed: it is asked. After `after` silences in a row it opens.
* Open: it is not asked until a pause is over; then one probe is due. Each one in vain doubles the pause, up to
  `longest_s`.
* One answer closes it.

Pure: time is passed in, in monotonic seconds.
"""


class Breaker:
    """What is known of one device's readiness to answer.

    Args:
        after: silences in a row until it is left alone.
        first_s: the first pause.
        longest_s: the longest one.
    """

    def __init__(self, after: int = 3, first_s: float = 1.0, longest_s: float = 30.0) -> None:
        self._after, self._first_s, self._longest_s = after, first_s, longest_s
        self._silences = 0
        self._pause_s = first_s
        self._until_s = 0.0

    @property
    def open(self) -> bool:
        """Whether it is left alone."""
        return self._silences >= self._after

    def rests_s(self, now_s: float) -> float:
        """Seconds until it may be probed; 0 where it may be asked now."""
        return max(0.0, self._until_s - now_s) if self.open else 0.0

    def wake(self) -> None:
        """It may be probed at once: what made it silent is perhaps over."""
        self._until_s, self._pause_s = 0.0, self._first_s

    def silent(self, now_s: float) -> bool:
        """It was asked in vain; True when it is left alone from now on."""
        was_open = self.open
        self._silences += 1
        if self.open:
            self._pause_s = min(self._pause_s * 2, self._longest_s) if was_open else self._first_s
            self._until_s = now_s + self._pause_s
        return self.open and not was_open

    def answered(self) -> bool:
        """It said something; True when it had been left alone."""
        was_open = self._silences >= self._after
        self._silences = 0
        return was_open
