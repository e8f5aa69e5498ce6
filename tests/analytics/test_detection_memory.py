"""What the analytics remember of cycles never changes a score: as if they had read it all again for each cycle."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import pytest

from analytics import feature_table
from analytics.feature_table import KEPT_GROUPS, Memory, Wish, of_cycles
from pipeline.database import connect
from pipeline.errors import Unavailable
from pipeline.model import Batch
from tests.analytics.test_detection import ADAPTIVE, EMPTY, SHOT, cell, plant, told
from tests.support.plant_rows import batches, only
from tests.support.spine import ask

SCORES = "SELECT ts, subject, score FROM rootdx.score ORDER BY ts"


def out_of_order(pieces: Sequence[Batch]) -> list[Batch]:
    """Biscuit of every fifth piece comes three pieces late, when the cycles around it are judged already."""
    made: list[Batch] = []
    late: dict[int, Batch] = {}
    for place, piece in enumerate(pieces):
        roles = [name for name in piece.tags if name != "cycle.biscuit"]
        made.append(only(piece, roles) if place % 5 == 0 else piece)
        if place % 5 == 0:
            late[place + 3] = only(piece, ["cycle.biscuit"])
        if place in late:
            made.append(late.pop(place))
    return made + list(late.values())


@pytest.mark.plain
@pytest.mark.parametrize("late", [False, True], ids=["in order", "late"])
async def test_scores_are_those_of_a_process_that_remembers_nothing(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    pieces = batches(cell().window, 30.0)
    pieces = out_of_order(pieces) if late else pieces
    asked: list[str] = []
    rows = feature_table._rows

    async def counted(db: Any, query: str, wish: Any, args: Any) -> Any:
        asked.append(query)
        return await rows(db, query, wish, args)

    monkeypatch.setattr(feature_table, "_rows", counted)
    await told(plain_dsn, pieces, ADAPTIVE)
    kept, remembered = ask(plain_dsn, SCORES), asked.count(feature_table._MEMORY)
    ask(plain_dsn, EMPTY)
    for piece in pieces:
        await told(plain_dsn, [piece], ADAPTIVE)
    assert len(kept) > 7
    assert ask(plain_dsn, SCORES) == kept
    if not late:
        assert remembered <= 2, "the memory was read again"


@pytest.mark.plain
async def test_memory_is_what_would_be_read(plain_dsn: str) -> None:
    await told(plain_dsn, batches(cell().window, 60.0))
    ask(plain_dsn, "UPDATE rootdx.cycle SET context = jsonb_build_object('die', (cycle_id % 3)::text)")
    ends = [
        row[0] * 1000
        for row in ask(plain_dsn, "SELECT rootdx.us(end_ts) FROM rootdx.cycle WHERE end_ts IS NOT NULL ORDER BY 1")
    ]
    wish = Wish(ask(plain_dsn, "SELECT asset_id FROM rootdx.asset")[0][0], SHOT.kind, ("biscuit",), ("die",), 4)
    memory = Memory()
    db = await connect(plain_dsn, 5)
    try:
        for first, last in [*zip([0, *ends[::2]], ends[::2], strict=False), (ends[5], ends[8])]:
            with_memory = await of_cycles(db, wish, first, last, memory)
            without = await of_cycles(db, wish, first, last)
            assert with_memory.cycle_id.tolist() == without.cycle_id.tolist()
            assert with_memory.first == without.first
            np.testing.assert_array_equal(with_memory.table.value, without.table.value)
            assert [with_memory.table.groups[g] for g in with_memory.table.group] == [
                without.table.groups[g] for g in without.table.group
            ]
    finally:
        await db.close()
    assert 0 < len(memory.groups) <= KEPT_GROUPS
    assert max(map(len, memory.groups.values())) <= 4


@pytest.mark.plain
async def test_look_that_failed_is_repeated_with_the_same_memory(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = batches(cell().window, 30.0)
    clean = await told(plain_dsn, pieces, ADAPTIVE)
    scores = ask(plain_dsn, SCORES)
    ask(plain_dsn, EMPTY)
    async with plant(plain_dsn, ADAPTIVE) as (feed, watch):
        store = watch._detection._store
        written = store.write_scores
        for place, piece in enumerate(pieces):
            await feed.take(piece)

            async def refused(*_: Any) -> None:
                raise psycopg.OperationalError("gone")

            monkeypatch.setattr(store, "write_scores", refused if place % 4 == 2 else written)
            try:
                await watch.drain()
            except Unavailable:
                monkeypatch.setattr(store, "write_scores", written)
                await asyncio.sleep(0)
                await watch.drain()
        monkeypatch.setattr(store, "write_scores", written)
        await watch.drain()
    assert len(clean) >= 0
    assert ask(plain_dsn, SCORES) == scores
