"""A folder that is watched: which files in it are complete and not yet done.

* A file is complete when size and times have not changed for a while; it is done once, also across restarts.
* The newest done files are remembered one by one, all others by the time of their last change on the file system,
  which a copied file does not bring along. So memory is bounded, however many files are kept.
* Nothing is moved or deleted but what is done and still the same file.
"""

import base64
import contextlib
import json
import logging
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, Literal

import numpy as np

from pipeline import metrics
from pipeline.errors import Unavailable

log = logging.getLogger(__name__)

After = Literal["keep", "move", "delete"]
DONE: Final = "done"
"""Folder in the folder into which files are moved."""
_REMEMBERED: Final = 1024
_KEY: Final = 8


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was seen.

    Attributes:
        label: whose pattern it fits.
        path: where it is.
        size: bytes.
        modified_ns: when its content was last written.
        changed_ns: when the file system last changed anything about it.
        key: digest of name, size and times.
    """

    label: str
    path: Path
    size: int
    modified_ns: int
    changed_ns: int
    key: bytes

    def is_same(self) -> bool:
        """Whether it is still the file that was seen.

        Raises:
            OSError: it is gone.
        """
        found = self.path.stat()
        return (found.st_size, found.st_mtime_ns, found.st_ctime_ns) == (self.size, self.modified_ns, self.changed_ns)


class Memory:
    """Which files are done.

    Args:
        text: what `text()` said, "" or anything else at a first start.
        settings: digest of what files are read with; a refused file is tried again when it changes.
    """

    def __init__(self, text: str, settings: str) -> None:
        self.since_ns = 0
        self._settings = settings.encode()
        self._done: dict[bytes, int] = {}
        with contextlib.suppress(ValueError, TypeError, KeyError):  # another protocol's memory
            said = json.loads(text)
            pairs = np.frombuffer(base64.b64decode(said["done"]), [("key", f"V{_KEY}"), ("ns", "<i8")])
            self._done = {pair["key"].tobytes(): int(pair["ns"]) for pair in pairs}
            self.since_ns = int(said["since"])

    def learn(self, file: File, waiting_ns: int, *, refused: bool) -> None:
        """A file is done; nothing that waits was changed before `waiting_ns`."""
        self._done[self._refused(file) if refused else file.key] = file.changed_ns
        if len(self._done) <= _REMEMBERED:
            return
        for key, ns in sorted(self._done.items(), key=lambda item: item[1])[: _REMEMBERED // 2]:
            if ns < waiting_ns:
                self.since_ns = max(self.since_ns, ns)
                del self._done[key]

    def is_stored(self, file: File) -> bool:
        """Whether it is remembered by itself as stored."""
        return file.key in self._done

    def is_done(self, file: File) -> bool:
        """Whether it is remembered by itself as stored or refused."""
        return file.key in self._done or self._refused(file) in self._done

    def text(self) -> str:
        """Compact; some 20 kB at most."""
        content = b"".join(key + ns.to_bytes(8, "little", signed=True) for key, ns in self._done.items())
        return json.dumps({"since": self.since_ns, "done": base64.b64encode(content).decode()}, separators=(",", ":"))

    def _refused(self, file: File) -> bytes:
        return blake2b(file.key + self._settings, digest_size=_KEY).digest()


class Folder:
    """A watched folder. Everything here asks the disk, so it is called in a thread, one call at a time.

    Args:
        path: the folder.
        patterns: what to look for by label; a file that fits two belongs to the first.
        settle_s: for so long a complete file has not changed.
        after: what becomes of stored files.
        memory: of the process before.
    """

    def __init__(self, path: Path, patterns: Mapping[str, str], settle_s: float, after: After, memory: Memory) -> None:
        self.path = path
        self._patterns, self._settle_s, self._after, self._memory = patterns, settle_s, after, memory
        self._seen: dict[Path, tuple[bytes, float]] = {}
        self._first_look = True
        self._fresh: set[bytes] = set()
        self._left: set[bytes] = set()
        self._waiting_ns = 0

    def look(self) -> list[File]:
        """Files that are complete and not done, those changed first coming first.

        Raises:
            Unavailable: the folder is gone.
        """
        now = time.monotonic()
        ready: list[File] = []
        before, self._seen = self._seen, {}
        self._waiting_ns = 1 << 62
        for file in self._files():
            if file.path in self._seen:
                continue
            key, since = before.get(file.path, (b"", now))
            new = key != file.key
            self._seen[file.path] = (file.key, now if new else since)
            if self._is_done(file, appeared=new and not self._first_look):
                self.put_away([file])
            elif now - self._seen[file.path][1] >= self._settle_s:
                ready.append(file)
            else:
                self._waiting_ns = min(self._waiting_ns, file.changed_ns)
        self._first_look = False
        return sorted(ready, key=lambda file: (file.changed_ns, file.path))

    def learn(self, file: File, waiting: Sequence[File], *, refused: bool) -> None:
        """A file is done as soon as the memory is durable; `waiting` are ready and not done."""
        self._memory.learn(file, min((one.changed_ns for one in waiting), default=self._waiting_ns), refused=refused)
        self._fresh.discard(file.key)

    def put_away(self, files: Sequence[File]) -> None:
        """Moves or deletes stored files, if that is wanted."""
        for file in files:
            if self._after == "keep" or not self._memory.is_stored(file) or file.key in self._left:
                continue
            try:
                if file.is_same():
                    _delete_or_move(file.path, self.path, self._after)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._left.add(file.key)
                metrics.bad_data.labels("files", "file_stays").inc()
                log.warning("file stays file=%s error=%s; let this user write to its folder", file.path, error)

    def _is_done(self, file: File, *, appeared: bool) -> bool:
        if self._memory.is_done(file):
            return True
        if file.changed_ns > self._memory.since_ns:
            return False
        if appeared:  # older than all that are remembered, and not there a moment ago: a clock was set back
            self._fresh.add(file.key)
        return file.key not in self._fresh

    def _files(self) -> Iterator[File]:
        try:
            if not self.path.is_dir():
                raise Unavailable(f"{self.path}: no such folder any more; is it mounted?")
            for label, pattern in self._patterns.items():
                for path in self.path.glob(pattern):
                    inside = path.relative_to(self.path)
                    file = None if inside.parts[0] == DONE else _seen(label, path, inside.as_posix())
                    if file is not None:
                        yield file
        except OSError as error:
            raise Unavailable(f"{self.path}: {error.strerror or error}") from error


def _seen(label: str, path: Path, name: str) -> File | None:
    """The file as it is now; None where it is empty, or no file any more."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode) or not found.st_size:
        return None
    stamp = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    said = "\0".join([name, *map(str, stamp)]).encode("utf-8", "surrogateescape")
    return File(label, path, *stamp, blake2b(said, digest_size=_KEY).digest())


def _delete_or_move(path: Path, folder: Path, after: After) -> None:
    """Into `done` under its own name or, where that is taken, with a number behind it."""
    if after == "delete":
        path.unlink()
        return
    target = folder / DONE / path.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    free, number = target, 0
    while free.exists():
        number += 1
        free = target.with_name(f"{target.name}.{number}")
    path.rename(free)
