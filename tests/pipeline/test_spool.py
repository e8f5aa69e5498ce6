"""What was acknowledged is there, whatever happens to the process, the file or the disk; what is dropped is told."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import spool as spool_module, spool_database, wire
from pipeline.errors import ConfigError, SpoolFull
from pipeline.model import CAUSES, MINUTE_NS, Batch, Body, Cause, Event, Record, Tally, rows_of, waveforms_of
from pipeline.reserve import FILE as RESERVE
from pipeline.spool import Spool
from pipeline.spool_file import FILE, LEAP, SENT_AHEAD
from tests.support.disk import run_on_small_disk
from tests.support.spine import ASSET, T0_NS, batch, event, spool_settings, tally, values_of, waveform

ROOT = Path(__file__).resolve().parents[2]
SPOOL_FULL = CAUSES.index(Cause.SPOOL_FULL)
HOUR_NS = 60 * MINUTE_NS


def clock() -> int:
    return T0_NS


def spool(folder: Path, now: Callable[[], int] = clock, **more: Any) -> Spool:
    return Spool(spool_settings(folder, **more), "gw-1", now)


def noise(seed: int, n: int = 500) -> Batch:
    """Rows that no compression makes smaller: some 8 bytes each."""
    values = np.random.default_rng(seed).random(n)
    return Batch.of(ASSET, ("a",), T0_NS + np.arange(n) * 1_000_000, 0, values)


async def held(one: Spool, after: int = 0) -> list[Record]:
    """Everything, as a forwarder would read it; checks the chain of numbers on the way."""
    found: list[wire.Frame] = []
    while part := await one.read(found[-1].seq if found else after, 100_000):
        found.extend(part)
    chain = [after, *(frame.seq for frame in found)]
    assert [(frame.previous, frame.seq) for frame in found] == list(pairwise(chain))
    return [wire.record(frame) for frame in found]


def losses_of(records: Sequence[Record]) -> list[Event]:
    bodies = [body for record in records for body in record.bodies]
    return [body for body in bodies if isinstance(body, Event) and body.kind == "loss"]


def copied(folder: Path, to: Path) -> Path:
    """The folder as a power cut leaves it: the files as they are, no close."""
    to.mkdir()
    for file in folder.iterdir():
        if file.is_file() and file.name not in {RESERVE, FILE + "-shm"}:
            shutil.copy(file, to / file.name)
    return to


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


# In and out


async def test_record_comes_back_as_it_was_appended(folder: Path) -> None:
    bodies: list[Body] = [batch(), tally(3), event()]
    async with spool(folder) as one:
        seq = await one.append(bodies, {"memory": "7"})
        (got,) = await held(one)
        assert (got.source, got.epoch, got.seq, got.gateway_ns) == ("gw-1", one.epoch, seq, T0_NS)
        assert list(got.bodies) == bodies
        assert (one.pending(), one.head) == (1, seq)


async def test_appends_of_one_moment_share_a_record_and_stay_in_order(folder: Path) -> None:
    async with spool(folder, group_s=0.05) as one:
        seqs = await asyncio.gather(*(one.append([batch(10 * i)]) for i in range(5)))
        assert len(set(seqs)) == 1
        assert values_of(await held(one)) == [10.0 * i + k for i in range(5) for k in range(3)]


async def test_group_that_would_be_too_large_for_a_broker_becomes_several_records(folder: Path) -> None:
    big = Batch.of(ASSET, ("a",), T0_NS, 0, np.zeros(spool_module.GROUP_ROWS // 2))
    async with spool(folder, group_s=0.05) as one:
        seqs = await asyncio.gather(*(one.append([big]) for _ in range(5)))
        assert sorted(seqs) == [1, 1, 2, 2, 3]
        assert [rows_of(record.bodies) for record in await held(one)] == [100_000, 100_000, 50_000]


async def test_read_gives_at_least_one_record_and_else_no_more_than_asked(folder: Path) -> None:
    async with spool(folder) as one:
        for seed in range(4):
            await one.append([noise(seed)])
        (first,) = await one.read(0, 1)
        assert len(await one.read(0, len(first.payload) * 5 // 2)) == 2
        assert len(await one.read(2, 1_000_000)) == 2
        assert await one.read(4, 1_000_000) == []


async def test_released_records_are_gone_and_stay_gone(folder: Path) -> None:
    async with spool(folder, keep_mb=0) as one:
        for i in range(4):
            await one.append([batch(i)])
        await one.release(3)
        await one.release(2)
        assert (one.pending(), one.released) == (1, 3)
    async with spool(folder) as one:
        assert [record.seq for record in await held(one)] == [4]
        assert (one.released, one.head) == (3, 4)


async def test_released_records_are_kept_and_taken_back_when_the_store_went_back(folder: Path) -> None:
    async with spool(folder) as one:
        for i in range(6):
            await one.append([batch(i)])
        await one.release(5)
        assert (one.pending(), one.released) == (1, 5)
    async with spool(folder) as one:
        assert (one.pending(), one.released) == (1, 5)
        assert await one.take_back(5) == 5
        assert await one.take_back(2) == 2  # nothing of what the store lacks is gone
        assert (one.pending(), one.released) == (4, 2)
        assert one.size() == sum(len(frame.payload) for frame in await one.read(2, 1 << 30))
        assert [frame.seq for frame in await one.read(2, 1 << 30)] == [3, 4, 5, 6]
    async with spool(folder) as one:
        assert (one.pending(), one.released) == (4, 2)
        await one.release(6)
        assert one.pending() == one.size() == 0


async def test_kept_records_are_forgotten_by_size_eldest_first(folder: Path) -> None:
    async with spool(folder, keep_mb=0.02) as one:
        for i in range(20):
            await one.append([noise(i)])
            await one.release(one.head)
        there = await held(one)
        size = sum(len(frame.payload) for frame in await one.read(0, 1 << 30))
        assert [record.seq for record in there] == list(range(21 - len(there), 21))
        assert len(there) >= 2
        assert size <= 20_000
        gone = 20 - len(there)
        assert await one.take_back(1) == gone
        assert one.pending() == len(there)


async def test_kept_records_are_forgotten_by_age(folder: Path) -> None:
    now = [T0_NS]
    async with spool(folder, now=lambda: now[0], keep_hours=2) as one:
        for hour in range(6):
            now[0] = T0_NS + hour * 3_600_000_000_000
            await one.append([batch(hour)])
            await one.release(one.head)
        assert [record.seq for record in await held(one)] == [4, 5, 6]


async def test_kept_records_make_room_before_anything_is_dropped(folder: Path) -> None:
    async with spool(folder, cap_mb=0.05) as one:
        for i in range(10):
            await one.append([noise(i)])
        await one.release(10)
        for i in range(10, 19):
            await one.append([noise(i)])
        there = await held(one)
        assert not losses_of(there)
        assert [record.seq for record in there if record.seq > 10] == list(range(11, 20))
        assert sum(len(frame.payload) for frame in await one.read(0, 1 << 30)) <= 50_000


async def test_a_spool_of_a_version_that_kept_nothing_says_what_is_gone(folder: Path) -> None:
    async with spool(folder, keep_mb=0) as one:
        for i in range(6):
            await one.append([batch(i)])
        await one.release(4)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db, db:
        db.execute("DELETE FROM meta WHERE key = 'forgotten'")
    async with spool(folder) as one:
        assert await one.take_back(1) == 4
        assert [record.seq for record in await held(one)] == [5, 6]


async def test_clean_stop_keeps_everything_and_goes_on_counting(folder: Path) -> None:
    async with spool(folder) as one:
        epoch = one.epoch
        assert await one.append([batch()], {"a": "1", "b": "1"}) == 1
        assert await one.append([], {"b": "2"}) == 2
        await one.release(2)
    async with spool(folder) as one:
        assert (one.epoch, dict(one.notes)) == (epoch, {"a": "1", "b": "2"})
        assert await one.append([batch()]) == 3


async def test_leaving_waits_for_what_was_being_written(folder: Path) -> None:
    async with spool(folder, group_s=0.02) as one:
        waiting = [asyncio.ensure_future(one.append([noise(seed)])) for seed in range(3)]
        await asyncio.sleep(0.021)  # the group is with the thread, or about to be
    assert await asyncio.wait_for(asyncio.gather(*waiting), 2) == [1, 1, 1]
    async with spool(folder) as one:
        assert one.pending() == 1


async def test_cancelled_append_leaves_the_spool_whole(folder: Path) -> None:
    async with spool(folder) as one:
        waiting = asyncio.ensure_future(one.append([batch(0)]))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await one.append([batch(3)]) in {1, 2}
        assert values_of(await held(one))[-3:] == [3.0, 4.0, 5.0]


# Stops that were none


async def test_number_is_never_used_twice_after_an_unclean_stop(folder: Path, tmp_path: Path) -> None:
    async with spool(folder) as one:
        await one.append([batch(0)])
        copy = copied(folder, tmp_path / "copy")
        forgotten = await one.append([batch(3)])  # a disk that forgets what it said was written
    async with spool(copy) as again:
        assert values_of(await held(again)) == [0.0, 1.0, 2.0]
        assert again.epoch == one.epoch
        assert await again.append([batch(6)]) == 1 + LEAP + 1 > forgotten
        assert values_of(await held(again, after=1)) == [6.0, 7.0, 8.0]


async def test_notes_are_as_durable_as_the_bodies_they_came_with(folder: Path, tmp_path: Path) -> None:
    async with spool(folder) as one:
        for i in range(5):
            await one.append([batch(10 * i, 1)], {"memory": str(i)})
            async with spool(copied(folder, tmp_path / f"copy{i}")) as again:
                assert dict(again.notes) == {"memory": str(i)}
                assert values_of(await held(again))[-1] == 10.0 * i


@contextlib.contextmanager
def log_of(folder: Path) -> Iterator[Any]:
    with (folder / f"{FILE}-wal").open("r+b") as file:
        yield file


@pytest.mark.parametrize("garbage", [b"\0" * 5000, b"\xff" * 100, random.Random(1).randbytes(20_000)])
async def test_garbage_behind_the_last_write_is_passed_over(folder: Path, tmp_path: Path, garbage: bytes) -> None:
    async with spool(folder) as one:
        for i in range(5):
            await one.append([batch(10 * i)])
        copy = copied(folder, tmp_path / "copy")
    with log_of(copy) as log:
        log.seek(0, 2)
        log.write(garbage)
    async with spool(copy) as again:
        assert [record.seq for record in await held(again)] == [1, 2, 3, 4, 5]
        assert await again.append([batch()]) > one.head


@pytest.mark.parametrize("cut", [1, 100, 4095, 4096, 4120])
async def test_torn_last_write_costs_no_earlier_one(folder: Path, tmp_path: Path, cut: int) -> None:
    async with spool(folder) as one:
        for i in range(5):
            await one.append([batch(10 * i, 1)], {"memory": str(i)})
        copy = copied(folder, tmp_path / "copy")
    with log_of(copy) as log:
        log.truncate(log.seek(0, 2) - cut)
    async with spool(copy) as again:
        assert values_of(await held(again)) == [0.0, 10.0, 20.0, 30.0]
        assert dict(again.notes) == {"memory": "3"}
        assert await again.append([batch()]) > one.head


KILLED = """
import asyncio, os, sys
from pathlib import Path
from tests.support.spine import batch
from tests.pipeline.test_spool import spool

