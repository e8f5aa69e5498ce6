"""The only place where a topic of our own bus is spelled, parsed or built.

    rootdx/v1/<gateway>/record      gateway -> writer, records (wire.md), QoS 0, not retained
    rootdx/v1/<gateway>/committed   writer -> gateway, the ledger's last seq, QoS 0, retained
    rootdx/v1/alarm/<asset path>    notifier -> whoever listens, JSON, QoS 1, not retained

An announcement is `<epoch> <last>`, followed by ` hole` (and then not retained) when something is missing after `last`.

Names are slugs: lower-case ASCII letters, digits and hyphens. Spaces and dots never reach a topic, because NATS
closes the connection on the first and reads the second as a level.
"""

import re
import uuid
from dataclasses import dataclass
from typing import Final

from pipeline.errors import BadData, ConfigError

PREFIX: Final = "rootdx/v1"
ALL_RECORDS: Final = f"{PREFIX}/+/record"
SLUG: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_RECORD: Final = re.compile(rf"{PREFIX}/({SLUG.pattern})/record")


def record_topic(gateway: str) -> str:
    """The topic on which a gateway sends its records."""
    return f"{PREFIX}/{gateway}/record"


def committed_topic(gateway: str) -> str:
    """The topic on which the writer announces what is committed of a gateway."""
    return f"{PREFIX}/{gateway}/committed"


def alarm_topic(asset: str) -> str:
    """The topic on which an alarm of a machine is told."""
    return f"{PREFIX}/alarm/{asset}"


def gateway_of(topic: str) -> str:
    """The gateway whose record topic this is.

    Raises:
        BadData: it is no record topic.
    """
    found = _RECORD.fullmatch(topic)
    if found is None:
        raise BadData(f"topic {topic!r}: not of the form {record_topic('<gateway>')}")
    return found[1]


def slug(name: str, what: str) -> str:
    """`name` itself where it may stand in a topic.

    Raises:
        ConfigError: it may not.
    """
    if not SLUG.fullmatch(name):
        raise ConfigError(f"{what} = {name!r}: use 1 to 63 lower-case letters, digits and hyphens, e.g. 'gw-1'")
    return name


@dataclass(frozen=True, slots=True)
class Committed:
    """What a writer announces: of this spool everything up to `last` is committed; `hole`: it waits for the next."""

    epoch: uuid.UUID
    last: int
    hole: bool = False

    def payload(self) -> bytes:
        """As it crosses the bus."""
        return f"{self.epoch} {self.last}{' hole' if self.hole else ''}".encode()


_COMMITTED: Final = re.compile(rb"([0-9a-f-]{36}) (\d{1,13})( hole)?")


def parse_committed(payload: bytes) -> Committed:
    """An announcement read back.

    Raises:
        BadData: it is none.
    """
    found = _COMMITTED.fullmatch(payload)
    if found is None:
        raise BadData(f"announcement {payload[:80]!r}: expected '<epoch> <last>'")
    try:
        return Committed(uuid.UUID(found[1].decode()), int(found[2]), found[3] is not None)
    except ValueError as error:
        raise BadData(f"announcement {payload[:80]!r}: {error}") from error
