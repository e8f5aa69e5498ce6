"""Fixtures for all tests: real services, one of each a session.

    postgres        the embedded PostgreSQL server itself (chaos tests kill it and start it again)
    database        DSN of a fresh, empty database on it: plain PostgreSQL, no TimescaleDB
    broker          the embedded MQTT broker; tests share it, so use topics and client ids of your own
    timescale       the TimescaleDB test server itself
    timescale_dsn   DSN of its one database, emptied before the test
    plain_dsn       a migrated plain PostgreSQL database, as its superuser
    timescale_store a migrated TimescaleDB database, likewise
    engine_dsn      each of both, one after the other

A test that uses `database` or `timescale_dsn` is marked `plain` or `timescale` by that alone.
A service that cannot be had fails the test with a sentence; it never skips.
"""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from pipeline import migrate
from rootdx.embedded import Broker, Postgres
from tests.support.services import Timescale, reachable_folder, run

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
"""How fast a machine is says nothing about a property."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marks = {"database": pytest.mark.plain, "timescale_dsn": pytest.mark.timescale}
    for item in items:
        for fixture in marks.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(marks[fixture])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with reachable_folder() as folder:
        server = Postgres(folder, settings={"max_connections": "60"})
        run(server.start())
        yield server
        run(server.stop())


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    if postgres.pid is None:  # a chaos test failed between kill and start
        run(postgres.start())
    name = f"plain_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield postgres.dsn(dbname=name)
    if postgres.pid is None:
        run(postgres.start())
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    with reachable_folder() as folder:
        server = Broker(folder)
        run(server.start())
        yield server
        run(server.stop())


@pytest.fixture(scope="session")
def timescale() -> Iterator[Timescale]:
    server = Timescale()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def timescale_dsn(timescale: Timescale) -> str:
    timescale.clean()
    return timescale.dsn


@pytest.fixture
def plain_dsn(database: str) -> str:
    run(migrate.migrate(database))
    return database


@pytest.fixture
def timescale_store(timescale_dsn: str) -> str:
    run(migrate.migrate(timescale_dsn))
    return timescale_dsn


@pytest.fixture(
    params=[pytest.param("plain", marks=pytest.mark.plain), pytest.param("timescale", marks=pytest.mark.timescale)]
)
def engine_dsn(request: pytest.FixtureRequest) -> str:
    dsn: str = request.getfixturevalue("plain_dsn" if request.param == "plain" else "timescale_store")
    return dsn


@pytest.fixture
def timescale_server(timescale: Timescale) -> Timescale:
    return timescale
