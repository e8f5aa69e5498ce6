"""Calibrations, surveys and assessments: what must be valid, and whether it was on a day (F-HT-05, section 6.10).

* What a machine must have stands in its file, `[[check]]`; what was done is entered (`entries.CheckEntry`).
* Never done, failed or past its due date is overdue: then no record of that day may say "compliant".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Final

from pydantic import Field, model_validator

from analytics.calendar import Due, Period, due_date, due_state
from pipeline.database import translated
from pipeline.migrate import Connection
from pipeline.plant import Frozen


class RequiredCheck(Frozen):
    """A table `[[check]]` of a machine file."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """calibration, sat, tus, self_assessment, probe, ..."""
    subject: str
    """An instrument by its serial number, or the machine."""
    months: Annotated[int, Field(ge=0)] = 0
    days: Annotated[int, Field(ge=0)] = 0
    roles: tuple[str, ...] = ()
    """Signals that rest on it; empty: all of the machine."""
    warn_at: Annotated[float, Field(gt=0, le=1)] = 0.8

    @model_validator(mode="after")
    def _check(self) -> "RequiredCheck":
        if (self.months > 0) == (self.days > 0):
            raise ValueError("give months or days between checks, one of them")
        return self

    @property
    def period(self) -> Period:
        """The interval."""
        return Period(self.months, self.days)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a required check stands on a day.

    Attributes:
        check: what is required.
        done: day of the last one that passed, None when there is none.
        due: day until which it holds.
        state: fresh, soon or overdue; overdue too when the last one failed.
        failed: whether the last one failed.
        document: certificate or report.
        author: who entered it.
    """

    check: RequiredCheck
    done: date | None
    due: date | None
    state: Due
    failed: bool
    document: str
    author: str


async def standings(db: Connection, asset: str, required: Sequence[RequiredCheck], day: date) -> list[Standing]:
    """The required checks of a machine as they stood on a day, from what is known now.

    Raises:
        Unavailable, ConfigError: what the server says.
    """
    with translated():
        rows = await (await db.execute(_LAST, [asset, day])).fetchall()
    last = {(kind, subject): (done, passed, document, author) for kind, subject, done, passed, document, author in rows}
    return [_standing(one, last.get((one.kind, one.subject)), day) for one in required]


def _standing(check: RequiredCheck, last: tuple[date, bool, str, str] | None, day: date) -> Standing:
    if last is None:
        return Standing(check, None, None, Due.OVERDUE, failed=False, document="", author="")
    done, passed, document, author = last
    state = due_state(done, check.period, day, warn_at=check.warn_at) if passed else Due.OVERDUE
    return Standing(check, done, due_date(done, check.period), state, not passed, document, author)


_LAST: Final = """
    SELECT DISTINCT ON (c.kind, c.subject) c.kind, c.subject, c.done, c.passed, c.document, c.author
    FROM rootdx.check_entry c JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %s AND c.done <= %s AND NOT EXISTS (SELECT FROM rootdx.check_entry r WHERE r.replaces = c.id)
    ORDER BY c.kind, c.subject, c.done DESC, c.id DESC"""
