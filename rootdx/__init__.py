"""The front door: what people touch. Nothing imports it."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rootdx.client import Plant


def connect(dsn: str, *, zone: str = "Asia/Seoul", frames: Literal["pandas", "polars"] = "pandas") -> "Plant":
    """The store as data frames: see `rootdx.client`.

    Raises:
        psycopg.OperationalError: no database there, or it refuses us.
    """
    from rootdx.client import connect as opened  # noqa: PLC0415  # every process of ours imports this package

    return opened(dsn, zone=zone, frames=frames)
