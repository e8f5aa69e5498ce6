# ruff: noqa: INP001  # a script beside the page that it fills
"""The arithmetic of national.md: 30,000 firms in 14 hubs, from sizing.toml and the assumptions here.

    python deploy/national.py             prints the page as it should be
    python deploy/national.py --write     writes it

Every assumption stands once, in ASSUMED, with where it comes from; whoever knows better changes it and runs this again.
"""

import math
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
    "message": Assumption(200, "B", "around a record: MQTT, TLS, TCP/IP, its acknowledgement", "assumed"),
    "busy": Assumption(0.5, "", "of a server's cores and memory used on a normal day", "assumed"),
    "cores": Assumption(32, "cores", "a database or writer server", "assumed"),
    "memory": Assumption(256, "GB", "the same", "assumed"),
    "disk": Assumption(60, "TB", "usable flash of a database server, mirrored", "assumed"),
    "databases": Assumption(
        250, "", "databases on one PostgreSQL server", "assumed; 100 were tried, on two cores, see below"
    ),
    "connections": Assumption(6, "", "connections of a firm to its database at once", "assumed; its own limit is 40"),
    "node": Assumption(1_000, "", "connections of a broker node", "deploy/nats: max_connections"),
    "backup": Assumption(1.0, "GB/s", "to the backup store, a server", "assumed"),
    "firms_each": Assumption(400, "firms", "looked after by one person of a hub on weekdays", "assumed"),
}


def _of(name: str) -> float:
    return ASSUMED[name].value


@dataclass(frozen=True, slots=True)
class Hub:
    """Firms that share a centre."""

    name: str
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
        return (self.values_hz * sizing.payload_bytes(self.values_hz) + _of("message")) * 8 / 1e3

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
        """GB, cores and servers of one writer a firm."""
        gb = self.firms * sizing.COEFFICIENTS["company"]["writer_mb"] / 1e3
        cores = sizing.core("writer", self.all_hz, self.firms)
        return gb, cores, math.ceil(max(gb / _of("memory"), cores / _of("cores")) / _of("busy"))

    def clusters(self) -> tuple[int, int]:
        """Connections, and clusters of three nodes that carry them with one node gone."""
        connections = 2 * self.firms  # a gateway and a writer each
        return connections, math.ceil(connections / (2 * _of("node") * 0.8))


def empty_gb() -> float:
    """GB of a database without a row."""
    return float(sizing.COEFFICIENTS["company"]["empty_mb"]) / 1e3


def hubs(values: str = "mean") -> tuple[Hub, Hub, Hub]:
    """An average one, the largest one, and all as if they were one."""
    rate = _of(values)
    return (
        Hub("average hub", math.ceil(FIRMS / HUBS), rate),
        Hub("largest hub", round(FIRMS * _of("share")), rate),
        Hub("all firms", FIRMS, rate),
    )


def assumptions() -> str:
    """The table of what is assumed."""
    rows = [(f"`{name}`", f"{a.value:,g} {a.unit}".strip(), a.what, a.source) for name, a in ASSUMED.items()]
    return sizing.table(("", "value", "what", "source"), rows)


def computed() -> str:
    """The table of the hubs at the mean rate."""
    rows = [
        ("firms", *(f"{hub.firms:,}" for hub in hubs())),
        ("values/s", *(f"{hub.all_hz:,.0f}" for hub in hubs())),
        ("commits/s (one a firm and second)", *(f"{hub.firms:,}" for hub in hubs())),
        ("bandwidth of a firm, kbit/s", *(f"{hub.firm_kbit:.1f}" for hub in hubs())),
        ("bandwidth of the hub, Mbit/s", *(f"{hub.firms * hub.firm_kbit / 1e3:,.0f}" for hub in hubs())),
        ("database: cores", *(f"{sizing.core('database', hub.all_hz, hub.firms):.0f}" for hub in hubs())),
        ("database: TB", *(f"{hub.disk_tb:,.0f}" for hub in hubs())),
        ("of it raw, 400 days: TB", *(f"{_raw_tb(hub):,.0f}" for hub in hubs())),
        ("of it minutes and hours, 10 years: TB", *(f"{_summary_tb(hub):,.0f}" for hub in hubs())),
        (
            "of it tallies, 10 years: TB",
            *(f"{hub.firms * sizing.tally_gb(hub.values_hz) / 1e3:,.0f}" for hub in hubs()),
        ),
        ("database servers, and what limits", *(_limited(hub) for hub in hubs())),
        ("as many again as replicas", *(f"{max(hub.servers().values())}" for hub in hubs())),
        ("writers: GB of memory, cores, servers", *("{:,.0f}, {:,.0f}, {}".format(*hub.writers()) for hub in hubs())),
        ("bus: connections, clusters of 3", *("{:,}, {}".format(*hub.clusters()) for hub in hubs())),
        ("log to keep, TB a day", *(f"{hub.wal_tb_day:.1f}" for hub in hubs())),
        ("a full backup of one server, hours", *(f"{_backup_h(hub):.0f}" for hub in hubs())),
        ("people on weekdays", *(f"{math.ceil(hub.firms / _of('firms_each'))}" for hub in hubs())),
    ]
    return sizing.table(("at the mean", *(hub.name for hub in hubs())), rows)


def _raw_tb(hub: Hub) -> float:
    return hub.firms * sizing.raw_gb(hub.values_hz, "timescale") / 1e3


def _summary_tb(hub: Hub) -> float:
    return hub.firms * sizing.summary_gb(hub.values_hz) / 1e3


def _limited(hub: Hub) -> str:
    servers = hub.servers()
    most = max(servers, key=lambda name: servers[name])
    return f"{servers[most]} ({most})"


def _backup_h(hub: Hub) -> float:
    return hub.disk_tb * 1e3 / max(hub.servers().values()) / _of("backup") / 3600


def spread() -> str:
    """The table of an average hub by what a firm sends."""
    rows = []
    for name in ("low", "mean", "high"):
        hub = hubs(name)[0]
        rows.append(
            (
                f"{hub.values_hz:g}",
                f"{hub.all_hz:,.0f}",
                f"{hub.firm_kbit:.1f}",
                f"{hub.firms * hub.firm_kbit / 1e3:.0f}",
                f"{hub.disk_tb:,.0f}",
                _limited(hub),
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
    hub = hubs()[0]
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

if __name__ == "__main__":
    sizing.main(Path(__file__).with_suffix(".md"), {name: make() for name, make in TABLES.items()})
