"""Several writers of one store: who serves what, and what happens when one comes or goes.

Runs on plain PostgreSQL and the embedded broker; what is killed is a process of its own.
"""

import asyncio
import contextlib
import logging
import os
import random
import secrets
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psycopg
import pytest
import tomli_w
from hypothesis import given, strategies as st

from pipeline import roster, writer
from pipeline.database import connect
from pipeline.errors import Unavailable
from pipeline.roster import Member, Roster, owner
from pipeline.settings import DSN_ENV, Settings
from pipeline.spool import Spool
from pipeline.topics import Committed
from rootdx.embedded import Broker
from tests.pipeline.test_writer import fed, gateway, spooling, stored, until, writing
from tests.support.spine import ask, batch, one, writer_settings

ROOT = Path(__file__).resolve().parents[2]
NAMES = st.text("abcdefgh-12", min_size=1, max_size=6)
GATEWAYS = [f"gw-{i}" for i in range(60)]


@st.composite
def _members(draw: st.DrawFn) -> list[Member]:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    lists = st.one_of(st.just(()), st.lists(st.sampled_from(GATEWAYS), min_size=1, max_size=20).map(tuple))
    return [Member(name, draw(lists)) for name in names]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LONGEST_WAIT_S", 0.3)


def settings_of(dsn: str, broker: Broker, name: str, *gateways: str) -> Settings:
    made = writer_settings(dsn, broker.port)
    return made.model_copy(update={"writer": made.writer.model_copy(update={"name": name, "gateways": gateways})})


def falls_to(name: str, *others: str) -> str:
    """A gateway that this writer serves when those others are there."""
    members = [Member(one) for one in (name, *others)]
    return next(one for one in iter(lambda: f"gw-{secrets.token_hex(3)}", "") if owner(one, members) == name)


def at_work(dsn: str) -> list[str]:
    return [name for (name,) in ask(dsn, "SELECT name FROM rootdx.writer ORDER BY name")]


def knows(dsn: str, name: str) -> set[str]:
    who = "SELECT array(SELECT o.name FROM rootdx.writer o WHERE o.stay = ANY(w.knows)) FROM rootdx.writer w"
    rows = ask(dsn, f"{who} WHERE w.name = %s", name)
    return set(rows[0][0]) if rows else set()


# Who serves what


@given(_members())
def test_every_gateway_has_exactly_one_owner_among_those_that_serve_it(members: list[Member]) -> None:
    for asked in GATEWAYS:
        serving = {one.name for one in members if one.serves(asked)}
        found = {one.name for one in members if roster.Share(one.name, tuple(members)).owns(asked)}
        assert len(found) == (1 if serving else 0)
        assert found <= serving


@given(_members(), st.randoms())
def test_the_order_of_the_list_does_not_matter(members: list[Member], shuffle: random.Random) -> None:
    shuffled = shuffle.sample(members, len(members))
    assert [owner(one, members) for one in GATEWAYS] == [owner(one, shuffled) for one in GATEWAYS]


@given(_members())
def test_a_writer_that_leaves_moves_only_its_own(members: list[Member]) -> None:
    gone, *rest = members
    for asked in GATEWAYS:
        before = owner(asked, members)
        assert before == gone.name or owner(asked, rest) == before


def test_shares_are_of_about_one_size() -> None:
    members = [Member("writer-1"), Member("writer-2"), Member("writer-3")]
    owners = [owner(f"gw-{i}", members) for i in range(600)]
    assert all(150 <= owners.count(one.name) <= 250 for one in members)


# The list


@contextlib.asynccontextmanager
async def on_the_list(dsn: str, name: str, life: uuid.UUID | None = None) -> AsyncIterator[Roster]:
    db = await connect(dsn, 5)
    try:
        one = Roster(db, Member(name), life or uuid.uuid4())
        await one.join()
        yield one
    finally:
        await db.close()


def names(seen: roster.Seen) -> list[str]:
    return [one.name for one in seen.share.members]


