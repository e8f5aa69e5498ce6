"""Life counters: what wears is counted from its last reset, from the cycles themselves.

* Nothing is added up on the side: a counter is a sum over stored cycles since the reset, so it survives restarts, and
  late or recomputed cycles count as they should.
* `per` names the kind of context that a counter follows: shots per die count on the die that was in when they were
  made, and go on when the die comes back.
* A counter of a feature may dose: so much per 1000 of what is counted, in whole pump shots, the rest carried.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, PositiveFloat, model_validator

from analytics.formulas.plating import Dose, dosing_shots, dosing_volume
from pipeline.database import translated
from pipeline.migrate import Connection
from pipeline.plant import Frozen


class Dosing(Frozen):
    """How a counter doses."""

    ml_per_1000: PositiveFloat
    """mL for each 1000 counted, as mL/kA.h."""
    shot_ml: PositiveFloat
    """mL of one shot of the pump."""


class LifeCounter(Frozen):
    """A table `[[life]]` of a machine file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    feature: str = ""
    """Feature of the cycles that is added up; empty: cycles are counted."""
    kind: str = ""
    """Process whose cycles count; empty: any."""
    per: str = ""
    """Kind of context, as `die`; empty: one counter for the machine."""
    days: bool = False
    """Counts days since the reset instead of cycles."""
    unit: str = "1"
    limit: PositiveFloat | None = None
    """From here on it is worn."""
    warn_at: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the limit from which on it is soon."""
    dosing: Dosing | None = None

    @model_validator(mode="after")
    def _check(self) -> "LifeCounter":
        if self.days and (self.feature or self.dosing):
            raise ValueError("days are counted alone, without feature and dosing")
        return self


class Wear(enum.StrEnum):
    """How far a counter is."""

    FRESH = "fresh"
    SOON = "soon"
    WORN = "worn"


@dataclass(frozen=True, slots=True)
class Life:
    """A counter as it stands.

    Attributes:
        asset: machine.
        name: of the counter.
        item: what it counts on, as the name of a die; empty where the machine has one.
        since: of the last reset, None where there never was one.
        value: counted since, plus what it started from.
        unit: of value.
        limit: from where on it is worn, None where there is none.
        state: None without a limit.
        dose: whole pump shots since the reset, and what is carried; None where it does not dose.
    """

    asset: str
    name: str
    item: str
    since: datetime | None
    value: float
    unit: str
    limit: float | None
    state: Wear | None
    dose: Dose | None


async def lives(db: Connection, asset: str, counters: Sequence[LifeCounter]) -> list[Life]:
    """The counters of a machine, one for each item that was ever in.

    Raises:
        Unavailable, ConfigError: what the server says.
    """
    found = []
    for counter in counters:
        with translated():
            query = _DAYS if counter.days else _COUNTED
            given = {"asset": asset, **counter.model_dump(include={"name", "kind", "per", "feature"})}
            rows = await (await db.execute(query.encode(), given)).fetchall()
        found += [_life(asset, counter, *row) for row in rows]
    return found


def _life(asset: str, counter: LifeCounter, item: str, since: datetime | None, value: float) -> Life:
    share = None if counter.limit is None else value / counter.limit
    state = None
    if share is not None:
        state = Wear.WORN if share >= 1 else Wear.SOON if share >= counter.warn_at else Wear.FRESH
    dose = None if counter.dosing is None else dosed(value, counter.dosing)
    return Life(asset, counter.name, item, since, value, counter.unit, counter.limit, state, dose)


def dosed(counted: float, dosing: Dosing) -> Dose:
    """Whole pump shots for what was counted (F-SUR-04), and the mL carried on.

    >>> dosed(1850, Dosing(ml_per_1000=180, shot_ml=50))
    Dose(shots=6, carry_ml=33.0)
    """
    volume = dosing_volume(counted, dosing.ml_per_1000).one().value
    return dosing_shots(volume or 0.0, dosing.shot_ml)


_RESETS: Final = """
    SELECT DISTINCT ON (r.item) r.item, r.at, r.value FROM rootdx.life_reset r JOIN rootdx.asset a USING (asset_id)
    WHERE a.path = %(asset)s AND r.counter = %(name)s
      AND NOT EXISTS (SELECT FROM rootdx.life_reset n WHERE n.replaces = r.id)
    ORDER BY r.item, r.at DESC, r.id DESC"""
_COUNTED: Final = f"""
    WITH reset AS ({_RESETS}), counted AS (
        SELECT CASE WHEN %(per)s = '' THEN '' ELSE c.context->>%(per)s END AS item, c.start_ts,
               CASE WHEN %(feature)s = '' THEN 1
                    ELSE coalesce(c.value[array_position(s.names, %(feature)s)], 0) END AS n
        FROM rootdx.cycle c JOIN rootdx.asset a USING (asset_id) LEFT JOIN rootdx.feature_set s USING (set_id)
        WHERE a.path = %(asset)s AND c.end_ts IS NOT NULL AND (%(kind)s = '' OR c.kind = %(kind)s)
    )
    SELECT i.item, r.at, coalesce(r.value, 0) + coalesce(sum(c.n) FILTER (WHERE r.at IS NULL OR c.start_ts >= r.at), 0)
    FROM (SELECT item FROM counted WHERE item IS NOT NULL UNION SELECT item FROM reset
          UNION SELECT '' WHERE %(per)s = '') i
    LEFT JOIN reset r USING (item) LEFT JOIN counted c USING (item)
    GROUP BY i.item, r.at, r.value ORDER BY i.item"""  # noqa: S608  # a constant of ours
_DAYS: Final = f"""
    SELECT item, at, value + extract(epoch FROM now() - at)::float8 / 86400
    FROM ({_RESETS}) r"""  # noqa: S608  # a constant of ours
