"""Computed again here, on a cluster, or by the running process: the same cycles and elements as in one pass."""

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from analytics.machines import load_machines
from analytics.watch import watching
from rootdx import certs, recompute
from rootdx.embedded import free_port
from rootdx.invocation import site_of
from tests.support.front_door import SECRET, Shop, clean_environment
from tests.support.plant_rows import QUICK, STORED_CYCLES, store_settings
from tests.support.services import run
from tests.support.spine import ask

pytestmark = pytest.mark.plain
NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = Path(__file__).resolve().parents[2]
ALL = ("--from", "2026-05-28", "--to", "2026-05-30")
ELEMENTS = (
    "SELECT asset, shift_start, shift_end, order_name, produced, good, planned_busy_s, production_s, energy_kwh "
    "FROM rootdx.kpi_elements ORDER BY 1, 2, 4"
)
DEMAND = "SELECT asset, quarter, kw FROM rootdx.demands ORDER BY 1, 2"
LEFT = "SELECT count(*) FROM rootdx.recompute"
CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


def rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """To a billionth: the energy of a quarter hour is a difference of sums, which begin where the task begins."""
    return [tuple(round(cell, 9) if isinstance(cell, float) else cell for cell in row) for row in rows]


@contextlib.contextmanager
def spoilt(shop: Shop) -> Iterator[None]:
    """Cycles and elements are gone; afterwards they are what they were."""
    queries = (STORED_CYCLES, ELEMENTS, DEMAND)
    before = [ask(shop.dsn, query) for query in queries]
    ask(shop.dsn, "TRUNCATE rootdx.cycle, rootdx.kpi_element, rootdx.demand, rootdx.recompute")
    yield
    for query, rows in zip(queries, before, strict=True):
        assert rounded(ask(shop.dsn, query)) == rounded(rows)
    assert ask(shop.dsn, LEFT) == [(0,)]


def test_here_in_pieces_is_what_one_pass_is(own_shop: Shop) -> None:
    with spoilt(own_shop):
        done = own_shop("recompute", *ALL, "--here", role="analytics")
        assert (done.code, done.out) == (0, "computed again in 6 pieces\n"), done.err


def test_a_part_of_the_history_changes_nothing_else(own_shop: Shop) -> None:
    before = [ask(own_shop.dsn, query) for query in (STORED_CYCLES, ELEMENTS)]
    span = ("--from", "2026-05-29T05:45", "--to", "2026-05-29T05:55")
    ask(own_shop.dsn, "DELETE FROM rootdx.cycle WHERE start_ts BETWEEN '2026-05-28 20:46Z' AND '2026-05-28 20:50Z'")
    done = own_shop("recompute", *span, "--machine", "dc1", "--here", role="analytics")
    assert done.code == 0, done.err
    assert [ask(own_shop.dsn, query) for query in (STORED_CYCLES, ELEMENTS)] == before


@pytest.fixture
def cluster(own_shop: Shop) -> Iterator[str]:
    """Two workers of a process each, which know the database by their own environment."""
    environment = clean_environment() | own_shop.environment("analytics") | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate("", timeout=30)


def test_a_cluster_of_two_workers_makes_the_same(own_shop: Shop, cluster: str) -> None:
    with spoilt(own_shop):
        done = own_shop("recompute", *ALL, "--cluster", cluster, role="analytics")
        assert (done.code, done.out) == (0, "computed again in 6 pieces\n"), done.err