async def test_a_name_that_is_taken_gets_a_number(plain_dsn: str) -> None:
    life = uuid.uuid4()
    async with on_the_list(plain_dsn, "w"), on_the_list(plain_dsn, "w", life) as second:
        assert (await second.beat()).share.me == "w-2"
        async with on_the_list(plain_dsn, "w", life) as again:  # the same process on a new connection
            assert (await again.beat()).share.me == "w-2"


async def test_a_name_is_free_at_once_when_the_process_behind_it_is_gone(plain_dsn: str) -> None:
    async with on_the_list(plain_dsn, "w"):
        pass
    await until(lambda: one(plain_dsn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rootdx'") == 0)
    async with on_the_list(plain_dsn, "w") as next_one:
        seen = await next_one.beat()
    assert names(seen) == ["w"]
    assert seen.welcome


async def test_one_who_comes_is_welcome_when_all_the_others_made_room(plain_dsn: str) -> None:
    async with on_the_list(plain_dsn, "a") as a, on_the_list(plain_dsn, "b") as b, on_the_list(plain_dsn, "c") as c:
        assert not (await b.beat()).welcome
        await a.welcome((await a.beat()).share)
        assert not (await b.beat()).welcome
        await c.welcome((await c.beat()).share)
        assert (await b.beat()).welcome


async def test_who_is_killed_is_missed_after_the_grace_and_who_says_nothing_after_longer(
    plain_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with on_the_list(plain_dsn, "a") as a, on_the_list(plain_dsn, "silent"):
        async with on_the_list(plain_dsn, "killed"):
            pass
        assert names(await a.beat()) == ["a", "killed", "silent"]
        monkeypatch.setattr(roster, "GRACE_S", 0.0)
        await until(
            lambda: one(plain_dsn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rootdx'") == 2
        )
        assert names(await a.beat()) == ["a", "silent"]
        monkeypatch.setattr(roster, "FORGET_S", 0.0)
        assert names(await a.beat()) == ["a"]


async def test_whose_line_was_given_away_is_told(plain_dsn: str) -> None:
    async with on_the_list(plain_dsn, "a") as a:
        ask(plain_dsn, "UPDATE rootdx.writer SET life = %s", uuid.uuid4())
        with pytest.raises(Unavailable, match="taken off the list"):
            await a.beat()


async def test_the_writers_role_may_keep_the_list(plain_dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(plain_dsn, autocommit=True) as db:
        await db.execute("SET ROLE rootdx_writer")
        one = Roster(db, Member("w"), uuid.uuid4())
        await one.join()
        seen = await one.beat()
        await one.welcome(seen.share)
        assert at_work(plain_dsn) == ["w"]
        assert knows(plain_dsn, "w") == {"w"}
        await one.leave()
    assert at_work(plain_dsn) == []


# Coming and going


async def test_a_lone_writer_serves_everything_and_leaves_no_line_behind(plain_dsn: str, broker: Broker) -> None:
    async with gateway(broker) as gw:
        async with writing(settings_of(plain_dsn, broker, "a")):
            await until(lambda: at_work(plain_dsn) == ["a"])
            await asyncio.sleep(0.2)
            await gw.send(gw.frame(batch(0)))
            await gw.committed(1)
        assert at_work(plain_dsn) == []


async def test_a_gateway_that_moves_there_and_back_is_read_afresh_each_time(
    plain_dsn: str, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that keeps what it once knew would announce an old number, or lose its first transaction."""
    caplog.set_level(logging.INFO)
    name = falls_to("b", "a")
    async with (
        writing(settings_of(plain_dsn, broker, "a")) as work,
        spooling(tmp_path, broker.port, name) as spool,
        gateway(broker, name) as listening,
    ):
        for turn in range(3):
            await fed(spool, 10, 30 * turn)
            await until(lambda: spool.pending() == 0, work=work)
            async with writing(settings_of(plain_dsn, broker, "b")):
                await fed(spool, 10, 30 * turn + 10)
                await until(lambda: "b" in knows(plain_dsn, "a"))
                await until(lambda: spool.pending() == 0)
                await fed(spool, 10, 30 * turn + 20)
                await until(lambda: spool.pending() == 0)
            await until(lambda: at_work(plain_dsn) == ["a"])
        await fed(spool, 10, 90)
        await until(lambda: spool.pending() == 0, work=work)
        said = [one.last for one in listening.said]
    assert stored(plain_dsn) == [float(i) for i in range(100)]
    assert said == sorted(said), "an old number was announced"
    assert "another writer is at work" not in caplog.text, "a transaction was lost though nobody died"
    assert caplog.text.count("gateway left to another writer") == 3


async def test_writers_that_come_and_go_under_load_lose_no_transaction(
    plain_dsn: str, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        spools = [
            await stack.enter_async_context(spooling(tmp_path / str(i), broker.port, f"gw-{secrets.token_hex(3)}"))
            for i in range(6)
        ]
        await stack.enter_async_context(writing(settings_of(plain_dsn, broker, "a")))
        filling = asyncio.create_task(_fill(spools, 150))
        for _ in range(2):
            async with writing(settings_of(plain_dsn, broker, "b")), writing(settings_of(plain_dsn, broker, "c")):
                await until(lambda: {"b", "c"} <= knows(plain_dsn, "a"))
                await asyncio.sleep(1.0)  # they work
        await filling
        await until(lambda: all(one.pending() == 0 for one in spools), 30)
    assert sorted(stored(plain_dsn)) == sorted(float(i) for i in range(150) for _ in spools)
    assert "another writer is at work" not in caplog.text


async def _fill(spools: Sequence[Spool], records: int) -> None:
    for i in range(records):
        await asyncio.gather(*(fed(one, 1, i) for one in spools))
        await asyncio.sleep(0.04)


@contextlib.asynccontextmanager
async def process(folder: Path, dsn: str, broker: Broker, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    file = folder / f"{name}.toml"
    file.write_text(tomli_w.dumps({"bus": {"port": broker.port}, "writer": {"name": name}}))
    command = [sys.executable, "-m", "rootdx", "writer", "--config", str(file)]
    with (folder / f"{name}.log").open("wb") as log:
        started = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, DSN_ENV: dsn}
        )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def test_gateways_of_a_writer_that_is_killed_are_taken_over(
    plain_dsn: str, broker: Broker, tmp_path: Path
) -> None:
    async with (
        process(tmp_path, plain_dsn, broker, "a") as a,
        process(tmp_path, plain_dsn, broker, "b"),
        spooling(tmp_path / "1", broker.port, falls_to("a", "b")) as first,
        spooling(tmp_path / "2", broker.port, falls_to("b", "a")) as second,
    ):
        await until(lambda: "b" in knows(plain_dsn, "a") and "a" in knows(plain_dsn, "b"), 20)
        await _fill([first, second], 10)
        await until(lambda: first.pending() == second.pending() == 0)
        a.send_signal(signal.SIGKILL)
        filling = asyncio.create_task(_fill([first, second], 20))
        await until(lambda: second.pending() == 0 and first.pending() > 0)
        await filling
        await until(lambda: first.pending() == 0, roster.GRACE_S + roster.BEAT_S + 4)
    assert sorted(stored(plain_dsn)) == sorted([float(i) for n in (10, 20) for i in range(n)] * 2)


async def test_a_list_of_gateways_is_served_and_nothing_else(plain_dsn: str, broker: Broker) -> None:
    async with gateway(broker) as mine, gateway(broker) as other:
        async with writing(settings_of(plain_dsn, broker, "a", mine.name)):
            await until(lambda: at_work(plain_dsn) == ["a"])
            await asyncio.sleep(0.2)
            await mine.send(mine.frame(batch(0)))
            await other.send(other.frame(batch(10)))
            await mine.committed(1)
            assert stored(plain_dsn) == [0, 1, 2]
            assert other.said == []
        async with (
            writing(settings_of(plain_dsn, broker, "a", mine.name)),
            writing(settings_of(plain_dsn, broker, "b", other.name)),
        ):
            await until(lambda: at_work(plain_dsn) == ["a", "b"])
            await asyncio.sleep(1.5)
            await other.send(other.frame(batch(10), seq=1, previous=0))
            await mine.send(mine.frame(batch(20)))
            await other.committed(1)
            await mine.committed(2)
    assert sorted(stored(plain_dsn)) == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert Committed(mine.epoch, 2) in mine.said
