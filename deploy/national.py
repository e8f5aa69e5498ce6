# ruff: noqa: INP001  # a script beside the page that it fills
"""The arithmetic of national.md: 30,000 firms in 14 hubs, from sizing.toml and the assumptions here.

    python deploy/national.py             prints the page as it should be
    python deploy/national.py ko          prints national.ko.md, with the words of national.ko.toml
    python deploy/national.py --write     writes both

Every assumption stands once, in ASSUMED, with where it comes from; whoever knows better changes it and runs this again.
"""

import math
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sizing

FIRMS, HUBS = 30_000, 14


@dataclass(frozen=True, slots=True)
class Assumption:
    """A number nobody here has measured, or a decision."""

    value: float
    unit: str
    what: str
    source: str


ASSUMED: Final = {
    "share": Assumption(0.25, "", "firms in the largest hub, of all", "assumed; the register of firms has it"),
    "low": Assumption(20, "values/s", "a small firm: three machines, few tags", "assumed"),
    "mean": Assumption(50, "values/s", "mean of all firms; tags at 1 Hz", "assumed; a survey of 100 firms would tell"),
    "high": Assumption(200, "values/s", "all firms like a well equipped one", "assumed; the upper end of the range"),
    "message": Assumption(
        sizing.MESSAGE_BYTES, "B", "around a record: MQTT, TLS, TCP/IP, its acknowledgement", "assumed, as in sizing.md"
    ),
    "busy": Assumption(0.5, "", "of a server's cores and memory used on a normal day", "assumed"),
    "cores": Assumption(32, "cores", "a database or writer server", "assumed"),
    "memory": Assumption(256, "GB", "the same", "assumed"),
    "disk": Assumption(60, "TB", "usable flash of a database server, mirrored", "assumed"),
    "databases": Assumption(
        250, "", "databases on one PostgreSQL server", "assumed; 100 were tried, on two cores, see below"
    ),
    "connections": Assumption(6, "", "connections of a firm to its database at once", "assumed; its own limit is 40"),
    "node": Assumption(
        1_000,
        "",
        "connections of a broker node",
        "assumed; deploy/nats lets ten times as many in, which nobody has tried",
    ),
    "backup": Assumption(1.0, "GB/s", "to the backup store, a server", "assumed"),
    "spare": Assumption(1, "server", "writer servers of a hub beyond those it needs: one may die", "a decision"),
    "firms_each": Assumption(400, "firms", "looked after by one person of a hub on weekdays", "assumed"),
}


def _of(name: str) -> float:
    return ASSUMED[name].value


@dataclass(frozen=True, slots=True)
class Hub:
    """Firms that share a centre."""

    firms: int
    values_hz: float
    """Of one firm."""

    @property
    def all_hz(self) -> float:
        """Values a second."""
        return self.firms * self.values_hz

    @property
    def firm_kbit(self) -> float:
        """Bandwidth of one firm, upwards."""
        return sizing.gateway_kbit(self.values_hz)

    @property
    def disk_tb(self) -> float:
        """Raw 400 days, summaries and tallies of ten years, packed as TimescaleDB does."""
        each = sizing.raw_gb(self.values_hz, "timescale") + sizing.summary_gb(self.values_hz)
        return self.firms * (each + sizing.tally_gb(self.values_hz) + empty_gb()) / 1e3

    @property
    def wal_tb_day(self) -> float:
        """Log of the databases, to be kept for a restore to a point in time."""
        return self.all_hz * sizing.wal_bytes(self.values_hz) * sizing.DAY_S / 1e12

    def servers(self) -> dict[str, int]:
        """Database servers by what limits them."""
        cores = sizing.core("database", self.all_hz, self.firms)
        backends = sizing.COEFFICIENTS["company"]["backend_mb"] * _of("connections") * self.firms / 1e3
        return {
            "databases": math.ceil(self.firms / _of("databases")),
            "disk": math.ceil(self.disk_tb / _of("disk")),
            "cores": math.ceil(cores / (_of("cores") * _of("busy"))),
            "memory": math.ceil(backends / (_of("memory") * _of("busy") / 2)),  # the other half is for its cache
        }

    def writers(self) -> tuple[float, float, int]:
        """GB, cores and servers of one writer a firm, with the spare."""
        gb = self.firms * sizing.COEFFICIENTS["company"]["writer_mb"] / 1e3
        cores = sizing.core("writer", self.all_hz, self.firms)
        needed = math.ceil(max(gb / _of("memory"), cores / _of("cores")) / _of("busy"))
        return gb, cores, needed + round(_of("spare"))

    def clusters(self) -> tuple[int, int]:
        """Connections, and clusters of three nodes that carry them with one node gone."""
        connections = 2 * self.firms  # a gateway and a writer each
        return connections, math.ceil(connections / (2 * _of("node") * 0.8))


