"""Computed again here, on a cluster, or by the running process: the same cycles and elements as in one pass."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analytics.machines import load_machines
from analytics.watch import watching
from rootdx import recompute
from tests.support.front_door import SECRET, Shop, clean_environment
from tests.support.plant_rows import QUICK, STORED_CYCLES, store_settings
from tests.support.services import run
from tests.support.spine import ask

pytestmark = pytest.mark.plain
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