async def work(folder, number):
    async with spool(folder) as one:
        while True:
            seq = await one.append([batch(number, 1)], {"memory": str(number)})
            os.write(1, f"{seq} {number}\\n".encode())
            number += 1

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        asyncio.run(work(Path(sys.argv[1]), int(line)))
    os.write(1, f"pid {pid}\\n".encode())
    os.waitpid(pid, 0)
    os.write(1, b"ended\\n")
"""


async def test_whatever_was_acknowledged_before_a_sigkill_is_there(folder: Path) -> None:
    rng, acknowledged = random.Random(7), dict[int, float]()
    command = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for life in range(20):
            print(life * 1_000_000, file=process.stdin, flush=True)
            pid, left = 0, rng.randrange(1, 30)
            for line in process.stdout:
                first, *rest = line.split()
                if first == "pid":
                    pid = int(rest[0])
                elif first == "ended":
                    break
                else:
                    assert int(first) not in acknowledged
                    acknowledged[int(first)] = float(rest[0])
                    left -= 1
                if pid and left <= 0:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        process.stdin.close()
    async with spool(folder) as one:
        found = {record.seq: values_of([record])[0] for record in await held(one)}
    assert len(acknowledged) > 100
    assert {seq: found.get(seq) for seq in acknowledged} == acknowledged
    assert len(found) - len(acknowledged) <= 20  # durable in the moment of the signal


# Damage


async def laid_down(folder: Path, records: int, *, clean: bool = True) -> Path:
    """A spool of incompressible records, all of it in the main file."""
    async with spool(folder) as one:
        for seed in range(records):
            await one.append([noise(seed)], {"memory": str(seed)})
        if not clean:
            with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            copied(folder, folder.parent / "unclean")
    return folder if clean else folder.parent / "unclean"


def overwrite(file: Path, at: int, content: bytes) -> None:
    with file.open("r+b") as out:
        out.seek(at)
        out.write(content)


async def first_and_last(folder: Path) -> list[Record]:
    """What the spool gives after at most one failed life."""
    with contextlib.suppress(sqlite3.DatabaseError):
        async with spool(folder) as one:
            return await held(one)
    async with spool(folder) as one:
        return await held(one)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("pages", [1, 8])
async def test_zeroed_pages_cost_their_records_and_are_told(folder: Path, pages: int, clean: bool) -> None:
    place = await laid_down(folder, 60, clean=clean)
    size = (place / FILE).stat().st_size
    overwrite(place / FILE, size // 2 // 4096 * 4096, bytes(4096 * pages))
    records = await first_and_last(place)
    kept = {record.seq: record for record in records if values_of([record])}
    assert 60 > len(kept) >= 60 - 3 * pages - 4
    assert all(values_of([record]) == noise(seq - 1).value.tolist() for seq, record in kept.items())
    told = losses_of(records)
    assert sum(int(one.data.get("missing_records", 1)) for one in told) == 60 - len(kept)
    for one in told:
        if "aside" in one.data:
            assert (place / one.data["aside"] / FILE).exists()
            assert records[-1].seq > 60 + LEAP


@pytest.mark.parametrize("damage", [bytes(100), b"\xff" * 100, bytes(4096), b"not a database".ljust(4096)])
async def test_destroyed_header_costs_no_record(folder: Path, damage: bytes) -> None:
    epoch = (await spool_epoch(folder), await laid_down(folder, 30))[0]
    overwrite(folder / FILE, 0, damage)
    async with spool(folder) as one:
        records = await held(one)
        assert one.epoch == epoch
        assert dict(one.notes) == {"memory": "29"}
    assert [record.seq for record in records[:-1]] == list(range(1, 31))
    (told,) = losses_of(records)
    assert (told.data["kept_records"], told.data["missing_records"]) == (30, 0)


async def spool_epoch(folder: Path) -> Any:
    async with spool(folder) as one:
        return one.epoch


@pytest.mark.parametrize("content", [b"", b"x" * 50, random.Random(2).randbytes(40_000)])
async def test_file_that_is_lost_altogether_begins_a_new_spool_and_is_told(folder: Path, content: bytes) -> None:
    epoch = await spool_epoch(folder)
    await laid_down(folder, 5)
    (folder / FILE).write_bytes(content)
    async with spool(folder) as one:
        (record,) = await held(one)
        (told,) = losses_of([record])
        assert told.data["kept_records"] == 0
        assert one.epoch != epoch  # numbers begin anew, so it must not be taken for the old one
        assert await one.append([batch()]) > record.seq
    async with spool(folder) as one:
        assert one.pending() == 2


async def test_removed_file_is_told(folder: Path) -> None:
    await laid_down(folder, 5)
    (folder / FILE).unlink()
    async with spool(folder) as one:
        assert len(losses_of(await held(one))) == 1


async def test_destroyed_identity_is_taken_from_the_file_beside_it(folder: Path) -> None:
    epoch = await spool_epoch(folder)
    await laid_down(folder, 10)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'meta'").fetchone()[0]
    overwrite(folder / FILE, (root - 1) * 4096, b"\xee" * 4096)
    async with spool(folder) as one:
        assert one.epoch == epoch  # a new one would have the store take these records a second time
        assert [record.seq for record in (await held(one))[:-1]] == list(range(1, 11))


async def test_damage_that_shows_only_while_running_is_mended_at_the_next_start(folder: Path) -> None:
    await laid_down(folder, 60)
    size = (folder / FILE).stat().st_size
    overwrite(folder / FILE, size // 2 // 4096 * 4096, b"\xee" * 4096 * 8)
    lives = 0
    for _ in range(3):
        lives += 1
        with contextlib.suppress(sqlite3.DatabaseError):
            async with spool(folder) as one:
                records = await held(one)
                break
    assert lives <= 2
    assert len(losses_of(records)) >= 1


async def test_flipped_bit_in_a_payload_becomes_a_loss_with_its_rows(folder: Path) -> None:
    await laid_down(folder, 5)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        (payload,) = db.execute("SELECT payload FROM record WHERE seq = 3").fetchone()
    at = (folder / FILE).read_bytes().index(payload[200:260])
    overwrite(folder / FILE, at + 30, bytes([payload[230] ^ 1]))
    async with spool(folder) as one:
        records = await held(one)
        again = await held(one)
    (told,) = losses_of(records)
    assert (told.data["rows"], told.data["from_seq"], told.data["to_seq"]) == (500, 3, 3)
    assert [record.seq for record in records] == [1, 2, 3, 4, 5]
    assert values_of(records) == [value for seed in (0, 1, 3, 4) for value in noise(seed).value.tolist()]
    assert again == records  # sent twice it is the same event


async def test_identity_that_is_no_identity_is_damage(folder: Path) -> None:
    await laid_down(folder, 3)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("UPDATE meta SET value = 'xyz' WHERE key = 'epoch'")
        db.commit()
    async with spool(folder) as one:
        assert len(await held(one)) == 4


# Full


async def appended(one: Spool, numbers: Sequence[int], stamp: Callable[[int], int] = lambda _: T0_NS) -> None:
    for number in numbers:
        values = noise(number)
        made = Batch(ASSET, ("a",), values.ts_ns - T0_NS + stamp(number), values.tag, values.value, values.quality)
        told = tally(len(values), minute_ns=stamp(number) // MINUTE_NS * MINUTE_NS)
        await one.append([made, told, event(f"note {number}", key=str(number))])


def accounts(records: Sequence[Record]) -> tuple[int, int, int, int]:
    """Rows there, rows told as dropped, rows expected, events of our own."""
    bodies = [body for record in records for body in record.bodies]
    tallies = [body for body in bodies if isinstance(body, Tally)]
    dropped = sum(int(one.missing[:, SPOOL_FULL].sum()) for one in tallies)
    ours = {body.key for body in bodies if isinstance(body, Event) and body.kind != "loss"}
    return rows_of(bodies), dropped, sum(int(one.expected.sum()) for one in tallies), len(ours)


async def test_cap_drops_the_oldest_and_accounts_for_every_row(folder: Path) -> None:
    async with spool(folder, cap_mb=0.1) as one:
        await appended(one, range(100))
        assert one.size() <= 100_000 + 10_000
        records = await held(one)
    there, dropped, expected, events = accounts(records)
    assert dropped > 0
    assert there + dropped == expected == 100 * 500
    assert events == 100
    (told,) = losses_of(records)
    assert told.data["rows"] == dropped
    assert (told.data["from_seq"], told.data["to_seq"]) == (1, records[0].seq)
    assert values_of(records)[-500:] == noise(99).value.tolist()
    minutes = [body for record in records for body in record.bodies if isinstance(body, Tally)]
    assert all(minute == T0_NS for body in minutes for minute in body.minute_ns.tolist())


async def test_dropped_waveforms_are_told_with_the_rows(folder: Path) -> None:
    async with spool(folder, cap_mb=0.1) as one:
        for i in range(60):
            await one.append([waveform(n=500, ts_ns=T0_NS + i, seed=i), noise(i, 10)])
        records = await held(one)
    (told,) = losses_of(records)
    kept = waveforms_of([body for record in records for body in record.bodies])
    assert 0 < kept == 60 - told.data["waveforms"]
    assert f"{told.data['rows']} rows and {told.data['waveforms']} waveforms dropped" in told.text


async def test_large_waveforms_are_records_of_their_own(folder: Path) -> None:
    async with spool(folder, group_s=0.05) as one:
        large = [waveform(n=200_000, ts_ns=T0_NS + i, seed=i) for i in range(3)]
        seqs = await asyncio.gather(*(one.append([body]) for body in large))
        records = await held(one)
    assert len(set(seqs)) == 3
    assert [record.bodies for record in records] == [(body,) for body in large]


async def test_records_that_may_have_been_sent_are_never_dropped(folder: Path) -> None:
    async with spool(folder, cap_mb=0.1) as one:
        await appended(one, range(10))
        sent = await one.read(0, 20_000)
        assert len(sent) >= 3
        with contextlib.suppress(SpoolFull):
            await appended(one, range(10, 200))
        records = await held(one)
    assert records[: len(sent)] == [wire.record(frame) for frame in sent]


async def test_mark_of_what_may_have_been_sent_outlives_an_unclean_stop(folder: Path, tmp_path: Path) -> None:
    async with spool(folder, cap_mb=0.1) as one:
        await appended(one, range(10))
        sent = await one.read(0, 1_000_000)
        copy = copied(folder, tmp_path / "copy")
    async with spool(copy, cap_mb=0.1) as again:
        with contextlib.suppress(SpoolFull):
            await appended(again, range(10, 200))
        assert (await held(again))[:10] == [wire.record(frame) for frame in sent]


async def test_nothing_left_to_drop_is_said(folder: Path) -> None:
    async with spool(folder, cap_mb=0.1) as one:
        await appended(one, range(10))
        await one.read(0, 1_000_000)
        with pytest.raises(
            SpoolFull, match=r"everything in it may have been sent already; make room on the disk or raise"
        ):
            await appended(one, range(10, 10 + SENT_AHEAD))
        kept = one.pending()
        await one.release(one.head)
        assert kept > 10
        await appended(one, [1])
        assert one.pending() == 1


def constantly(ns: int) -> Callable[[int], int]:
    return lambda _: ns


async def test_stubs_of_an_hour_are_one(folder: Path) -> None:
    now = T0_NS

    async with spool(folder, lambda: now, cap_mb=0.05) as one:
        for hour in range(3):
            now = T0_NS + hour * 2 * HOUR_NS
            await appended(one, range(hour * 100, hour * 100 + 40), constantly(now))
        records = await held(one)
    there, dropped, expected, events = accounts(records)
    assert (there + dropped, expected, events) == (60_000, 60_000, 120)
    assert 2 <= len(losses_of(records)) <= 4
    assert sum(int(told.data["rows"]) for told in losses_of(records)) == dropped


async def test_records_past_the_longest_outage_are_dropped(folder: Path) -> None:
    now = T0_NS
    async with spool(folder, lambda: now, cap_hours=1.0) as one:
        await appended(one, range(3))
        now += HOUR_NS * 3 // 2
        await appended(one, range(3, 8))
        there, dropped, expected, events = accounts(await held(one))
    assert (there, dropped, expected, events) == (2_500, 1_500, 4_000, 8)


async def test_a_clock_that_jumps_ahead_by_years_drops_nothing(folder: Path) -> None:
    now = T0_NS
    async with spool(folder, lambda: now, cap_hours=1.0) as one:
        await appended(one, range(3))
        now += 10 * 365 * 24 * HOUR_NS
        await appended(one, range(3, 8))
        there, dropped, expected, events = accounts(await held(one))
    assert (there, dropped, expected, events) == (4_000, 0, 4_000, 8)


async def test_record_larger_than_the_cap_is_refused_and_costs_nothing_else(folder: Path) -> None:
    async with spool(folder, cap_mb=0.01) as one:
        with pytest.raises(SpoolFull):
            await one.append([noise(1, 5_000)])
        assert await one.append([batch()]) == 1


@pytest.mark.parametrize(
    "case", ["drops_and_goes_on", "keeps_what_was_acknowledged", "drains", "forgets_first", "starts", "says_so"]
)
def test_full_disk(case: str) -> None:
    run_on_small_disk("24m", "tests.pipeline.full_disk", case)


# Not ours to use


async def test_folder_that_another_gateway_has_open_is_refused(folder: Path) -> None:
    async with spool(folder):
        with pytest.raises(ConfigError, match=r"gateway.spool.folder = .*another gateway has it open; name a folder"):
            await spool(folder).__aenter__()
    async with spool(folder):
        pass


@pytest.mark.parametrize("place", ["file", "/proc/rootdx"])
async def test_folder_that_cannot_be_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigError, match=r"gateway.spool.folder = .*cannot be used: .*name a folder that this user may"
    ):
        await spool(tmp_path / place).__aenter__()


async def test_file_that_another_program_holds_is_not_taken_for_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await laid_down(folder, 3)
    monkeypatch.setattr(spool_database, "BUSY_S", 0.05)
    with contextlib.closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match=r"locked; .*let no other program hold spool.sqlite"):
            await spool(folder).__aenter__()
        other.execute("ROLLBACK")
    async with spool(folder) as one:
        assert [record.seq for record in await held(one)] == [1, 2, 3]
    assert not list(folder.glob("damaged-*"))


@pytest.fixture
async def running(folder: Path) -> AsyncIterator[Spool]:
    async with spool(folder) as one:
        yield one


async def test_hours_left_follow_the_rate(running: Spool) -> None:
    assert running.outage_hours_left() == float("inf")
    await running.append([noise(1)])
    assert 0 < running.outage_hours_left() < 2_048_000_000 / 4_000 / 3600
