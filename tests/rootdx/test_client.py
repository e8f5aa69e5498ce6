"""`rootdx.connect`: frames with the numbers of the store, units and zones right, in pandas and in polars."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

import rootdx
from pipeline.errors import BadData
from rootdx.client import Plant
from tests.support.front_door import DC1, START, Shop
from tests.support.spine import ask

pytestmark = pytest.mark.plain
DAY = ("2026-05-28", "2026-05-31")


@pytest.fixture
def plant(shop: Shop) -> Iterator[Plant]:
    with rootdx.connect(shop.environment("reader")["ROOTDX_STORE_DSN"]) as opened:
        yield opened


@pytest.fixture
def polar(shop: Shop) -> Iterator[Plant]:
    with rootdx.connect(shop.environment("reader")["ROOTDX_STORE_DSN"], frames="polars") as opened:
        yield opened


def test_tags_are_those_of_the_machine(plant: Plant, shop: Shop) -> None:
    frame = plant.tags("dc1")
    assert set(frame["machine"]) == {DC1}
    assert (
        len(frame)
        == ask(shop.dsn, "SELECT count(*) FROM rootdx.tag JOIN rootdx.asset USING (asset_id) WHERE path = %s", DC1)[0][
            0
        ]
    )


def test_a_window_has_every_row_with_its_unit_and_zone(plant: Plant, shop: Shop) -> None:
    seen: list[float] = []
    frame = plant.window("dc1", ["metal.temp", "cycle.state"], *DAY, quality=True, progress=seen.append)
    stored = ask(
        shop.dsn, "SELECT ts, value FROM rootdx.history WHERE asset = %s AND role = 'metal.temp' ORDER BY ts", DC1
    )
    column = frame["metal.temp"].dropna()
    assert list(column) == [value for _, value in stored if value is not None]
    assert column.index[0].to_pydatetime() == stored[0][0]
    assert str(frame.index.tz) == "Asia/Seoul"
    assert frame.attrs["units"] == {"metal.temp": "1", "cycle.state": "1"}
    assert (frame["metal.temp.quality"] == 0).all()
    assert seen[-1] == 1.0
    days = pd.concat(list(plant.windows("dc1", ["metal.temp"], *DAY)))
    assert days["metal.temp"].equals(frame["metal.temp"])


@pytest.mark.parametrize("every", ["minute", "hour"])
def test_aggregates_keep_the_spikes(plant: Plant, every: Literal["minute", "hour"]) -> None:
    raw = plant.window("dc1", ["metal.temp"], *DAY)
    frame = plant.window("dc1", ["metal.temp"], *DAY, every=every)
    assert list(frame.columns) == ["metal.temp", "metal.temp.min", "metal.temp.max"]
    assert frame["metal.temp.max"].max() == raw["metal.temp"].max()
    assert frame["metal.temp.min"].min() == raw["metal.temp"].min()
    assert np.isclose(frame["metal.temp"].mean(), raw["metal.temp"].mean(), atol=1.0)


def test_cycles_with_features_are_those_of_the_view(plant: Plant, shop: Shop) -> None:
    frame = plant.cycles("dc1", since=DAY[0], features=True)
    stored: dict[int, float] = dict(
        ask(shop.dsn, "SELECT cycle_id, value FROM rootdx.features WHERE feature = 'v_fast' AND asset = %s", DC1)
    )
    told = frame.set_index("cycle_id")["v_fast"].dropna()
    assert told.to_dict() == {key: value for key, value in stored.items() if value is not None}
    assert plant.units["v_fast"] == "m/s"
    assert frame["start"].iloc[0].tzinfo is not None
    long = plant.features("dc1", since=DAY[0])
    assert set(long.loc[long["feature"] == "v_fast", "value"].dropna()) == set(told)


def test_kpis_and_alarms_are_there(plant: Plant, shop: Shop) -> None:
    assert len(plant.kpis(since=DAY[0])) == ask(shop.dsn, "SELECT count(*) FROM rootdx.kpis")[0][0]
    alarms = plant.alarms("dc1", since=DAY[0])
    assert "raised" in set(alarms["kind"])
    assert alarms["facts"].dropna().str.contains("biscuit").any()


def test_polars_says_the_same(plant: Plant, polar: Plant) -> None:
    frame, other = plant.window("dc1", ["metal.temp"], *DAY), polar.window("dc1", ["metal.temp"], *DAY)
    assert isinstance(other, pl.DataFrame)
    assert other["metal.temp"].to_list() == frame["metal.temp"].to_list()
    assert other["time"].dtype == pl.Datetime("ns", "Asia/Seoul")
    assert other["time"][0] == frame.index[0].to_pydatetime()
    assert polar.cycles("dc1", since=DAY[0], features=True).height == len(plant.cycles("dc1", since=DAY[0]))


@pytest.mark.parametrize("kind", ["plant", "polar"])
def test_parquet_keeps_units(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    opened: Plant = request.getfixturevalue(kind)
    frame: Any = opened.cycles("dc1", since=DAY[0], features=True)
    opened.to_parquet(frame, tmp_path / "shots.parquet")
    table = pq.read_table(tmp_path / "shots.parquet")
    assert table.schema.field("v_fast").metadata[b"unit"] == b"m/s"
    assert table.num_rows == len(frame)


def test_who_is_not_there_is_told_with_those_who_are(plant: Plant) -> None:
    with pytest.raises(BadData, match="there are test/plant/casting/line1/dc1"):
        plant.tags("dc9")
    with pytest.raises(BadData, match="no tag metal; it has"):
        plant.window("dc1", ["metal"], *DAY)


def test_an_empty_span_is_an_empty_frame(plant: Plant) -> None:
    frame = plant.window("dc1", ["metal.temp"], dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "2020-01-02")
    assert list(frame.columns) == ["metal.temp"]
    assert frame.empty
    assert plant.cycles("dc1", since="2020-01-01", until=START, features=True).empty