def test_no_cluster_is_a_sentence(own_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT", "1s")
    done = own_shop("recompute", *ALL, "--cluster", "tcp://127.0.0.1:9", role="analytics")
    assert (done.code, "no Dask scheduler at tcp://127.0.0.1:9" in done.err) == (1, True), done.err
    monkeypatch.setattr(recompute, "find_spec", lambda _: None)
    done = own_shop("recompute", *ALL, "--cluster", "tcp://127.0.0.1:9", role="analytics")
    assert (done.code, "pip install 'rootdx[cluster]'" in done.err) == (78, True)


COMPUTE = ROOT / "deploy" / "compute"


def dask_line(unit: Path) -> list[str]:
    """The command line of a unit, with this environment's program."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(line.replace("/opt/rootdx/bin/dask", str(Path(sys.executable).with_name("dask"))))


@pytest.fixture
def guarded(own_shop: Shop, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A scheduler and a worker as their units start them: TLS with an authority of their own."""
    papers, handed, port = tmp_path / "compute", tmp_path / "handed", free_port()
    certs.make_authority(papers, "computing", NOW)
    certs.make(papers, "compute", "server", ["localhost"], NOW)
    handed.mkdir()
    for name in ("ca.pem", "compute.pem", "compute.key"):
        shutil.copy(papers / name, handed)
    (handed / "rootdx_analytics.password").write_text(SECRET)
    (handed / "rootdx_analytics.password").chmod(0o440)
    for name in ("run", "cache"):
        (tmp_path / name).mkdir()
    dsn = conninfo_to_dict(own_shop.dsn)
    environment = clean_environment() | {
        "PYTHONPATH": str(ROOT), "CREDENTIALS_DIRECTORY": str(handed), "RUNTIME_DIRECTORY": str(tmp_path / "run"),
        "CACHE_DIRECTORY": str(tmp_path / "cache"), "SCHEDULER": f"tls://127.0.0.1:{port}", "WORKERS": "2",
        "DATABASE": f"{dsn['host']}:{dsn['port']}/{dsn['dbname']}", "DASK": str(Path(sys.executable).with_name("dask")),
        "PGSSLMODE": "disable",  # the wheel's PostgreSQL is built without TLS
    }  # fmt: skip
    scheduler = [word.replace("%d", str(handed)) for word in dask_line(COMPUTE / "rootdx-scheduler.service")]
    lines = [[*scheduler[: scheduler.index("--port") + 1], str(port), *scheduler[scheduler.index("--port") + 2 :]]]
    lines.append(["sh", str(COMPUTE / "worker.sh")])
    with (tmp_path / "log").open("wb") as log:
        processes = [subprocess.Popen(line, env=environment, cwd=ROOT, stdout=log, stderr=log) for line in lines]
    try:
        yield f"tls://127.0.0.1:{port}", papers
        assert SECRET not in (tmp_path / "log").read_text()
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(20)


def test_a_guarded_cluster_makes_the_same_and_lets_no_stranger_in(
    own_shop: Shop, guarded: tuple[str, Path], tmp_path: Path
) -> None:
    address, papers = guarded
    with spoilt(own_shop):
        done = own_shop("recompute", *ALL, "--cluster", address, "--papers", str(papers), role="analytics")
        assert (done.code, done.out) == (0, "computed again in 6 pieces\n"), done.err
    plant = tmp_path / "plant"  # gateways and processes of the plant have certificates, too
    certs.make_authority(plant, "plant", NOW)
    certs.make(plant, "compute", "server", ["localhost"], NOW)
    for line in ([address.replace("tls", "tcp")], [address, str(plant)]):
        done_by = subprocess.run(
            [sys.executable, "-c", STRANGER, *line], capture_output=True, text=True, check=False, timeout=60
        )
        assert "let in" not in done_by.stdout
        assert done_by.returncode == 3, done_by.stderr


STRANGER = """
import sys
from distributed import Client
from rootdx.cluster import security_of
try:
    client = Client(sys.argv[1], security=security_of(sys.argv[2] if len(sys.argv) > 2 else None), timeout=3)
    print("let in", client.submit(sum, [1, 2], pure=False).result(5))
except Exception as error:
    print(type(error).__name__)
    sys.exit(3)
"""


class Line:
    """Stands in for the process that talks to the cluster: keeps what it is told, and has nothing to say."""

    def __init__(self) -> None:
        self.told = b""
        self.stdin, self.stdout, self.returncode = self, self, 0

    def write(self, data: bytes) -> None:
        self.told += data

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    async def wait(self) -> int:
        return 0

    def __aiter__(self) -> "Line":
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


def test_what_travels_to_a_worker_has_no_password(own_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()

    async def started(*_: object, **__: object) -> Line:
        return line

    async def work() -> None:
        async for _ in recompute.spread(site, [recompute.Piece("a", 1, 2)], recompute.Cluster("tcp://127.0.0.1:1")):
            raise AssertionError

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    text = own_shop.config.read_text(encoding="utf-8")
    config = own_shop.config.with_name("with-a-password.toml")
    config.write_text(f'{text}\n[store]\ndsn = "postgresql://rootdx_analytics:{SECRET}@127.0.0.1/rootdx"\n')
    site = site_of(config)
    assert SECRET in site.store.dsn
    run(work())
    assert b"user=rootdx_analytics" in line.told
    assert SECRET.encode() not in line.told


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["tcp://10.0.0.5:8786"], "tcp:// is for this computer alone. Use tls://10.0.0.5:8786 with --papers"),
        (["tls://10.0.0.5:8786"], "give --papers FOLDER"),
        (["tls://10.0.0.5:8786", "--papers", "/nowhere"], "/nowhere/ca.pem: cannot be read; rootdx certs init"),
        (["10.0.0.5"], "--cluster 10.0.0.5: expected tls://host:8786"),
    ],
)
def test_a_cluster_that_would_let_anybody_in_is_refused(own_shop: Shop, given: list[str], words: str) -> None:
    done = own_shop("recompute", *ALL, "--cluster", *given, role="analytics")
    assert (done.code, words in done.err) == (78, True), done.err


