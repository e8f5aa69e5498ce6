"""The contract between a protocol and the gateway.

A `Source` is the configuration of one device and the factory of its connection: frozen settings whose one method
opens a session. A `Session` is a live connection; entering it proves that the device answers, leaving it closes it.

The gateway opens again after every failure, with backoff (`pipeline.service.keep`), so a session never reconnects
by itself: it raises `Unavailable` and is thrown away.
"""

from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.errors import ConfigError
from pipeline.model import Body, Cause
from pipeline.plant import SourceSettings, Tag, WaveformEntry

Clock = Callable[[], int]
"""Wall clock, int nanoseconds UTC. Passed in, so that a test can step it."""

Arrival = Literal["polled", "pushed", "mended", "kept"]
"""How rows come to be due: `polled` on a grid of `every_s`; `pushed` when the device wants, and lost while nobody
listens; `mended` the same, but some of them may be had afterwards (`Reading.mended`); `kept`: somebody keeps all of
them while we are away."""


class Refused(ConfigError):
    """The device does not let us in, or cannot be believed: a certificate, a user, a namespace.

    A person heals it elsewhere than in the machine file, on the device or in a file that every try reads anew, so the
    gateway goes on trying.
    """


@dataclass(frozen=True, slots=True)
class Missed:
    """Readings that were due and will never come: `count` of them for every tag of the machine, from `ts_ns` on."""

    ts_ns: int
    count: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Mended:
    """A span of which nothing is missing after all: `tag` by its index, later than `from_ns`, up to `until_ns`."""

    tag: int
    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a session hands over at once; it becomes durable as a whole or not at all.

    Attributes:
        bodies: rows and events; or waveforms (together at most `MOST_VALUES` values) and events. When the spool has no
            room, rows are counted as lost, while a reading with waveforms ends the session: its source keeps them.
        missed: ticks that were due and gave no rows (late ones; the gateway itself counts those of an outage).
        memory: what the session wants to be told when it is next opened, kept in the spool in the same transaction
            as the bodies (None: unchanged). It is how a redelivered message is recognised after a crash.
        found: tags that the session has found and the machine file does not list; known from this reading on.
        ticks: of a polled device: the first and the last tick of its grid that `bodies` and `missed` answer for.
        mended: what was counted as missing in an outage and is not, because the device had kept it.
    """

    bodies: tuple[Body, ...]
    missed: tuple[Missed, ...] = ()
    memory: str | None = None
    ticks: tuple[int, int] | None = None
    found: tuple[Tag, ...] = ()
    mended: tuple[Mended, ...] = ()


class Session(Protocol):
    """A live connection to one device."""

    def readings(self) -> AsyncIterator[Reading]:
        """What the device says, as it comes.

        The gateway asks for the next reading only after the last one is durable in the spool. So a session may
        acknowledge to its device whatever it yielded before it was resumed, and everything that arrives meanwhile is
        kept in a bounded buffer and yielded merged. Cancelling is safe at any await.

        Raises:
            Unavailable: the device is gone; what was read before has been yielded.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """What the gateway hands to a source that opens.

    Attributes:
        asset: full ISA-95 path of the machine, for the bodies.
        tags: the machine's tags, in file order; `Batch.tags` are exactly their names, then those of the found ones.
        clock: wall clock.
        client_id: a name for this connection that is stable over restarts, unique in the plant, ASCII slug.
        memory: the session's last durable `Reading.memory`, "" after a first start.
        waveforms: the bursts that this session is to bring.
        found: tags that sessions before have found, behind `tags`.
        filtered: names of the tags with a dead band that is the gateway's business, even where a device could filter.
    """

    asset: str
    tags: tuple[Tag, ...]
    clock: Clock
    client_id: str
    memory: str = ""
    waveforms: tuple[WaveformEntry, ...] = ()
    found: tuple[Tag, ...] = ()
    filtered: frozenset[str] = frozenset()


class Source(SourceSettings):
    """Settings of one device of one protocol; subclasses add a literal `protocol` and their own keys."""

    @property
    @abstractmethod
    def arrival(self) -> Arrival:
        """How rows come to be due with these settings."""

    @property
    def interval_s(self) -> float | None:
        """Seconds from one row of a tag to the next; None where only changes are sent, so that no silence is a gap."""
        return self.every_s

    def on_demand(self, tags: Sequence[Tag]) -> frozenset[str]:  # noqa: ARG002  # for those who override
        """Names of the tags whose rows are not due every `every_s`, but when something happens, or never."""
        return frozenset()

    @property
    def keeps_back(self) -> bool:
        """Whether the device itself keeps back what is within the dead band of a tag without limits."""
        return False

    def unbanded(self, tags: Sequence[Tag]) -> frozenset[str]:
        """Names of the tags of which every row counts, so that none can have a dead band."""
        return self.on_demand(tags)

    def still(self, found: Sequence[Tag]) -> tuple[Tag, ...]:  # noqa: ARG002  # for those who find tags
        """Those of the tags found before that a session would find again with these settings."""
        return ()

    @abstractmethod
    def open(self, opening: Opening) -> AbstractAsyncContextManager[Session]:
        """A session on the device. Constructing it touches no network; entering it does.

        Raises (on entering):
            Unavailable: the device does not answer.
            ConfigError: it answers, and what the file says about it cannot be right.
            Refused: likewise, and that can heal without the file being changed.
        """