def empty_gb() -> float:
    """GB of a database without a row."""
    return float(sizing.COEFFICIENTS["company"]["empty_mb"]) / 1e3


def average(values: str = "mean") -> Hub:
    """One of hubs that all have the same number of firms."""
    return Hub(math.ceil(FIRMS / HUBS), _of(values))


def groups() -> dict[str, tuple[Hub, ...]]:
    """The columns of the table: one hub each, and all of them, of which each has servers and people of its own."""
    rest, more = divmod(FIRMS, HUBS)
    return {
        "average hub": (average(),),
        "largest hub": (Hub(round(FIRMS * _of("share")), _of("mean")),),
        f"{HUBS} average hubs": tuple(Hub(rest + (number < more), _of("mean")) for number in range(HUBS)),
    }


def assumptions() -> str:
    """The table of what is assumed."""
    rows = [(f"`{name}`", f"{a.value:,g} {a.unit}".strip(), a.what, a.source) for name, a in ASSUMED.items()]
    return sizing.table(("", "value", "what", "source"), rows)


def computed() -> str:
    """The table of the hubs at the mean rate."""
    rows = [
        ("firms", *_summed(lambda hub: hub.firms)),
        ("values/s", *_summed(lambda hub: hub.all_hz)),
        ("commits/s (one a firm and second)", *_summed(lambda hub: hub.firms)),
        ("bandwidth of a firm, kbit/s", *(f"{some[0].firm_kbit:.1f}" for some in groups().values())),
        ("bandwidth, Mbit/s", *_summed(lambda hub: hub.firms * hub.firm_kbit / 1e3)),
        ("database: cores", *_summed(lambda hub: sizing.core("database", hub.all_hz, hub.firms))),
        ("database: TB", *_summed(lambda hub: hub.disk_tb)),
        ("of it raw, 400 days: TB", *_summed(_raw_tb)),
        ("of it minutes and hours, 10 years: TB", *_summed(_summary_tb)),
        ("of it tallies, 10 years: TB", *_summed(lambda hub: hub.firms * sizing.tally_gb(hub.values_hz) / 1e3)),
        ("database servers, and what limits", *(_limited(some) for some in groups().values())),
        ("as many again as replicas", *_summed(lambda hub: max(hub.servers().values()))),
        ("writers: GB of memory", *_summed(lambda hub: hub.writers()[0])),
        ("writers: cores", *_summed(lambda hub: hub.writers()[1])),
        ("writer servers, with the spare of each hub", *_summed(lambda hub: hub.writers()[2])),
        ("bus: connections", *_summed(lambda hub: hub.clusters()[0])),
        ("bus: clusters of 3", *_summed(lambda hub: hub.clusters()[1])),
        ("log to keep, TB a day", *_summed(lambda hub: hub.wal_tb_day, ".1f")),
        ("a full backup of one server, hours", *(f"{max(map(_backup_h, some)):.0f}" for some in groups().values())),
        ("people on weekdays", *_summed(lambda hub: math.ceil(hub.firms / _of("firms_each")))),
    ]
    return sizing.table(("at the mean", *groups()), rows)


def _summed(of: Callable[[Hub], float], written: str = ",.0f") -> list[str]:
    """A number of each column: hub by hub, since half a server is none."""
    return [format(sum(map(of, some)), written) for some in groups().values()]


