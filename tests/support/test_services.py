"""The TimescaleDB test server does what our schema and store ask of it, and no test sees what another one left."""

import asyncio
import datetime as dt

import psycopg
import pytest

from tests.support.services import Timescale

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TABLE = """
CREATE SCHEMA rootdx;
CREATE TABLE rootdx.m (ts timestamptz NOT NULL, tag int NOT NULL, value float8);
"""
HYPERTABLE = "SELECT create_hypertable('rootdx.m', by_range('ts', INTERVAL '1 day'))"
COLUMNSTORE = "ALTER TABLE rootdx.m SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'tag')"
COPY = "COPY rootdx.m (ts, tag, value) FROM STDIN (FORMAT binary)"
HOURLY = """
CREATE MATERIALIZED VIEW rootdx.hourly WITH (timescaledb.continuous) AS
SELECT time_bucket('1 hour', ts) AS hour, tag, sum(value) AS total FROM rootdx.m GROUP BY 1, 2 WITH NO DATA
"""
REFRESH = "CALL refresh_continuous_aggregate('rootdx.hourly', '2026-01-01', '2026-01-02')"
COMPRESSED = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"


def connect(dsn: str) -> psycopg.Connection:
    return psycopg.connect(dsn, autocommit=True)


def copy_in(connection: psycopg.Connection, rows: int) -> None:
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.set_types(["timestamptz", "int4", "float8"])
        for row in range(rows):
            copy.write_row((START + dt.timedelta(seconds=row), row % 3, 1.0))


def value_of(connection: psycopg.Connection, sql: str) -> object:
    row = connection.execute(sql.encode()).fetchone()
    return None if row is None else row[0]


def test_hypertable_takes_binary_copy(timescale_dsn: str) -> None:
    with connect(timescale_dsn) as connection:
        connection.execute(TABLE)
        connection.execute(HYPERTABLE)
        copy_in(connection, 5000)
        assert value_of(connection, "SELECT count(*) FROM rootdx.m") == 5000
        assert value_of(connection, COMPRESSED) == 0


def test_direct_compress_copy_fills_the_columnstore(timescale_dsn: str) -> None:
    with connect(timescale_dsn) as connection:
        connection.execute(TABLE)
        connection.execute(HYPERTABLE)
        connection.execute(COLUMNSTORE)
        connection.execute("SET timescaledb.enable_direct_compress_copy = on")
        copy_in(connection, 20_000)
        assert value_of(connection, "SELECT count(*) FROM rootdx.m") == 20_000
        assert value_of(connection, COMPRESSED) == 1


def test_continuous_aggregate_refreshes(timescale_dsn: str) -> None:
    with connect(timescale_dsn) as connection:
        connection.execute(TABLE)
        connection.execute(HYPERTABLE)
        copy_in(connection, 7200)
        connection.execute(HOURLY)
        connection.execute(REFRESH)
        assert value_of(connection, "SELECT sum(total) FROM rootdx.hourly") == 7200.0


def test_settings_of_one_connection_do_not_leak_into_another(timescale_dsn: str) -> None:
    with connect(timescale_dsn) as first, connect(timescale_dsn) as second:
        first.execute("SET timezone = 'Asia/Seoul'")
        assert value_of(second, "SHOW timezone") != "Asia/Seoul"
        assert value_of(first, "SHOW timezone") == "Asia/Seoul"


async def test_notification_crosses_connections(timescale_dsn: str) -> None:
    async with (
        await psycopg.AsyncConnection.connect(timescale_dsn, autocommit=True) as hears,
        await psycopg.AsyncConnection.connect(timescale_dsn, autocommit=True) as says,
    ):
        await hears.execute("LISTEN committed")
        await says.execute("NOTIFY committed, 'gateway 7'")
        async with asyncio.timeout(5):
            notification = await anext(hears.notifies())
        assert notification.payload == "gateway 7"


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_begins_with_an_empty_database(timescale_dsn: str, timescale: Timescale, turn: int) -> None:
    with connect(timescale_dsn) as connection:
        for sql in (TABLE, HYPERTABLE, COLUMNSTORE, HOURLY):
            connection.execute(sql)
        connection.execute("SELECT add_retention_policy('rootdx.m', INTERVAL '3 days')")
        connection.execute("SELECT add_continuous_aggregate_policy('rootdx.hourly', '3 days', '1 hour', '1 hour')")
        connection.execute("CREATE PROCEDURE work(job int, config jsonb) LANGUAGE plpgsql AS 'BEGIN END'")
        connection.execute("SELECT add_job('work', '1 hour')")
        connection.execute("CREATE TYPE mood AS ENUM ('good'); CREATE SEQUENCE numbers; CREATE ROLE reader LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA rootdx TO reader")


def test_cleaning_twice_in_one_test_works(timescale_dsn: str, timescale: Timescale) -> None:
    with connect(timescale_dsn) as connection:
        connection.execute("CREATE TABLE leftover (id int)")
    timescale.clean()
    with connect(timescale.dsn) as connection:
        assert value_of(connection, "SELECT to_regclass('leftover')") is None


def test_plain_database_is_empty_and_has_no_timescaledb(database: str) -> None:
    with connect(database) as connection:
        assert value_of(connection, "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'") == 0
        assert value_of(connection, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
