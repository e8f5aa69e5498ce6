"""The hourly tally is the sum of the lines of tally at every moment: late ones, corrections and a rollback included."""

import random

import psycopg
import pytest

from pipeline.model import MINUTE_NS
from tests.pipeline.test_store import feeding
from tests.support.spine import ASSET, T0_NS, ask, batch, tally

CAUSES = "unreachable, late, gateway_down, spool_full, quarantined, machine_off"
SUMS = ", ".join(f"sum({name})::bigint" for name in f"expected, {CAUSES}".split(", "))
OF_LINES = f"""
    SELECT date_trunc('hour', minute, 'UTC'), tag_id, {SUMS} FROM rootdx.tally GROUP BY 1, 2 ORDER BY 1, 2"""
OF_HOURS = f"SELECT hour, tag_id, expected, {CAUSES} FROM rootdx.tally_1h ORDER BY 1, 2"
FROM_MINUTES = f"""
    SELECT date_trunc('hour', minute, 'UTC'), asset, sum(expected)::bigint, sum(stored)::bigint,
           {SUMS.partition(", ")[2]}, sum(on_the_way)::bigint
    FROM rootdx.completeness_by_asset GROUP BY 1, 2 ORDER BY 1, 2"""
"""Hours as the view of the minutes has them."""


@pytest.mark.parametrize("direct_rows", [1, 5_000])
async def test_hours_are_the_sums_of_their_lines_at_every_moment(engine_dsn: str, direct_rows: int) -> None:
    """Also of lines that go straight into the columnstore."""
    random_of = random.Random(5)
    async with feeding(engine_dsn, direct_rows) as feed:
        for _ in range(12):
            minute = T0_NS + random_of.randrange(-300, 300) * MINUTE_NS
            lines = [
                tally(60, tags=(random_of.choice("ab"),), minute_ns=minute + n * MINUTE_NS, late=random_of.randrange(5))
                for n in range(random_of.randrange(1, 90))
            ]
            await feed.take(*lines, batch(0, 5, ts_ns=minute))
            assert ask(engine_dsn, OF_HOURS) == ask(engine_dsn, OF_LINES)
        await feed.take(tally(-60, late=-3, tags=("a",)))
        assert ask(engine_dsn, OF_HOURS) == ask(engine_dsn, OF_LINES)
    told = ask(engine_dsn, "SELECT * FROM rootdx.completeness_hours('2020-01-01', '2040-01-01') ORDER BY 1, 2")
    assert [row[1] for row in told] == [ASSET] * len(told)
    assert told == ask(engine_dsn, FROM_MINUTES)


def test_lines_that_were_rolled_back_are_in_no_hour(engine_dsn: str) -> None:
    line = "INSERT INTO rootdx.tally VALUES ('2026-05-01 00:00+00', 1, 7, 60, 0, 0, 0, 0, 0, 0)"
    with psycopg.connect(engine_dsn) as db:
        db.execute(line.encode())
        db.rollback()
        assert db.execute("SELECT count(*) FROM rootdx.tally_1h").fetchall() == [(0,)]
    ask(engine_dsn, line)
    assert ask(engine_dsn, "SELECT expected FROM rootdx.tally_1h") == [(60,)]
    ask(engine_dsn, "TRUNCATE rootdx.tally")
    assert ask(engine_dsn, "SELECT expected FROM rootdx.tally_1h") == []


def test_hour_of_two_transactions_has_both(plain_dsn: str) -> None:
    """The second waits for the first, as two writers of one tag would."""
    line = """INSERT INTO rootdx.tally
              SELECT '2026-05-01 00:00+00', 1, tag, 60, 0, 1, 0, 0, 0, 0 FROM generate_series({}) tag"""
    with psycopg.connect(plain_dsn) as first, psycopg.connect(plain_dsn) as second:
        first.execute(line.format("1, 3").encode())
        second.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute(line.format("3, 1, -1").encode())
        second.rollback()
        first.commit()
        second.execute(line.format("3, 1, -1").encode())
        second.commit()
    assert ask(plain_dsn, "SELECT tag_id, expected, late FROM rootdx.tally_1h ORDER BY 1") == [
        (1, 120, 2), (2, 120, 2), (3, 120, 2),
    ]  # fmt: skip
