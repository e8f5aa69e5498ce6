"""The five words a compliance check may say (section 6.10 of the domain specification).

* In doubt the word is INCOMPLETE; a missing value never becomes a PASS.
"""

import enum
import math

from analytics.result import Reason, Result


class Verdict(enum.StrEnum):
    """The outcome of a check against limits."""

    PASS = "pass"  # noqa: S105  # a verdict, not a secret
    REVIEW = "review"
    FAIL = "fail"
    INCOMPLETE = "incomplete"  # data are missing
    UNVERIFIED = "unverified"  # the instrument was not valid


_WORST_FIRST = (Verdict.FAIL, Verdict.INCOMPLETE, Verdict.UNVERIFIED, Verdict.REVIEW, Verdict.PASS)


def worst(*verdicts: Verdict) -> Verdict:
    """The verdict of the whole from the verdicts of its parts; INCOMPLETE when there are none.

    >>> worst(Verdict.PASS, Verdict.REVIEW, Verdict.PASS).value
    'review'
    >>> worst().value
    'incomplete'
    """
    return next((word for word in _WORST_FIRST if word in verdicts), Verdict.INCOMPLETE)


def within(result: Result, low: float = -math.inf, high: float = math.inf) -> Verdict:
    """PASS inside [low, high], FAIL outside; without a value INCOMPLETE, outside the formula's range REVIEW.

    >>> from analytics.formulas.melting import sludge_factor
    >>> within(sludge_factor(0.8, 0.25, 0.06).one(), high=1.8).value
    'pass'
    """
    if result.value is None:
        return Verdict.INCOMPLETE
    if result.reason is not Reason.OK:
        return Verdict.REVIEW
    return Verdict.PASS if low <= result.value <= high else Verdict.FAIL
