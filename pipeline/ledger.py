"""What to do with a record, given the last one that is committed. Pure; the heart of exactly-once.

Invariants, for one spool (gateway and epoch) and any duplication, loss and reordering on the way:

* a record is committed at most once, and only after every record that the spool held before it;
* `last` never falls while the database keeps its commits;
* a reader that announces `last` and is sent again everything after it commits everything.
"""

import enum
from typing import Final


class Verdict(enum.Enum):
    """The fate of one record."""

    COMMIT = "commit"
    DUPLICATE = "duplicate"
    HOLE = "hole"


BITS: Final = 40
"""A record's id in the store is `source_id << BITS | seq`: 8 million spools of 10^12 records each."""
LAST_SEQ: Final = (1 << BITS) - 1


def decide(last: int, previous: int, seq: int) -> Verdict:
    """The fate of the record `seq` that the spool held right after `previous`, when `last` is committed.

    Numbers need not be dense: after an unclean stop a spool skips ahead, so that a number is never used twice.

    >>> decide(last=7, previous=7, seq=8).value
    'commit'
    >>> decide(last=7, previous=5, seq=7).value
    'duplicate'
    >>> decide(last=7, previous=8, seq=9).value
    'hole'
    >>> decide(last=7, previous=4, seq=1_000_004).value
    'commit'
    """
    if seq <= last:
        return Verdict.DUPLICATE
    return Verdict.COMMIT if previous <= last else Verdict.HOLE


def record_id(source_id: int, seq: int) -> int:
    """The id under which a record's rows point back to it.

    >>> record_id(3, 5) >> BITS, record_id(3, 5) & LAST_SEQ
    (3, 5)
    """
    return source_id << BITS | seq
