"""Every counter and gauge, all named here; scraped from each process by Prometheus.

Health is `rootdx_data_flowing`: not that a process runs, but that rows go through it.

`*_total` counters never fall; gauges say what is so now. Labels are bounded: gateways, assets and named causes.
"""

import contextlib
import logging
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Literal

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from pipeline import metrics_server
from pipeline.metrics_server import Door

_log = logging.getLogger(__name__)

# collectors
rows_read = Counter("rootdx_rows_read_total", "Rows handed over by a device session.", ["asset", "quality"])
rows_no_news = Counter("rootdx_rows_no_news_total", "Rows read and not stored: within their dead band.", ["asset"])
waveforms_read = Counter("rootdx_waveforms_read_total", "Waveforms handed over by a device session.", ["asset"])
requests = Counter("rootdx_requests_total", "Requests sent to a device.", ["asset", "outcome"])
device_up = Gauge("rootdx_device_up", "1 while a session on the device is open.", ["asset"])
ticks_late = Counter("rootdx_ticks_late_total", "Scans skipped because the one before was still running.", ["asset"])
modbus_dropped = Counter(
    "rootdx_modbus_dropped_total", "Frames, or runs of bytes that are none, that were not taken.", ["line", "cause"]
)
modbus_unit_silent = Gauge(
    "rootdx_modbus_unit_silent", "1 while a unit is left alone because it does not answer.", ["line", "unit"]
)
bad_data = Counter("rootdx_bad_data_total", "Items refused, by cause.", ["where", "cause"])
device_clock_offset = Gauge(
    "rootdx_device_clock_offset_seconds",
    "A device's clock against the gateway's; less by what messages take.",
    ["asset"],
)
certificate_expiry = Gauge(
    "rootdx_certificate_expiry_unixtime",
    "When a certificate expires: the client's own, or the server's.",
    ["asset", "whose"],
)
duplicates_refused = Counter("rootdx_redelivered_total", "Device messages that were durable already.", ["asset"])

# spool and forwarder
spool_records = Gauge("rootdx_spool_records", "Records in the spool, not yet committed in the store.")
spool_bytes = Gauge("rootdx_spool_bytes", "Bytes of these records.")
spool_kept_bytes = Gauge("rootdx_spool_kept_bytes", "Bytes of records that are committed and kept for a while.")
spool_hours_left = Gauge("rootdx_spool_outage_hours_left", "Hours of outage the spool can still take at today's rate.")
spool_rows = Counter("rootdx_spool_rows_total", "Rows made durable.")
spool_dropped_rows = Counter("rootdx_spool_dropped_rows_total", "Rows dropped because the spool or disk was full.")
spool_dropped_waveforms = Counter("rootdx_spool_dropped_waveforms_total", "Waveforms dropped likewise.")
spool_damaged = Counter("rootdx_spool_damaged_records_total", "Records lost to a damaged spool file.")
spool_commit_seconds = Histogram(
    "rootdx_spool_commit_seconds", "Time of one group commit.", buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)
)
forwarded_records = Counter("rootdx_forwarded_records_total", "Records sent on the bus, resends included.")
rewinds = Counter("rootdx_rewinds_total", "Times the forwarder went back to what the ledger says.", ["cause"])
bus_up = Gauge("rootdx_bus_up", "1 while the bus connection is open.", ["process"])

# writer
committed_rows = Counter("rootdx_committed_rows_total", "Rows committed in the store.", ["gateway"])
committed_waveforms = Counter("rootdx_committed_waveforms_total", "Waveforms committed in the store.", ["gateway"])
committed_records = Counter("rootdx_committed_records_total", "Records committed in the store.", ["gateway"])
duplicates_dropped = Counter("rootdx_duplicate_records_total", "Records that were committed already.", ["gateway"])
holes = Counter("rootdx_hole_records_total", "Records that came before their predecessor.", ["gateway"])
quarantined = Counter("rootdx_quarantined_total", "Bodies put into quarantine.", ["cause"])
commit_seconds = Histogram(
    "rootdx_commit_seconds", "Time of one store transaction.", buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
)
lag_seconds = Gauge("rootdx_lag_seconds", "Age of the newest committed row when it was committed.", ["gateway"])
last_commit = Gauge("rootdx_last_commit_unixtime", "When the store last committed rows.", ["gateway"])
writer_gateways = Gauge("rootdx_writer_gateways", "Gateways that this writer serves.")
writers = Gauge("rootdx_writers", "Writers of this database that are at work, as this one sees it.")
left_to_others = Counter("rootdx_left_to_others_total", "Messages of gateways that another writer serves.")
store_up = Gauge("rootdx_store_up", "1 while the store connection is open.")

