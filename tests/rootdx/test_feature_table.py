"""Tables of the store are the rows of the store, whatever range they are read with."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest

from analytics.feature_table import Grid, Tagged, Wish, of_cycles, of_tags, phases, tagged
from analytics.window import SECOND_NS
from pipeline.database import connect
from pipeline.errors import BadData
from pipeline.migrate import Connection
from tests.support.front_door import DC1, MINUTES, Shop
from tests.support.services import run
from tests.support.simulated import ORIGIN_NS
from tests.support.spine import ask

pytestmark = pytest.mark.plain
T = TypeVar("T")
END_NS = ORIGIN_NS + MINUTES * 60 * SECOND_NS


def reading(shop: Shop, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def go() -> T:
        db = await connect(shop.environment("analytics")["ROOTDX_STORE_DSN"], 5)
        try:
            return await work(db)
        finally:
            await db.close()

    return run(go())


def asset_id(shop: Shop) -> int:
    return int(ask(shop.dsn, f"SELECT asset_id FROM rootdx.asset WHERE path = '{DC1}'")[0][0])


def test_features_are_those_of_the_view(shop: Shop) -> None:
    wish = Wish(asset_id(shop), "hpdc_shot", ("v_fast", "cycle_time"), ("lot", "die"))
    found = reading(shop, lambda db: of_cycles(db, wish, ORIGIN_NS, END_NS))
    stored = ask(shop.dsn, f"SELECT value FROM rootdx.features WHERE feature = 'v_fast' AND asset = '{DC1}' "
                           "ORDER BY start_ts")  # fmt: skip
    assert found.table.column("v_fast").tolist() == [value for (value,) in stored]
    assert np.isnan(found.table.column("cycle_time")[0])
    assert found.table.groups == ("lot=L-1 | die=D-17", "lot=L-2 | die=D-17")
    fast, cycle_time = found.table.variables
    assert (fast.unit, fast.low, fast.high, cycle_time.high) == ("m/s", 2.0, 3.2, np.inf)
    why = [flags[0] if flags else "" for (flags,) in ask(shop.dsn, "SELECT flags FROM rootdx.cycles WHERE "
           f"asset = '{DC1}' AND end_ts IS NOT NULL ORDER BY start_ts")]  # fmt: skip
    assert list(found.why) == why
    assert found.table.normal.tolist() == [not one for one in why]


@pytest.mark.parametrize("memory", [0, 3, 1000])
def test_memory_is_the_rows_of_the_same_groups_before(shop: Shop, memory: int) -> None:
    wish = Wish(asset_id(shop), "hpdc_shot", (), ("lot", "mold"), memory)
    whole = reading(shop, lambda db: of_cycles(db, wish, ORIGIN_NS, END_NS))
    middle = int(whole.table.ts_ns[len(whole.table) * 3 // 4])
    part = reading(shop, lambda db: of_cycles(db, wish, middle, END_NS))
    assert part.table.ts_ns[part.first] == middle
    here = whole.table.ts_ns >= middle
    for name in {part.table.groups[number] for number in part.table.group[part.first :]}:
        rows = whole.table.of_group(whole.table.groups.index(name))
        wanted = [*rows[~here[rows]][len(rows[~here[rows]]) - memory if memory < sum(~here[rows]) else 0 :],
                  *rows[here[rows]]]  # fmt: skip
        got = part.table.of_group(part.table.groups.index(name))
        assert part.cycle_id[got].tolist() == whole.cycle_id[wanted].tolist()
        assert np.array_equal(part.table.value[got], whole.table.value[wanted], equal_nan=True)


def test_nothing_in_a_range_is_an_empty_table(shop: Shop) -> None:
    wish = Wish(asset_id(shop), "hpdc_shot", ("v_fast",), ("lot",), 10)
    found = reading(shop, lambda db: of_cycles(db, wish, 0, 1))
    assert (len(found.table), found.first, found.table.names) == (0, 0, ("v_fast",))


def test_tags_on_a_grid_do_not_depend_on_the_range(shop: Shop) -> None:
    async def read(db: Connection, start_ns: int, end_ns: int, memory: int) -> tuple[list[Tagged], np.ndarray]:
        tags = await tagged(db, asset_id(shop), ["metal.temp", "cycle.state"])
        table = await of_tags(db, tags, Grid(5.0, memory), start_ns, end_ns)
        assert set(table.rows) == {"metal.temp", "cycle.state"}
        assert (table.ts_ns % (5 * SECOND_NS) == 0).all()
        return tags, np.column_stack([table.ts_ns / 1e9, table.value])

    tags, whole = reading(shop, lambda db: read(db, ORIGIN_NS, END_NS, 0))
    _, part = reading(shop, lambda db: read(db, ORIGIN_NS + 600 * SECOND_NS, END_NS, 60))
    assert [tag.variable.name for tag in tags] == ["metal.temp", "cycle.state"]
    assert np.isfinite(whole[5:]).all()
    assert np.array_equal(part, whole[-len(part) :], equal_nan=True)
    assert len(part) == (MINUTES * 60 - 600) // 5 + 60


def test_only_some_phases_are_normal(shop: Shop) -> None:
    async def read(db: Connection) -> tuple[float, float]:
        wish = Wish(asset_id(shop), "hpdc_shot")
        spans = await phases(db, wish, ["COOL"], ORIGIN_NS, END_NS)
        tags = await tagged(db, asset_id(shop), ["cycle.state"])
        table = await of_tags(db, tags, Grid(1.0, spans=spans), ORIGIN_NS, END_NS)
        state = table.column("cycle.state")
        return float(np.median(state[table.normal])), float(np.mean(table.normal))

    state, share = reading(shop, read)
    assert state == 6
    assert 0.05 < share < 0.9


def test_an_unknown_tag_says_which_there_are(shop: Shop) -> None:
    with pytest.raises(BadData, match=r"no tag 'metal\.tmp' on this machine; it has .*metal\.temp"):
        reading(shop, lambda db: tagged(db, asset_id(shop), ["metal.tmp"]))
