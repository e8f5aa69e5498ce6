"""A report: a sheet, and the tables behind it for who computes further."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rootdx import export
from rootdx.export import Table
from rootdx.paper import page, press
from rootdx.paper.sheet import Sheet

Form = Literal["pdf", "html", "xlsx"]
SUFFIXES: Final[dict[str, Form]] = {".pdf": "pdf", ".html": "html", ".xlsx": "xlsx"}


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    Attributes:
        name: for files, as `shift-2026-11-21-day`.
        sheet: makes what is printed, charts and all; takes a second or so of one core.
        tables: the same as tables.
    """

    name: str
    sheet: Callable[[], Sheet]
    tables: Sequence[Table]


async def rendered(report: Report, form: Form) -> bytes:
    """A report as a file, in the language of this task; the work is done in a thread.

    Raises:
        ConfigError: more rows than a sheet of Excel holds.
    """
    return await asyncio.to_thread(_rendered, report, form)


def _rendered(report: Report, form: Form) -> bytes:
    if form == "xlsx":
        return export.encoded([one for one in report.tables if one.columns], "xlsx")
    sheet = report.sheet()
    return press.pdf(sheet) if form == "pdf" else page.html_of(sheet).encode()
