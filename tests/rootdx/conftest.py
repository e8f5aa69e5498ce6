"""A plant filled once a session, read by most tests; those that write get a copy of its database."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pipeline import migrate
from rootdx.embedded import Postgres
from tests.support import front_door
from tests.support.front_door import Shop
from tests.support.services import run


@dataclass(frozen=True, slots=True)
class Built:
    """A database and the settings beside it."""

    name: str
    dsn: str
    config: Path


@pytest.fixture(scope="session")
def built(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("shop")
    name = f"shop_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
    dsn = postgres.dsn(dbname=name)
    run(migrate.migrate(dsn))
    front_door.let_in(dsn)
    shapes = front_door.windows()
    front_door.write_plant(folder / "plant", shapes)
    run(front_door.fill(dsn, folder / "plant", shapes))
    (folder / "rootdx.toml").write_text('[analytics]\nplant = "plant"\npatience_s = 1000000.0\nspan_h = 0.5\n')
    yield Built(name, dsn, folder / "rootdx.toml")
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def shop(built: Built) -> Shop:
    """The plant, to be looked at only."""
    front_door.let_in(built.dsn)  # roles are the server's: another test may have given them other passwords
    return Shop(built.dsn, built.config)


@contextlib.contextmanager
def copied(built: Built, postgres: Postgres) -> Iterator[Shop]:
    """A copy of the plant, for as long as it is open."""
    name = f"copy_{secrets.token_hex(4)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} TEMPLATE {built.name}".encode())
    front_door.let_in(built.dsn)
    yield Shop(postgres.dsn(dbname=name), built.config)
    with psycopg.connect(postgres.dsn(), autocommit=True) as db:
        db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def own_shop(built: Built, postgres: Postgres) -> Iterator[Shop]:
    """A plant of one's own."""
    with copied(built, postgres) as shop:
        yield shop


@pytest.fixture(scope="module")
def module_shop(built: Built, postgres: Postgres) -> Iterator[Shop]:
    """A plant of a module's own."""
    with copied(built, postgres) as shop:
        yield shop