@pytest.mark.parametrize("scheduler", ["", "tcp://10.0.0.5:8786"])
def test_a_worker_without_a_guarded_scheduler_ends(scheduler: str) -> None:
    given = {"PATH": os.environ["PATH"], "SCHEDULER": scheduler}
    done = subprocess.run(["sh", str(COMPUTE / "worker.sh")], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "tls://host:8786" in done.stderr


@contextlib.contextmanager
def at_work(shop: Shop) -> Iterator[None]:
    """An analytics process: rounds in a thread of its own."""
    stop = threading.Event()
    plant, machines = load_machines(shop.config.parent / "plant")

    async def rounds() -> None:
        async with watching(store_settings(shop.dsn), QUICK, plant, machines) as watch:
            while not stop.is_set():
                await watch.round()
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=run, args=(rounds(),))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=30)


def test_the_running_process_is_asked_and_waited_for(own_shop: Shop) -> None:
    query = "SELECT count(*) FROM rootdx.cycles WHERE kind = 'hpdc_shot'"
    before = ask(own_shop.dsn, query)
    ask(own_shop.dsn, "DELETE FROM rootdx.cycle WHERE kind = 'hpdc_shot'")
    with at_work(own_shop):
        done = own_shop("recompute", *ALL, "-m", "dc1", role="analytics")
        assert (done.code, done.out) == (0, "computed again: 1 machines\n"), done.err
        assert ask(own_shop.dsn, query) == before
        refused = own_shop("recompute", *ALL, "-m", "dc1", "--here", role="analytics")
    assert (refused.code, "an analytics process is at work" in refused.err) == (78, True), refused.err


def test_nobody_there_is_said_and_the_request_stays(own_shop: Shop) -> None:
    done = own_shop("recompute", *ALL, "--wait", "1", role="analytics")
    assert (done.code, "no analytics process took the request within 1 s" in done.err) == (1, True), done.err
    assert ask(own_shop.dsn, LEFT) == [(2,)]
    empty = own_shop("recompute", "--from", "2020-01-01", "--to", "2020-01-02", role="analytics")
    assert (empty.code, "has rows in this span" in empty.err) == (78, True)
    both = own_shop("recompute", *ALL, "--here", "--cluster", "tcp://x:1", role="analytics")
    assert both.code == 78


def test_secrets_do_not_travel(own_shop: Shop) -> None:
    assert SECRET not in own_shop.config.read_text()
    assert SECRET not in os.environ.get("ROOTDX_STORE_DSN", "")
