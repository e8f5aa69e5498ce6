"""Fixtures of the spine: migrated databases.

plain_dsn        a migrated plain PostgreSQL database, as its superuser
timescale_store  a migrated TimescaleDB database, likewise
engine_dsn       each of both, one after the other
"""

import pytest

from pipeline import migrate
from tests.support.services import Timescale, run


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
