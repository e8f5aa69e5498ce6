# ruff: noqa: INP001  # a script beside the page that it fills
"""How big a computer must be: the coefficients of sizing.toml applied. Fills the tables of sizing.md.

    python deploy/sizing.py             prints the page as it should be
    python deploy/sizing.py --write     writes it

A cost is a line: fixed + a value times the values a second. A test holds page and script to each other.
"""

import itertools
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
COEFFICIENTS: Final[dict[str, Any]] = tomllib.loads((HERE / "sizing.toml").read_text(encoding="utf-8"))
DAY_S: Final = 86_400
RAW_DAYS, ROWSTORE_DAYS, SUMMARY_YEARS = 400, 15, 10
PROCESSES: Final = ("gateway", "broker", "writer", "database", "analytics", "board")

MESSAGE_BYTES: Final = 200
"""Around a record, one a second and gateway: MQTT, TLS, TCP/IP and its acknowledgement. Assumed."""
PER_GATEWAY: Final = ("broker", "writer", "database")
"""Whose fixed CPU is that of a record and a transaction a second, so as many times as there are gateways at most."""


@dataclass(frozen=True, slots=True)
class Plant:
    """What is to be carried. Every value is a tag at 1 Hz, so tags and values a second are one number."""

    name: str
    gateways: int
    values_hz: float


PLANTS: Final = (
    Plant("1 gateway, 200 tags", 1, 200),
    Plant("1 gateway, 1,000 tags", 1, 1_000),
    Plant("50 machines of 33 tags, 2 gateways", 2, 1_650),
    Plant("20 gateways of 200 tags", 20, 4_000),
    Plant("20 gateways of 1,000 tags", 20, 20_000),
)


def core(process: str, values_hz: float, many: int = 1) -> float:
    """Cores of `many` processes that share `values_hz`."""
    line = COEFFICIENTS["cpu"][process]
    return float(many * line["fixed_percent"] / 100 + values_hz * line["us_a_value"] / 1e6)


def memory_mb(process: str, values_hz: float, many: int = 1) -> float:
    """MB of `many` processes that share `values_hz`."""
    line = COEFFICIENTS["memory"][process]
    return float(many * line["fixed_mb"] + values_hz * line["mb_a_thousand"] / 1e3)


def payload_bytes(values_hz: float) -> float:
    """Bytes on the bus a value of one gateway: between the measured rates by the logarithm, beyond them the nearest."""
    known = [(float(rate), float(size)) for rate, size in COEFFICIENTS["bus"]["payload_bytes"]]
    return _between(known, values_hz)


def gateway_kbit(values_hz: float) -> float:
    """Bandwidth of one gateway, upwards, with what is around its records."""
    return (values_hz * payload_bytes(values_hz) + MESSAGE_BYTES) * 8 / 1e3


def wal_bytes(values_hz: float) -> float:
    """Bytes of the database's log a value of one writer, likewise."""
    return _between([(float(rate), float(size)) for rate, size in COEFFICIENTS["database"]["wal_bytes"]], values_hz)


def _between(known: list[tuple[float, float]], at: float) -> float:
    """A value that falls like fixed/rate + slope between known points, and goes on so below the first.

    >>> _between([(100.0, 12.0), (200.0, 7.0)], 50.0)
    22.0
    """
    for (low, first), (high, second) in itertools.pairwise(known):
        if at <= high:
            fixed = (first - second) / (1 / low - 1 / high)
            return second + fixed * (1 / at - 1 / high)
    return known[-1][1]


def raw_gb(values_hz: float, engine: str, rowstore_days: float = ROWSTORE_DAYS) -> float:
    """GB of raw rows over RAW_DAYS; on TimescaleDB those of the first days are not packed yet."""
    row, packed = COEFFICIENTS["database"]["row_bytes"], COEFFICIENTS["elsewhere"]["packed_row_bytes"]
    days = RAW_DAYS if engine == "plain" else rowstore_days
    return float(values_hz * DAY_S * (days * row + (RAW_DAYS - days) * packed) / 1e9)