def _raw_tb(hub: Hub) -> float:
    return hub.firms * sizing.raw_gb(hub.values_hz, "timescale") / 1e3


def _summary_tb(hub: Hub) -> float:
    return hub.firms * sizing.summary_gb(hub.values_hz) / 1e3


def _limited(some: Sequence[Hub]) -> str:
    """How many database servers, and what the first of these hubs has too much of."""
    first = some[0].servers()
    most = max(first, key=lambda name: first[name])
    return f"{sum(max(hub.servers().values()) for hub in some)} ({most})"


def _backup_h(hub: Hub) -> float:
    return hub.disk_tb * 1e3 / max(hub.servers().values()) / _of("backup") / 3600


def spread() -> str:
    """The table of an average hub by what a firm sends."""
    rows = []
    for name in ("low", "mean", "high"):
        hub = average(name)
        rows.append(
            (
                f"{hub.values_hz:g}",
                f"{hub.all_hz:,.0f}",
                f"{hub.firm_kbit:.1f}",
                f"{hub.firms * hub.firm_kbit / 1e3:.0f}",
                f"{hub.disk_tb:,.0f}",
                _limited([hub]),
                f"{hub.wal_tb_day:.1f}",
            )
        )
    head = (
        "values/s a firm",
        "hub: values/s",
        "a firm: kbit/s",
        "hub: Mbit/s",
        "TB",
        "database servers",
        "log, TB a day",
    )
    return sizing.table(head, rows)


def levers() -> str:
    """The table of what would help: TB of an average hub at the mean."""
    hub = average()
    other = hub.disk_tb - _raw_tb(hub) - _summary_tb(hub)
    packed = sizing.COEFFICIENTS["elsewhere"]["packed_row_bytes"] / sizing.COEFFICIENTS["database"]["row_bytes"]
    early = hub.firms * sizing.raw_gb(hub.values_hz, "timescale", 3) / 1e3
    short = hub.firms * sizing.summary_gb(hub.values_hz, 3) / 1e3
    rows = [
        ("as it is", _raw_tb(hub), _summary_tb(hub)),
        ("raw rows packed after 3 days in place of 15", early, _summary_tb(hub)),
        ("minutes kept for 3 years, hours for 10", _raw_tb(hub), short),
        ("summaries packed as well as raw rows are (assumed)", _raw_tb(hub), _summary_tb(hub) * packed),
        ("the first and the third", early, _summary_tb(hub) * packed),
    ]
    text = [(name, f"{raw:,.0f}", f"{sums:,.0f}", f"{raw + sums + other:,.0f}") for name, raw, sums in rows]
    return sizing.table(("average hub, TB", "raw", "summaries", "all"), text)


TABLES: Final = {"assumed": assumptions, "hubs": computed, "spread": spread, "levers": levers}

KOREAN: Final = tomllib.loads(Path(__file__).with_suffix(".ko.toml").read_text(encoding="utf-8"))
"""Cells of the tables, and the words within cells of numbers, by what they are in English."""


def in_korean(text: str) -> str:
    """A table with its words in Korean.

    Raises:
        KeyError: nobody has said a cell in Korean.
    """
    rows = [line.strip("|").split("|") for line in text.splitlines()]
    return "\n".join(f"|{'|'.join(map(_cell, row))}|" for row in rows)


def _cell(cell: str) -> str:
    said = cell.strip()
    if said in KOREAN["cells"]:
        return f" {KOREAN['cells'][said]} "
    left = re.sub(r"`[^`]*`", "", cell)
    for word in set(re.findall(r"[A-Za-z][A-Za-z/]+", left)) - set(KOREAN["same"]):
        cell = re.sub(rf"\b{re.escape(word)}(?![\w/])", KOREAN["words"][word], cell)
    return cell


if __name__ == "__main__":
    tables = {name: make() for name, make in TABLES.items()}
    if "ko" not in sys.argv:
        sizing.main(Path(__file__).with_suffix(".md"), tables)
    if "ko" in sys.argv or "--write" in sys.argv:
        sizing.main(Path(__file__).with_suffix(".ko.md"), {name: in_korean(text) for name, text in tables.items()})
