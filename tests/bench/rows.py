"""A plant's rows: 20 machines of 25 tags at 1 Hz, with values as machines have them. Seeded, vectorised.

Of the 25 tags of a machine 15 are sensors (slow walk and noise, two decimals), 6 are digital, 4 are setpoints that
step.
"""

import uuid

import numpy as np

from pipeline import copying
from pipeline.ledger import record_id
from pipeline.model import Batch, Floats

MACHINES = 20
TAGS = 25
RATE_HZ = MACHINES * TAGS
SENSORS, DIGITAL = 15, 6
SECOND_NS = 1_000_000_000
NAMES = tuple(f"t{i:02d}" for i in range(TAGS))
ASSETS = tuple(f"bench/plant/a/l/m{i:02d}" for i in range(MACHINES))


def values(seconds: int, seed: int = 1) -> Floats:
    """(seconds, 500) values, machine by machine."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(MACHINES):
        base = rng.uniform(20, 700, SENSORS)
        walk = np.cumsum(rng.normal(0, 0.02, (seconds, SENSORS)), axis=0)
        sensors = np.round(base + walk + rng.normal(0, 0.05, (seconds, SENSORS)), 2)
        digital = np.cumsum(rng.random((seconds, DIGITAL)) < 0.02, axis=0) % 2
        steps = 50.0 + 5 * (np.cumsum(rng.random((seconds, TAGS - SENSORS - DIGITAL)) < 0.002, axis=0) % 7)
        parts.append(np.hstack([sensors, digital, steps]))
    return np.hstack(parts)


def assets(plant: str) -> tuple[str, ...]:
    """The machines of a plant of its own, where there are several."""
    return tuple(f"bench/{plant}/a/l/m{i:02d}" for i in range(MACHINES))


def batches(ts_ns: int, row: Floats, names: tuple[str, ...] = ASSETS) -> list[Batch]:
    """One second of the plant: a batch a machine."""
    order = np.arange(TAGS)
    machines = row.reshape(MACHINES, TAGS)
    return [Batch.of(asset, NAMES, ts_ns, order, machines[i]) for i, asset in enumerate(names)]


def prepared(table: Floats, start_ns: int, tag_ids: copying.Ids) -> bytes:
    """All rows as one binary COPY, in the order in which a pipeline brings them."""
    seconds = len(table)
    ts_ns = np.repeat(start_ns + SECOND_NS * np.arange(seconds), RATE_HZ)
    record = np.repeat(np.array([record_id(1, seq) for seq in range(1, seconds + 1)], np.int64), RATE_HZ)
    quality = np.zeros(seconds * RATE_HZ, np.uint32)
    rows = copying.measurement_rows(ts_ns, table.ravel(), record, np.tile(tag_ids, seconds), quality)
    return copying.BEGIN + rows + copying.END


def new_epoch() -> str:
    """Identity of a spool."""
    return str(uuid.uuid4())
