"""When a check is due: surveys, accuracy tests, calibrations, self-assessments (F-HT-05, section 6.10).

* Days are calendar days of the plant (Asia/Seoul); a moment is turned into a day before it comes here.
* An interval in months keeps the day of the month and is clamped to the month's end; weeks are 7 days.
* Each due date is counted from the day the check was done, so a clamp does not wander.
"""

import calendar
import enum
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class Period:
    """An interval between checks, in months or in days; one of them is 0."""

    months: int = 0
    days: int = 0

    def __post_init__(self) -> None:
        if (self.months > 0) == (self.days > 0) or min(self.months, self.days) < 0:
            raise ValueError(f"an interval is some months or some days, not {self.months} months and {self.days} days")


WEEKLY: Final = Period(days=7)
MONTHLY: Final = Period(months=1)
QUARTERLY: Final = Period(months=3)
SEMIANNUALLY: Final = Period(months=6)
YEARLY: Final = Period(months=12)


class Due(enum.StrEnum):
    """How a check stands."""

    FRESH = "fresh"
    SOON = "soon"  # 80 % of the interval is used
    OVERDUE = "overdue"  # equipment is UncertainSensorCalibration, "compliant" is blocked


def due_date(done: date, period: Period) -> date:
    """F-HT-05: due date, the same day of a later month clamped to its end; a leap day is due on 28 February.

    Unit: date. Valid: up to year 9999. Source: AMS2750E 2.2.25 [S20].

    >>> due_date(date(2026, 3, 31), MONTHLY).isoformat(), due_date(date(2024, 2, 29), YEARLY).isoformat()
    ('2026-04-30', '2025-02-28')
    """
    if period.days:
        return done + timedelta(days=period.days)
    year, month = divmod(done.year * 12 + done.month - 1 + period.months, 12)
    return date(year, month + 1, min(done.day, calendar.monthrange(year, month + 1)[1]))


def due_state(done: date | None, period: Period, today: date, *, warn_at: float = 0.8) -> Due:
    """F-HT-05: state of a check, soon from 80 % of its interval on, overdue after the due date or when never done.

    Decided: on the due date itself the check is still in time.
    Unit: state. Valid: done not after today. Source: section 6.10.

    >>> [due_state(date(2026, 3, 1), MONTHLY, date(2026, m, d)).value for m, d in ((3, 20), (3, 26), (4, 1), (4, 2))]
    ['fresh', 'soon', 'soon', 'overdue']
    """
    if done is None:
        return Due.OVERDUE
    due = due_date(done, period)
    if today > due:
        return Due.OVERDUE
    return Due.SOON if (today - done).days >= warn_at * (due - done).days else Due.FRESH