# disks
disk_free = Gauge("rootdx_disk_free_bytes", "Bytes that may still be written to the disk of a folder.", ["folder"])
disk_size = Gauge("rootdx_disk_size_bytes", "Bytes of that disk.", ["folder"])

# analytics
cycles_written = Counter("rootdx_cycles_written_total", "Cycles written or changed.", ["asset", "kind"])
processes_failed = Counter(
    "rootdx_processes_failed_total", "Processes that a bug stopped until the next start.", ["asset", "kind"]
)
round_seconds = Histogram(
    "rootdx_analytics_round_seconds",
    "Time of one look at what is new.",
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)

# alarms
alarms_raised = Counter("rootdx_alarms_raised_total", "Alarms raised, told or not.", ["asset", "priority"])
notices_sent = Counter("rootdx_notices_sent_total", "Messages about alarms that went out.", ["channel"])
notices_failed = Counter("rootdx_notices_failed_total", "Messages about alarms that could not be sent.", ["channel"])

_OF: Final[Mapping[str, tuple[MetricWrapperBase, ...]]] = {
    "gateway": (
        spool_records, spool_bytes, spool_kept_bytes, spool_hours_left, spool_rows, spool_dropped_rows,
        spool_dropped_waveforms, spool_damaged, spool_commit_seconds, forwarded_records,
    ),
    "writer": (commit_seconds, writer_gateways, writers, left_to_others, store_up),
    "analytics": (round_seconds,),
}  # fmt: skip
"""What has no label is there from the start, as 0; told by another process, that would be a wrong answer."""

FLOW_S: Final = 60.0
"""Rows went through a process within this time: data is flowing."""
_flowing = Gauge("rootdx_data_flowing", "1 while rows have gone through within a minute.", ["process"])
_moved: dict[str, float] = {}


def moved(process: str) -> None:
    """Rows have just gone through a process: made durable by a gateway, committed by a writer."""
    _moved[process] = time.monotonic()


def is_flowing(process: str) -> bool:
    """Whether rows have gone through within FLOW_S."""
    return time.monotonic() - _moved.get(process, float("-inf")) < FLOW_S


_doors: list[Door] = []


def serve_at(door: Door) -> None:
    """How the metrics of this process are reached from now on; before that from this computer alone."""
    _doors[:] = [door]


@contextlib.contextmanager
def disks_measured(folders: Iterable[Path]) -> Iterator[None]:
    """Each reading of the metrics looks at the disks of these folders; one that goes away reads NaN."""
    measured = []
    for folder in dict.fromkeys(folders):
        try:
            os.statvfs(folder)
        except OSError as error:
            told = "disk not measured metrics.disks=%s reason=%s: name a folder of this computer, or take it out"
            _log.warning(told, folder, error.strerror)
            continue
        disk_free.labels(str(folder)).set_function(partial(_disk_bytes, folder, "f_bavail"))
        disk_size.labels(str(folder)).set_function(partial(_disk_bytes, folder, "f_blocks"))
        measured.append(str(folder))
    try:
        yield
    finally:
        for name in measured:
            disk_free.remove(name)
            disk_size.remove(name)


def _disk_bytes(folder: Path, of: Literal["f_bavail", "f_blocks"]) -> float:
    try:
        found = os.statvfs(folder)
    except OSError:
        return math.nan
    return float(getattr(found, of) * found.f_frsize)


@contextlib.contextmanager
def served(process: str, port: int) -> Iterator[None]:
    """The metrics of this process at a port; 0: not at all.

    Raises:
        ConfigError: the port is taken, or a file of `[metrics]` cannot be used.
    """
    _flowing.labels(process).set_function(partial(is_flowing, process))
    if not port:
        yield
        return
    door = _doors[0] if _doors else None
    others = {
        family.name for who, theirs in _OF.items() if who != process for one in theirs for family in one.describe()
    }
    with metrics_server.opened(process, port, door, others):
        end = metrics_server.end_of(door)
        if end is not None:
            certificate_expiry.labels("metrics", "own").set(end)
        with disks_measured(() if door is None else door.disks):
            yield
