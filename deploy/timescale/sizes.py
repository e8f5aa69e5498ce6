# ruff: noqa: INP001  # a script beside the files that it writes
"""PostgreSQL settings for a computer that the database has to itself, by its memory. Prints one file.

    python deploy/timescale/sizes.py 8 > deploy/timescale/8gb.conf

Every figure is a function of the memory; the files beside this one are what it prints for 4, 8 and 32 GB, and a test
holds them to it. Where other processes share the computer, take the next smaller file.
"""

import sys
from typing import Final

SIZES: Final = (4, 8, 32)
"""GB of memory of the files that are there."""

_FILE: Final = """\
# Written by deploy/timescale/sizes.py for {gb} GB of memory; change that, not this.

# A quarter is PostgreSQL's own, the system caches files in most of the rest.
shared_buffers = {shared_mb}MB
effective_cache_size = {cache_mb}MB
# A query sorts in at most this; a few dozen may do so at once, the board's and Grafana's among them.
work_mem = {work_mb}MB
# Compressing a chunk and building an index, a few at once.
maintenance_work_mem = {maintenance_mb}MB
autovacuum_work_mem = {vacuum_mb}MB
max_connections = {connections}

# A TimescaleDB worker a compression or aggregate policy, and one a database.
timescaledb.max_background_workers = {ts_workers}
max_worker_processes = {workers}
max_parallel_workers = {parallel}
max_parallel_workers_per_gather = {gather}
# The writer's transactions touch the newest chunks only, a question over a year touches hundreds.
max_locks_per_transaction = {locks}

# What is committed is on the disk: the gateways forget it then. Never off.
fsync = on
synchronous_commit = on
full_page_writes = on
# Checkpoints by time, not by size, so that full pages are written once a quarter of an hour.
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
max_wal_size = {wal_mb}MB
min_wal_size = 512MB
wal_compression = on
random_page_cost = 1.1
effective_io_concurrency = 64

shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
timezone = 'UTC'
log_timezone = 'UTC'
password_encryption = scram-sha-256
log_min_duration_statement = 5s
log_checkpoints = on
log_lock_waits = on
idle_in_transaction_session_timeout = 10min
"""


def conf(gb: int) -> str:
    """The file for `gb` GB of memory."""
    mb = gb * 1024
    cores = max(2, min(8, gb // 2))
    background = 16
    return _FILE.format(
        gb=gb,
        shared_mb=mb // 4,
        cache_mb=mb * 5 // 8,
        work_mb=max(8, mb // 512),
        maintenance_mb=min(1024, mb // 16),
        vacuum_mb=min(512, mb // 32),
        connections=60 if gb < 16 else 100,
        ts_workers=background,
        workers=background + cores + 3,
        parallel=cores,
        gather=cores // 2,
        locks=256 if gb < 16 else 512,
        wal_mb=min(16_384, max(2048, mb // 2)),
    )


if __name__ == "__main__":
    sys.stdout.write(conf(int(sys.argv[1])))
