"""Which messages were stored before: digests of those of the last minute, and of the last one of each topic."""

import base64
import time
from typing import Final

DIGEST: Final = 8
_REMEMBERED_S: Final = 60.0
"""An acknowledgement older than this has reached the broker, or the connection would be dead by now."""
_MOST_TOPICS: Final = 4096


class Recent:
    """What may come again: an unacknowledged message, and the retained one of a topic.

    Args:
        most: messages that may be unacknowledged at once.
        text: what `text()` said before.
    """

    def __init__(self, most: int, text: str) -> None:
        self._most = max(1024, most)
        data = base64.b64decode(text)
        topics = int.from_bytes(data[:4], "big")
        words = [data[i : i + DIGEST] for i in range(4, len(data), DIGEST)]
        self._latest = dict(zip(words[: 2 * topics : 2], words[1 : 2 * topics : 2], strict=True))
        self._seen = dict.fromkeys(words[2 * topics :], time.monotonic())

    def known(self, key: bytes, digest: bytes) -> bool:
        """Whether this message of the topic `key` was stored before."""
        return digest in self._seen or self._latest.get(key) == digest

    def learn(self, key: bytes, digest: bytes, *, again: bool) -> None:
        """It will be stored now; `again`: the broker may send it again."""
        if again:
            self._seen[digest] = time.monotonic()
        if key in self._latest or len(self._latest) < _MOST_TOPICS:
            self._latest[key] = digest

    def text(self) -> str:
        """What is still worth knowing."""
        limit = time.monotonic() - _REMEMBERED_S
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] >= limit and len(self._seen) <= self._most:
                break
            del self._seen[oldest]
        words = [word for pair in self._latest.items() for word in pair]
        return base64.b64encode(len(self._latest).to_bytes(4, "big") + b"".join([*words, *self._seen])).decode()
