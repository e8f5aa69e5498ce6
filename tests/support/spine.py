"""What tests of the spine share: bodies to send, settings to send them with, a look into the tables."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from pipeline import wire
from pipeline.model import CAUSES, MINUTE_NS, Batch, Body, Event, Quality, Record, Tally, Waveform, rows_of
from pipeline.settings import Bus, Grouping, Settings, SpoolSettings, StoreSettings, WriterSettings

T0_NS = 1_780_000_020_000_000_000 // MINUTE_NS * MINUTE_NS
"""A minute in 2026."""
ASSET = "acme/ansan1/casting/line1/dc1"


def batch(
    first: int = 0, n: int = 3, asset: str = ASSET, tags: tuple[str, ...] = ("a", "b"), ts_ns: int = T0_NS
) -> Batch:
    """Rows whose values count up from `first`, a millisecond apart, one tag after the other."""
    steps = np.arange(n)
    return Batch.of(asset, tags, ts_ns + steps * 1_000_000, steps % len(tags), first + steps.astype(np.float64))


def tally(
    expected: int, asset: str = ASSET, tags: tuple[str, ...] = ("a",), minute_ns: int = T0_NS, **missing: int
) -> Tally:
    """One line for the first tag."""
    causes = np.array([[missing.get(cause.value, 0) for cause in CAUSES]])
    return Tally(asset, tags, np.array([minute_ns]), np.array([0]), np.array([expected]), causes)


def waveform(
    name: str = "shot.curve", n: int = 50, asset: str = ASSET, ts_ns: int = T0_NS, seed: int = 1, **more: Any
) -> Waveform:
    """Two channels of noise with a hole, a kilohertz."""
    value = np.random.default_rng(seed).normal(0.0, 3.0, (n, 2)).astype(np.float32)
    value[n // 2, 1] = np.nan
    return Waveform(asset, name, ts_ns, 1_000_000, ("velocity", "압력"), value, **more)


def event(text: str = "문 열림", kind: str = "test.note", ts_ns: int = T0_NS, **more: Any) -> Event:
    """A note about ASSET."""
    return Event(**{"asset": ASSET, "kind": kind, "ts_ns": ts_ns, "text": text, **more})


def frame(
    bodies: Sequence[Body], seq: int, previous: int | None = None, source: str = "gw-1", epoch: uuid.UUID | None = None
) -> wire.Frame:
    """Bodies as the record `seq`."""
    before = seq - 1 if previous is None else previous
    return wire.Frame(source, epoch or uuid.UUID(int=1), seq, before, T0_NS + seq, rows_of(bodies), wire.pack(bodies))


def values_of(records: Sequence[Record]) -> list[float]:
    """Every measured value, in order."""
    bodies = [body for record in records for body in record.bodies]
    return [value for body in bodies if isinstance(body, Batch) for value in body.value.tolist()]


def is_bad(code: int) -> bool:
    """By the severity bits of an OPC UA status code."""
    return code >= Quality.BAD


def spool_settings(folder: Path, **more: Any) -> SpoolSettings:
    """A spool that commits every two milliseconds."""
    return SpoolSettings(**{"folder": folder, "group_s": 0.002, **more})


def writer_settings(dsn: str, port: int, **group: Any) -> Settings:
    """A writer that commits every few milliseconds."""
    return Settings(
        bus=Bus(port=port, keepalive_s=5, timeout_s=3.0),
        store=StoreSettings(dsn=dsn, connect_timeout_s=5),
        writer=WriterSettings(group=Grouping(**{"wait_ms": 5.0, **group})),
    )


def ask(dsn: str, query: str, *args: object) -> list[tuple[Any, ...]]:
    """What the database says to one query; commits."""
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as db:
        cursor = db.execute(query.encode(), args or None)
        return cursor.fetchall() if cursor.description else []


def one(dsn: str, query: str, *args: object) -> Any:
    """The only value of the only row."""
    rows = ask(dsn, query, *args)
    assert len(rows) == 1, rows
    return rows[0][0]
