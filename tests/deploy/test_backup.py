"""The backup that is shipped, the receiver of the log, and the runbook's own lines of a restore; on real PostgreSQL.

Not the real thing: `runuser`, `install` and `chown` leave accounts out, for there is no user postgres here, and
`systemctl` does nothing.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from rootdx.embedded import Postgres
from tests.deploy.test_runbook import DEPLOY, blocks
from tests.support.restoring import hand_over, program, writable
from tests.support.services import reachable_folder, run
from tests.support.spine import ask

pytestmark = [pytest.mark.plain, pytest.mark.timeout(120)]
DAY = datetime.now().astimezone().strftime("%Y-%m-%d")
MAIN, CONF = "/var/lib/postgresql/17/main", "/etc/postgresql/17/main/conf.d"


@dataclass
class Site:
    """A server with a table, its settings, and a disk for backups."""

    root: Path
    server: Postgres

    @property
    def disk(self) -> Path:
        return self.root / "backup"

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """As root's shell would, but for accounts."""
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        given = {"PATH": path, "FOLDER": str(self.disk), "SETTINGS": str(self.root / "etc" / "rootdx"), **more}
        return subprocess.run(command, env=given, capture_output=True, text=True, check=False)

    def back_up(self, **more: str) -> subprocess.CompletedProcess[str]:
        return self.run("sh", str(DEPLOY / "backup" / "backup.sh"), **more)

    def days(self) -> list[str]:
        return sorted(one.name for one in self.disk.iterdir())


