"""What people enter counts, and what a record says holds: a changed row is found and named."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from analytics.calendar import Due
from analytics.checks import RequiredCheck, standings
from analytics.entries import (
    CheckEntry,
    ContextEntry,
    Entry,
    LabEntry,
    LinkEntry,
    QuantityEntry,
    ResetEntry,
    StopEntry,
    enter,
    read_csv,
)
from analytics.life import Dosing, LifeCounter, Wear, lives
from analytics.machines import Watched
from analytics.process import Limit
from analytics.record_store import RecordStore, Sealed, Subject
from analytics.records import Profile, load_profiles
from analytics.verdict import Verdict
from analytics.watch import Watch, watching
from analytics.window import SECOND_NS
from pipeline.database import connect
from pipeline.errors import BadData, ConfigError
from pipeline.migrate import Connection
from pipeline.plant import Plant
from pipeline.store import opened
from rootdx.record_text import remark_of
from rootdx.texts import speaking
from tests.analytics.test_watch import SHOT
from tests.support.plant_rows import QUICK, Feed, batches, store_settings, watched
from tests.support.simulated import ORIGIN_NS, simulated
from tests.support.spine import ask, tally

PLANT = Plant(enterprise="test", site="plant")
START = datetime.fromtimestamp(ORIGIN_NS / SECOND_NS, UTC)
MINUTES = 20
LIMITED = SHOT.model_copy(update={"limit": {"v_fast": Limit(low=2.0, high=3.2)}, "warm_up_shots": 0})
ASSET = "test/plant/line/machine"
PROFILES = {"casting": Profile(kinds=("hpdc_shot",), features=("v_fast",), checks=("calibration",))}
CALIBRATION = RequiredCheck(kind="calibration", subject="TC-101", months=12)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def context(kind: str, value: str, minutes: float) -> ContextEntry:
    return ContextEntry(author="kim", asset=ASSET, kind=kind, value=value, valid_from=at(minutes))


@contextlib.asynccontextmanager
async def plant(dsn: str, entries: Sequence[Entry] = ()) -> AsyncIterator[tuple[Connection, Watch, Feed, Watched]]:
    """Twenty minutes of a cell in the store, its cycles found, with what people said of it."""
    window = simulated("casting", 60.0 * MINUTES).window
    machine = watched(window, LIMITED)
    machine = Watched(machine.asset, machine.name, machine.processes, machine.roles, {}, (), (CALIBRATION,))
    async with opened(store_settings(dsn)) as store:
        feed = Feed(store, window.asset)
        await feed.declare(window)
        minutes = range(window.start_ns // 60_000_000_000 * 60_000_000_000, window.end_ns, 60_000_000_000)
        tags = tuple(window.series)
        due = [tally(60, asset=window.asset, tags=(tag,), minute_ns=minute) for minute in minutes for tag in tags]
        await feed.take(*batches(window, 60.0), *due)
        async with watching(store_settings(dsn), QUICK, PLANT, [machine]) as watch:
            db = await connect(dsn, 5)
            try:
                await enter(db, entries)
                await watch.drain()
                yield db, watch, feed, machine
            finally:
                await db.close()


async def made(db: Connection, machine: Watched, subject: Subject, **more: Any) -> Sealed:
    records = RecordStore(db, PLANT, [machine])
    return await records.make(subject, PROFILES, **{"profile": None, "author": "lee", "reason": "", **more})


async def faults(db: Connection, machine: Watched) -> list[tuple[int, str, str]]:
    records = RecordStore(db, PLANT, [machine])
    return [(f.number, f.what, f.text) async for _, some in records.verify() for f in some]


VALID = CheckEntry(
    author="kim", asset=ASSET, kind="calibration", subject="TC-101", done=START.date() - timedelta(days=100), months=12,
    passed=True, document="KOLAS-2601",
)  # fmt: skip
LOT = [context("lot", "L-1", -5), context("lot", "L-2", 10)]


async def test_context_belongs_to_the_cycles_that_begin_while_it_holds(plain_dsn: str) -> None:
    async with plant(plain_dsn, LOT) as (db, watch, _, _):
        lots = ask(plain_dsn, "SELECT lot, min(start_ts), max(start_ts) FROM rootdx.cycles GROUP BY 1 ORDER BY 1")
        assert [lot for lot, *_ in lots] == ["L-1", "L-2"]
        assert lots[0][2] < at(10) <= lots[1][1]
        versions = dict(ask(plain_dsn, "SELECT cycle_id, version FROM rootdx.cycle"))
        await enter(db, [context("lot", "L-3", 15), context("recipe", "ADC12 r7", 15)])
        await watch.drain()
        changed = ask(plain_dsn, "SELECT cycle_id, version, start_ts, lot, recipe FROM rootdx.cycles")
        for cycle_id, version, start, lot, recipe in changed:
            assert (lot == "L-3") == (recipe == "ADC12 r7") == (start >= at(15))
            assert version == versions[cycle_id] or start >= at(15) - timedelta(minutes=2)


async def test_a_part_finds_all_its_windows_in_one_query(plain_dsn: str) -> None:
    said = [*LOT, context("melt", "M-7", -5), context("part", "P-1", 3), context("part", "", 4)]
    links = [LinkEntry(author="kim", item_kind="part", item="P-9", of_kind="lot", of_item="L-2")]
    async with plant(plain_dsn, [*said, *links]):
        origins = ask(plain_dsn, "SELECT item_kind, item FROM rootdx.origins('part', 'P-1')")
        assert set(origins) == {("part", "P-1"), ("lot", "L-1"), ("melt", "M-7")}
        linked = ask(plain_dsn, "SELECT item_kind, item FROM rootdx.origins('part', 'P-9')")
        assert set(linked) == {("part", "P-9"), ("lot", "L-2"), ("melt", "M-7")}
        windows = ask(plain_dsn, "SELECT start_ts, via_kind FROM rootdx.windows_of('part', 'P-9')")
        lots = ask(plain_dsn, "SELECT count(*) FROM rootdx.cycles WHERE lot = 'L-2'")
        assert len([w for w in windows if w[1] == "lot"]) == lots[0][0]


async def test_a_lot_does_not_find_the_shots_of_another_lot_of_its_melt(plain_dsn: str) -> None:
    async with plant(plain_dsn, [*LOT, context("melt", "M-7", -5)]):
        lots = ask(plain_dsn, "SELECT count(*), count(DISTINCT cycle_id) FROM rootdx.windows_of('lot', 'L-2')")
        own = ask(plain_dsn, "SELECT count(*) FROM rootdx.cycles WHERE lot = 'L-2'")[0][0]
        assert lots == [(own, own)]
        melt = ask(plain_dsn, "SELECT count(*) FROM rootdx.windows_of('melt', 'M-7')")[0][0]
        assert melt > own


async def test_life_counters_follow_their_item_and_their_resets(plain_dsn: str) -> None:
    dies = [context("die", "D-1", -5), context("die", "D-2", 5), context("die", "D-1", 12)]
    counters = [
        LifeCounter(name="die_shots", per="die", limit=12),
        LifeCounter(name="shots", feature="cycle_time", unit="s", dosing=Dosing(ml_per_1000=500, shot_ml=50)),
        LifeCounter(name="filter", days=True, limit=30),
    ]
    async with plant(plain_dsn, dies) as (db, *_):
        rows = ask(plain_dsn, "SELECT context->>'die', start_ts FROM rootdx.cycles WHERE end_ts IS NOT NULL")
        found = {(one.name, one.item): one for one in await lives(db, ASSET, counters)}
        for die in ("D-1", "D-2"):
            assert found["die_shots", die].value == len([1 for d, _ in rows if d == die])
        assert found["die_shots", "D-1"].state in (Wear.SOON, Wear.WORN)
        seconds = found["shots", ""]
        assert seconds.dose is not None
        assert seconds.dose.shots * 50 + seconds.dose.carry_ml == pytest.approx(seconds.value / 2)
        assert ("filter", "") not in found, "days count from a reset"
        await enter(db, [
            ResetEntry(author="kim", asset=ASSET, counter="die_shots", item="D-1", at=at(13), value=2),
            ResetEntry(author="kim", asset=ASSET, counter="filter", at=datetime.now(UTC) - timedelta(days=29)),
        ])  # fmt: skip
        found = {(one.name, one.item): one for one in await lives(db, ASSET, counters)}
        assert found["die_shots", "D-1"].value == 2 + len([1 for d, start in rows if d == "D-1" and start >= at(13)])
        assert found["filter", ""].state is Wear.SOON


async def test_checks_stand_as_they_did_on_the_day(plain_dsn: str) -> None:
    async with plant(plain_dsn) as (db, *_):
        day = date(2026, 5, 1)
        assert [(s.state, s.done) for s in await standings(db, ASSET, [CALIBRATION], day)] == [(Due.OVERDUE, None)]
        await enter(db, [VALID.model_copy(update={"done": date(2025, 4, 30)})])
        (standing,) = await standings(db, ASSET, [CALIBRATION], day)
        assert (standing.state, standing.due) == (Due.OVERDUE, date(2026, 4, 30))
        (earlier,) = await standings(db, ASSET, [CALIBRATION], date(2026, 4, 30))
        assert earlier.state is Due.SOON
        await enter(db, [VALID.model_copy(update={"done": date(2026, 4, 30), "passed": False})])
        (failed,) = await standings(db, ASSET, [CALIBRATION], day)
        assert (failed.state, failed.failed) == (Due.OVERDUE, True)


def remarks_of(sealed: Sealed) -> str:
    with speaking("en"):
        return "\n".join(remark_of(one, ZoneInfo("UTC")) for one in json.loads(sealed.content)["remarks"])


async def test_a_complete_lot_passes_and_its_record_verifies(engine_dsn: str) -> None:
    lab = LabEntry(author="park", sampled=at(1), name="fe", value=0.8, unit="%", item_kind="lot", item="L-2")
    async with plant(engine_dsn, [*LOT, VALID, lab]) as (db, _, _, machine):
        sealed = await made(db, machine, Subject("lot", "L-2"))
        said = json.loads(sealed.content)
        assert (sealed.verdict, said["remarks"]) == (Verdict.PASS, [])
        assert said["lab"][0]["author"] == "park"
        assert said["checks"][ASSET][0]["document"] == "KOLAS-2601"
        assert await faults(db, machine) == []
        with pytest.raises(BadData, match="say why"):
            await made(db, machine, Subject("lot", "L-2"))
        again = await made(db, machine, Subject("lot", "L-2"), reason="회수 확인")
        assert (again.number, again.version, again.previous) == (2, 2, sealed.hash)
        (first, _) = await RecordStore(db, PLANT, [machine]).read(subject=Subject("lot", "L-2"))
        assert first == sealed


async def test_an_instrument_that_was_not_valid_makes_no_compliant_record(plain_dsn: str) -> None:
    cases: list[tuple[list[Entry], str]] = [
        ([], "calibration of TC-101 was never entered"),
        ([VALID.model_copy(update={"done": date(2024, 1, 1)})], "was due on 2025-01-01"),
        ([VALID.model_copy(update={"passed": False})], "failed on"),
    ]
    async with plant(plain_dsn, LOT) as (db, _, _, machine):
        for entries, remark in cases:
            async with db.transaction(force_rollback=True):
                await enter(db, entries)
                sealed = await made(db, machine, Subject("lot", "L-2"))
                assert sealed.verdict is Verdict.UNVERIFIED
                assert remark in remarks_of(sealed)


async def test_what_was_not_measured_or_not_judged_is_incomplete(plain_dsn: str) -> None:
    asked = {"casting": Profile(kinds=("hpdc_shot",), features=("v_fast", "p_int", "hardness"))}
    async with plant(plain_dsn, [*LOT, VALID]) as (db, _, _, machine):
        sealed = await RecordStore(db, PLANT, [machine]).make(
            Subject("lot", "L-2"), asked, profile="casting", author="lee", reason=""
        )
        remarks = remarks_of(sealed)
        assert sealed.verdict is Verdict.INCOMPLETE
        assert "hardness was not measured" in remarks
        assert "intensification pressure has no limits" in remarks
        with pytest.raises(BadData, match="no closed cycle"):
            await made(db, machine, Subject("lot", "nobody"))


async def test_a_changed_row_is_found_and_named(plain_dsn: str) -> None:
    async with plant(plain_dsn, [*LOT, VALID]) as (db, _, _, machine):
        await made(db, machine, Subject("lot", "L-1"))
        await made(db, machine, Subject("lot", "L-2"))
        with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
            ask(plain_dsn, "UPDATE rootdx.compliance_record SET verdict = 'pass'")
        with pytest.raises(psycopg.errors.RaiseException, match="never changed"):
            ask(plain_dsn, "DELETE FROM rootdx.compliance_record")
        tag = "(SELECT tag_id FROM rootdx.tag WHERE role = 'metal.temp')"
        change = f"UPDATE rootdx.measurement SET value = value + 0.1 WHERE tag_id = {tag} AND ts BETWEEN %s AND %s"
        ask(plain_dsn, change, at(12), at(12.1))
        (fault,) = {(number, what, text) for number, what, text in await faults(db, machine)}
        assert fault[:2] == (2, "raw")
        assert "metal.temp: rows of the 10 minutes from" in fault[2]


TAMPERED = (
    ("UPDATE rootdx.compliance_record SET content = replace(content, 'pass', 'x') WHERE number = 1", "record 1 was"),
    ("UPDATE rootdx.compliance_record SET verdict = 'fail' WHERE number = 2", "2 was changed: column verdict"),
    ("UPDATE rootdx.compliance_record SET author = 'x' WHERE number = 1", "record 1 was changed: column author"),
    ("DELETE FROM rootdx.compliance_record WHERE number = 1", "record 1 is gone"),
    ("UPDATE rootdx.cycle SET value[1] = 99 WHERE context->>'lot' = 'L-2'", "is 99.0, the record says"),
    ("DELETE FROM rootdx.measurement", "the raw rows are gone"),
)


async def test_every_way_to_tamper_is_named(plain_dsn: str) -> None:
    async with plant(plain_dsn, [*LOT, VALID]) as (db, _, _, machine):
        await made(db, machine, Subject("lot", "L-1"))
        await made(db, machine, Subject("lot", "L-2"))
        ask(plain_dsn, "ALTER TABLE rootdx.compliance_record DISABLE TRIGGER USER")
        for change, named in TAMPERED:
            assert await faults(db, machine) == []
            async with db.transaction(force_rollback=True):
                await db.execute(change.encode())
                assert any(named in text for _, _, text in await faults(db, machine)), change


async def test_stops_and_quantities_reach_the_shift_they_lie_in(plain_dsn: str) -> None:
    query = "SELECT sum(scrap), sum(technical_s), sum(produced), sum(planned_busy_s) FROM rootdx.kpi_elements"
    async with plant(plain_dsn) as (db, watch, _, _):
        before = ask(plain_dsn, query)[0]
        assert before[2] > 10
        await enter(db, [
            QuantityEntry(author="kim", asset=ASSET, ts=at(5), scrap=2),
            StopEntry(author="kim", asset=ASSET, kind="technical", from_ts=at(-600), to_ts=at(600), reason="고장"),
        ])  # fmt: skip
        await watch.drain()
        after = ask(plain_dsn, query)[0]
        assert after[0] == before[0] + 2
        assert after[1] > 0
        (entry,) = ask(plain_dsn, "SELECT id FROM rootdx.stop_entry")
        withdrawn = StopEntry(
            author="lee", asset=ASSET, kind="technical", from_ts=at(0), to_ts=at(0), replaces=entry[0], reason="오기"
        )
        await enter(db, [withdrawn])
        await watch.drain()
        assert ask(plain_dsn, query)[0][1] == 0
        with pytest.raises(BadData, match="replaced already"):
            await enter(db, [withdrawn])


async def test_entries_are_all_or_none_and_say_what_to_do(plain_dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "bath.csv"
    head = "asset,sampled,name,value,unit,note"
    file.write_bytes(f"{head}\n{ASSET},2026-05-28T12:00+09:00,ni,80.5,g/L,도금액 분석\n".encode("cp949"))
    (entry,) = read_csv("lab", file, "park")
    assert isinstance(entry, LabEntry)
    assert (entry.note, entry.value, entry.author) == ("도금액 분석", 80.5, "park")
    file.write_text(f"{head}\n{ASSET},2026-05-28T12:00,ni,80.5,g/L,x\n")
    with pytest.raises(ConfigError, match=r"bath.csv: row 2, column sampled = '2026-05-28T12:00'"):
        read_csv("lab", file, "park")
    file.write_text(f"{head}\n{ASSET},2026-05-28T12:00Z,ni,80.5,g per L,x\n")
    with pytest.raises(ConfigError, match=r"row 2, column unit = 'g per L': unknown UCUM unit"):
        read_csv("lab", file, "park")
    async with plant(plain_dsn) as (db, *_):
        wrong = entry.model_copy(update={"asset": "nobody/knows/it"})
        with pytest.raises(BadData, match="machine 'nobody/knows/it' is unknown"):
            await enter(db, [entry, wrong])
        assert ask(plain_dsn, "SELECT count(*) FROM rootdx.lab_result") == [(0,)]
        await enter(db, [entry])
        (lab,) = ask(plain_dsn, "SELECT id FROM rootdx.lab_result")
        await enter(db, [entry.model_copy(update={"value": 81.0, "replaces": lab[0]})])
        assert ask(plain_dsn, "SELECT value FROM rootdx.lab_results") == [(81.0,)]


def test_every_profile_names_processes_and_checks() -> None:
    profiles = load_profiles()
    assert set(profiles) >= {"casting", "heat_treatment", "welding", "surface_treatment"}
    assert all(one.kinds for one in profiles.values())