def summary_gb(tags: float, minute_years: float = SUMMARY_YEARS) -> float:
    """GB of minutes over so many years, and of hours over SUMMARY_YEARS. Nothing packs them."""
    minutes = 365.25 * 1_440 * (minute_years + SUMMARY_YEARS / 60)
    return float(tags * minutes * COEFFICIENTS["database"]["summary_bytes"] / 1e9)


def tally_gb(tags: float) -> float:
    """GB of completeness by tag and minute over SUMMARY_YEARS, packed after ROWSTORE_DAYS."""
    minutes = 1_440 * (SUMMARY_YEARS * 365.25 - ROWSTORE_DAYS)
    fresh = 1_440 * ROWSTORE_DAYS * COEFFICIENTS["database"]["tally_bytes"]
    return tags * (fresh + minutes * COEFFICIENTS["elsewhere"]["packed_tally_bytes"]) / 1e9


def plants() -> str:
    """The table of sizes."""
    head = ("", "gateways: core; MB each", "server: core", "server: MB", "bus: kbit/s", "log: GB a day")
    disk = ("400 days raw, packed: GB", "the same on plain PostgreSQL: GB", "10 years of minutes: GB")
    rows = []
    for plant in PLANTS:
        each = plant.values_hz / plant.gateways
        server = [name for name in PROCESSES if name != "gateway"]
        many = {name: plant.gateways if name in PER_GATEWAY else 1 for name in server}
        rows.append(
            (
                plant.name,
                f"{core('gateway', plant.values_hz, plant.gateways):.2f}; {memory_mb('gateway', each):.0f}",
                f"{sum(core(name, plant.values_hz, many[name]) for name in server):.2f}",
                f"{sum(memory_mb(name, plant.values_hz) for name in server):,.0f}",
                f"{plant.gateways * gateway_kbit(each):,.0f}",
                f"{plant.values_hz * wal_bytes(plant.values_hz) * DAY_S / 1e9:.1f}",
                f"{raw_gb(plant.values_hz, 'timescale'):,.0f}",
                f"{raw_gb(plant.values_hz, 'plain'):,.0f}",
                f"{summary_gb(plant.values_hz):,.0f}",
            )
        )
    return table((*head, *disk), rows)


def lines() -> str:
    """The table of coefficients."""
    rows = []
    for name in PROCESSES:
        cpu, memory = COEFFICIENTS["cpu"][name], COEFFICIENTS["memory"][name]
        rows.append(
            (
                name,
                f"{cpu['fixed_percent']:g} %",
                f"{cpu['us_a_value']:g} us",
                f"{memory['fixed_mb']:g} MB",
                f"{memory['mb_a_thousand']:g} MB",
            )
        )
    return table(("process", "CPU, fixed", "CPU a value", "memory, fixed", "memory a 1,000 values/s"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    text = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*text, *(f"| {' | '.join(row)} |" for row in rows)])


def filled(page: str, tables: dict[str, str]) -> str:
    """The page with its tables between `<!-- name -->` and `<!-- end -->`.

    >>> filled("a <!-- x -->old<!-- end --> b", {"x": "new"}).split()
    ['a', '<!--', 'x', '-->', 'new', '<!--', 'end', '-->', 'b']
    """
    for name, text in tables.items():
        pattern = re.compile(rf"(<!-- {name} -->).*?(<!-- end -->)", re.DOTALL)
        page = pattern.sub(lambda found, text=text: f"{found[1]}\n\n{text}\n\n{found[2]}", page)  # type: ignore[misc]
    return page


def main(file: Path, tables: dict[str, str]) -> None:
    """Prints or writes a page."""
    page = filled(file.read_text(encoding="utf-8"), tables)
    if "--write" in sys.argv:
        file.write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)


if __name__ == "__main__":
    main(HERE / "sizing.md", {"lines": lines(), "plants": plants()})