def stub(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def site() -> Iterator[Site]:
    with reachable_folder() as root:
        (root / "first").mkdir(mode=0o755)
        (root / "backup").mkdir()
        secrets = root / "etc" / "rootdx" / "secrets"
        secrets.mkdir(parents=True)
        for name in ("writer.toml", "secrets/a.password", "ca.key", "plant.toml"):
            (root / "etc" / "rootdx" / name).write_text("x")
        server = Postgres(root / "first")
        run(server.start())
        with psycopg.connect(server.dsn(), autocommit=True) as db:
            db.execute("CREATE TABLE row (n integer)")
            db.execute("INSERT INTO row SELECT generate_series(1, 1000)")
        made, place = Site(root, server), root / "bin"
        for name in ("pg_basebackup", "pg_receivewal"):
            stub(place, name, f'exec {program(name)} --dbname "$TEST_DSN" "$@"'.replace("$TEST_DSN", admin(server)))
        stub(place, "runuser", '[ "$1 $2 $3" = "-u postgres --" ] || exit 9; shift 3; exec "$@"')
        stub(place, "install", 'exec /usr/bin/install $(echo " $* " | sed "s/ -[og] postgres//g")')
        for name in ("chown", "systemctl"):
            stub(place, name, ":")
        yield made
        run(server.stop())


def admin(server: Postgres) -> str:
    return server.dsn(dbname="postgres")


def test_a_night_gives_a_folder_of_the_day_without_keys_and_the_oldest_goes(site: Site) -> None:
    for name in ("2026-01-01", "2026-01-02", "2026-01-03", "notes", f"{DAY}.part"):
        (site.disk / name).mkdir()
    for _ in range(2):  # the second of a day takes the place of the first
        done = site.back_up(KEEP="3")
        assert done.returncode == 0, done.stderr
        assert f"{DAY} is complete" in done.stdout
    assert site.days() == ["2026-01-02", "2026-01-03", DAY, "notes"]
    there = site.disk / DAY
    assert sorted(one.name for one in (there / "database").iterdir()) >= [
        "backup_manifest",
        "base.tar.gz",
        "pg_wal.tar.gz",
    ]
    with tarfile.open(there / "settings.tar.gz") as settings:
        assert sorted(one.name for one in settings if one.isfile()) == ["rootdx/plant.toml", "rootdx/writer.toml"]
    assert not any(one.stat().st_mode & 0o077 for one in there.rglob("*") if one.is_file())


def test_a_night_that_fails_says_so_and_takes_nothing_away(site: Site) -> None:
    for name in ("2026-01-01", "2026-01-02"):
        (site.disk / name).mkdir()
    stub(site.root / "bin", "pg_basebackup", "echo no space left >&2; exit 1")
    done = site.back_up(KEEP="1")
    assert done.returncode == 1
    assert "no space left" in done.stderr
    assert f"{DAY}.part is not complete" in done.stderr
    assert site.days() == ["2026-01-01", "2026-01-02", f"{DAY}.part"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"FOLDER": "/nowhere"}, "/nowhere is not there: mount the disk"),
        ({"KEEP": "0"}, "KEEP=0: expected a number of days"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(site: Site, given: Mapping[str, str], words: str) -> None:
    done = site.back_up(**given)
    assert done.returncode == 1
    assert words in done.stderr
    assert site.days() == []


def chapter(words: str) -> str:
    """The block of the runbook with these words."""
    (found,) = [block for block in blocks("en") if words in block]
    return found


def put_back(site: Site, place: Path, *steps: str) -> dict[str, str]:
    """Runs steps of the runbook as they stand, in other folders; what they say in conf.d."""
    (place / "conf.d").mkdir(parents=True)
    (place / "postgres").mkdir()
    for step in steps:
        text = step.replace(MAIN, str(place / "postgres")).replace(CONF, str(place / "conf.d"))
        text = text.replace("/backup/2026-11-22", str(site.disk / DAY)).replace("/backup/wal", str(site.disk / "wal"))
        done = site.run("bash", "-euc", text)
        assert done.returncode == 0, done.stderr
    said = "".join(file.read_text() for file in (place / "conf.d").iterdir())
    return dict(re.findall(r"^(\w+) = '(.*)'$", said, re.MULTILINE))


def restored(site: Site, place: Path, settings: Mapping[str, str]) -> list[int]:
    """The numbers in the table of a server on what was put back."""
    site.server.kill()
    for file in (site.disk / "wal").glob("*"):
        file.chmod(0o644)
    if os.geteuid() == 0:
        subprocess.run(["chmod", "-R", "o+rX", str(site.disk)], check=True)
    (place / "postgres.password").write_bytes(site.server.password_file.read_bytes())
    hand_over(place / "postgres")
    if os.geteuid() == 0:
        subprocess.run(["chown", "nobody", str(place / "postgres.password")], check=True)
    place.chmod(0o755)
    server = Postgres(place, port=site.server.port, settings=dict(settings))
    run(server.start())
    try:
        run(writable(server))
        return [n for (n,) in ask(server.dsn(), "SELECT n FROM row ORDER BY n")]
    finally:
        run(server.stop())


@pytest.fixture
def receiver(site: Site) -> Iterator[Path]:
    """receive.sh as its unit starts it, with the role that the runbook makes."""
    with psycopg.connect(site.server.dsn(), autocommit=True) as db:
        db.execute("CREATE ROLE replica LOGIN REPLICATION PASSWORD 'a secret of the log'")
    stub(site.root / "bin", "pg_receivewal", f'exec {program("pg_receivewal")} "$@"')
    wal = site.disk / "wal"
    for folder in (wal, site.root / "run", site.root / "credentials"):
        folder.mkdir()
    (site.root / "credentials" / "replica.password").write_text("a secret of the log\n")
    (site.root / "credentials" / "replica.password").chmod(0o440)  # as systemd's may be, with an access list
    given = {
        "PATH": f"{site.root / 'bin'}:{os.environ['PATH']}", "SERVER": "127.0.0.1", "PGPORT": str(site.server.port),
        "CREDENTIALS_DIRECTORY": str(site.root / "credentials"), "RUNTIME_DIRECTORY": str(site.root / "run"),
        "STATE_DIRECTORY": str(wal),
    }  # fmt: skip
    process = subprocess.Popen(["sh", str(DEPLOY / "backup" / "receive.sh")], env=given, stderr=subprocess.PIPE)
    try:
        yield wal
        command = Path(f"/proc/{process.pid}/cmdline").read_text() if sys.platform == "linux" else ""
        assert "secret" not in command
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def arrived(site: Site) -> None:
    """Waits until the other computer has all of the log."""
    query = (
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pg_receivewal' "
        "AND flush_lsn >= pg_current_wal_flush_lsn()"
    )
    deadline = time.monotonic() + 20
    while ask(site.server.dsn(), query) != [(1,)]:
        assert time.monotonic() < deadline, "the log did not arrive"
        time.sleep(0.1)


def add(site: Site, first: int) -> None:
    with psycopg.connect(site.server.dsn(), autocommit=True) as db:
        db.execute("INSERT INTO row SELECT generate_series(%s::int, %s::int)", [first, first + 99])


def test_the_runbook_restores_a_night(site: Site) -> None:
    assert site.back_up().returncode == 0
    add(site, 2001)
    place = site.root / "second"
    assert restored(site, place, put_back(site, place, chapter("main.broken"))) == list(range(1, 1001))


def test_the_runbook_restores_all_with_the_log_and_a_moment_before_a_mistake(site: Site, receiver: Path) -> None:
    arrived(site)
    assert site.back_up().returncode == 0
    add(site, 2001)
    moment = datetime.now(UTC)
    time.sleep(0.05)
    with psycopg.connect(site.server.dsn(), autocommit=True) as db:
        assert db.execute("SELECT slot_name FROM pg_replication_slots WHERE active").fetchall() == [("backup",)]
        db.execute("DELETE FROM row WHERE n < 500")
    arrived(site)
    assert any(file.suffix == ".partial" for file in receiver.iterdir())
    steps = [chapter("main.broken"), chapter("recovery.signal")]
    whole, before = site.root / "whole", site.root / "before"
    settings = put_back(site, whole, *steps)
    with_time = chapter("recovery_target_time").replace("2026-11-22 14:05:00+09", moment.isoformat())
    settings_before = put_back(site, before, *steps, with_time)
    assert set(settings) == {"restore_command"}
    assert set(settings_before) == {"restore_command", "recovery_target_time", "recovery_target_action"}
    assert restored(site, whole, settings) == [*range(500, 1001), *range(2001, 2101)]
    assert restored(site, before, settings_before) == [*range(1, 1001), *range(2001, 2101)]


def test_a_receiver_without_a_server_says_what_to_write(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", str(DEPLOY / "backup" / "receive.sh")], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True,
        check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 78
    assert "SERVER=database" in done.stderr


def test_the_log_is_kept_a_week_longer_than_backups() -> None:
    (days,) = re.findall(r"^e /var/lib/private/rootdx-wal - - - (\d+)d$", text_of("rootdx-wal.tmpfiles"), re.MULTILINE)
    (keep,) = re.findall(r"^keep=\$\{KEEP:-(\d+)\}$", text_of("backup.sh"), re.MULTILINE)
    assert int(days) == int(keep) + 7


def text_of(name: str) -> str:
    return (DEPLOY / "backup" / name).read_text(encoding="utf-8")


UNITS = [one for place in ("backup", "compute") for one in sorted((DEPLOY / place).glob("rootdx-*.[st]*"))]


@pytest.mark.parametrize("unit", [one for one in UNITS if one.suffix != ".tmpfiles"], ids=lambda one: one.name)
def test_systemd_takes_the_units(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine")
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if "is not executable" not in line]  # not installed here
    assert wrong == []
