"""The check passes when everything is there once, and fails at each single defect."""

import json
import uuid
from pathlib import Path

import pytest

from pipeline import migrate
from pipeline.model import Batch, Body
from pipeline.settings import StoreSettings
from pipeline.store import Accepted, Commit, Quarantined, opened
from rootdx.check import Report, examine
from tests.support.services import run
from tests.support.spine import T0_NS, ask, tally

POLLED, PUSHED = "acme/ansan1/casting/line1/dc1", "acme/ansan1/molding/line1/im1"
SECOND_NS = 1_000_000_000


def values(tag: int) -> list[float]:
    return [100.0 * tag + 0.5 * i for i in range(20)]


async def store(dsn: str) -> None:
    async with opened(StoreSettings(dsn=dsn)) as db:
        entry = await db.enter("gw-1", uuid.UUID(int=1))
        bodies: list[Body] = []
        for asset in (POLLED, PUSHED):
            for tag, name in enumerate(("a", "b")):
                ts = [T0_NS + i * SECOND_NS for i in range(20)]
                bodies += [Batch.of(asset, (name,), ts, 0, values(tag)), tally(20, asset, (name,))]
        record = Accepted(entry.source_id, 1, T0_NS, 80, bodies)
        await db.commit(Commit([record], [], {entry.source_id: 0}, {entry.source_id: 1}))


@pytest.fixture
def plant(tmp_path: Path, database: str) -> Path:
    run(migrate.migrate(database))
    run(store(database))
    (tmp_path / "plant").mkdir()
    for name, protocol in (("dc1", "modbus"), ("im1", "mqtt")):
        (tmp_path / "plant" / f"{name}.toml").write_text(f'[source]\nprotocol = "{protocol}"\n')
        served = [
            {"kind": "served", "t_ns": T0_NS + i * SECOND_NS, "values": {"a": values(0)[i], "b": values(1)[i]}}
            for i in range(20)
        ]
        lines = [{"kind": "state", "t_ns": T0_NS, "state": "run"}, *served]
        (tmp_path / f"truth-{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def report(dsn: str, plant: Path) -> Report:
    return examine(dsn, plant, {POLLED: "dc1", PUSHED: "im1"}, [])


def test_everything_there_once_passes(database: str, plant: Path) -> None:
    found = report(database, plant)
    assert [(line.machine, line.produced, line.stored) for line in found.lines] == [("dc1", 40, 40), ("im1", 40, 40)]
    assert (found.expected, found.stored, found.missing, found.quarantined) == (80, 80, 0, 0)
    assert found.passed


WHERE = (
    "tag_id = (SELECT t.tag_id FROM rootdx.tag t JOIN rootdx.asset a USING (asset_id) WHERE a.path = '{asset}' "
    "AND t.name = 'a') AND ts = to_timestamp({second})"
)
DEFECTS = {
    "one row missing": "DELETE FROM rootdx.measurement WHERE {where}",
    "one row doubled": "INSERT INTO rootdx.measurement SELECT * FROM rootdx.measurement WHERE {where}",
    "one row that nobody sent": "INSERT INTO rootdx.measurement (ts, value, record, tag_id, quality) "
    "SELECT ts + INTERVAL '0.5 s', value, record, tag_id, quality FROM rootdx.measurement WHERE {where}",
    "one value changed": "UPDATE rootdx.measurement SET value = value + 0.001 WHERE {where}",
}


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("asset", [POLLED, PUSHED])
def test_single_defect_fails(database: str, plant: Path, asset: str, defect: str) -> None:
    ask(database, DEFECTS[defect].format(where=WHERE.format(asset=asset, second=T0_NS // SECOND_NS + 7)))
    found = report(database, plant)
    assert not found.passed
    wrong = [line for line in found.lines if not line.passed]
    assert [asset.endswith(line.machine) for line in wrong] == [True]
    assert wrong[0].missing + wrong[0].duplicate + wrong[0].different >= 1


@pytest.mark.parametrize("arrived", [True, False])
def test_what_was_on_its_way_at_the_end_may_be_there_or_not(database: str, plant: Path, *, arrived: bool) -> None:
    truth = plant / "truth-im1.jsonl"
    lines = [json.loads(text) for text in truth.read_text().splitlines()]
    last = lines[-1]
    assert last["kind"] == "served"
    truth.write_text("".join(json.dumps(one) + "\n" for one in [*lines[:-1], last | {"kind": "unanswered"}]))
    if not arrived:
        where = f"ts = to_timestamp({last['t_ns'] // SECOND_NS}) AND tag_id IN (SELECT t.tag_id FROM rootdx.tag t "
        where += f"JOIN rootdx.asset a USING (asset_id) WHERE a.path = '{PUSHED}')"
        ask(database, f"DELETE FROM rootdx.measurement WHERE {where}")
    line = report(database, plant).lines[1]
    assert line.passed
    assert line.produced == line.stored == (40 if arrived else 38)


def test_times_swapped_between_two_polled_values_fail(database: str, plant: Path) -> None:
    where = WHERE.format(asset=POLLED, second=T0_NS // SECOND_NS + 3)
    ask(database, f"UPDATE rootdx.measurement SET ts = ts + INTERVAL '1.5 seconds' WHERE {where}")
    assert not report(database, plant).passed


def test_accounts_that_do_not_balance_fail(database: str, plant: Path) -> None:
    ask(database, "UPDATE rootdx.tally SET expected = expected + 1 WHERE ctid = (SELECT min(ctid) FROM rootdx.tally)")
    found = report(database, plant)
    assert all(line.passed for line in found.lines)
    assert not found.passed


def test_something_in_quarantine_fails(database: str, plant: Path) -> None:
    async def aside() -> None:
        async with opened(StoreSettings(dsn=database)) as db:
            await db.commit(Commit(quarantined=[Quarantined("frame", "x", b"x")]))

    run(aside())
    assert not report(database, plant).passed


def test_nothing_to_look_at_is_no_pass(database: str, plant: Path) -> None:
    ask(database, "DELETE FROM rootdx.measurement")
    ask(database, "DELETE FROM rootdx.tally")
    assert not report(database, plant).passed


def test_tag_that_is_missing_altogether_fails(database: str, plant: Path) -> None:
    tag = "(SELECT min(tag_id) FROM rootdx.tag)"
    ask(database, f"DELETE FROM rootdx.measurement WHERE tag_id = {tag}")
    ask(database, f"DELETE FROM rootdx.tally WHERE tag_id = {tag}")
    assert not report(database, plant).passed
