"""What a dashboard is made of, as data: pages of rows of panels, each with its query, without a language.

* A query names its columns by keys of the catalogue, `AS "@column.lot"`; `worded` puts in the words of a language.
* Variables stand in SQL as `${machine:sqlstring}` inside `ARRAY[…]::text[]`: quoted whether one or many are chosen, and
  right when there are none.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from rootdx.texts import say_in

Kind = Literal["table", "lines", "bars", "timeline", "stat", "trend", "gauges"]
KEY: Final = re.compile(r"@([a-z][a-z_]*(?:\.[A-Za-z_]+)+)")


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture and the question it answers.

    Attributes:
        name: key of its title under `grafana.panel`.
        sql: asked of the store, or
        metrics: PromQL with its legend, a label in braces or a key, asked of Prometheus.
        width: of the 24 columns of a dashboard.
        unit: Grafana's name of it, for all columns that have none of their own.
        split: column whose values tell rows of a state timeline apart.
        x: column of the x axis of a trend.
    """

    name: str
    kind: Kind
    sql: str = ""
    metrics: tuple[tuple[str, str], ...] = ()
    width: int = 12
    height: int = 8
    unit: str = ""
    split: str = ""
    x: str = ""


@dataclass(frozen=True, slots=True)
class Variable:
    """What a person chooses above the panels; its label is `grafana.variable.<name>`.

    Attributes:
        many: several may be chosen, and all.
        by_range: the choices depend on the time range.
    """

    name: str
    sql: str
    many: bool = True
    by_range: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One dashboard; its title is `grafana.page.<name>`, what it answers `grafana.answers.<name>`."""

    name: str
    variables: tuple[Variable, ...]
    rows: tuple[tuple[Panel, ...], ...]
    since: str = "now-24h"
    refresh: str = "30s"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, row after row."""
        return tuple(panel for row in self.rows for panel in row)


def worded(sql: str, language: str) -> str:
    """A query with the words of a language in the place of keys.

    >>> worded('SELECT lot AS "@column.lot"', "ko")
    'SELECT lot AS "로트"'
    """
    return KEY.sub(lambda found: say_in(language, found[1]), sql)


def said(language: str, kind: str, name: str) -> str:
    """A text of ours: the title of a page or panel, the name of a variable."""
    return say_in(language, f"grafana.{kind}.{name}")


def keys_of(sql: str) -> list[str]:
    """The keys of a query, each once, in order."""
    return list(dict.fromkeys(KEY.findall(sql)))
