"""Health is that data flows."""

import asyncio
import math
import re
import shutil
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from pipeline import metrics
from pipeline.errors import ConfigError
from pipeline.forwarder import forward
from pipeline.service import wall_ns
from pipeline.settings import Bus, Forwarding, MetricsSettings, SpoolSettings, read_settings
from pipeline.spool import Spool
from rootdx.embedded import free_port


def value(process: str) -> float | None:
    return REGISTRY.get_sample_value("rootdx_data_flowing", {"process": process})


def test_data_flows_from_the_first_rows_until_a_minute_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("pipeline.metrics.time.monotonic", lambda: now)
    with metrics.served("test-flow", 0):
        assert value("test-flow") == 0
        metrics.moved("test-flow")
        assert value("test-flow") == 1
        now += metrics.FLOW_S - 1
        assert value("test-flow") == 1
        now += 2
        assert value("test-flow") == 0


def test_metrics_are_served_while_entered_and_the_port_is_free_afterwards() -> None:
    port = free_port()
    for _ in range(2):
        with metrics.served("test-port", port), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            assert b'rootdx_data_flowing{process="test-port"}' in page.read()


def test_a_process_tells_only_what_it_measures_itself() -> None:
    """What has no label is 0 from the start: a gateway that says `rootdx_store_up 0` would ring."""
    told = {}
    for process in ("gateway", "writer", "notify"):
        port = free_port()
        with metrics.served(process, port), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            told[process] = page.read().decode()
    own = {"gateway": "rootdx_spool_outage_hours_left ", "writer": "rootdx_store_up "}
    for name in own.values():
        assert [who for who, text in told.items() if f"\n{name}" in text] == [
            who for who, mine in own.items() if mine == name
        ]
    assert all("rootdx_rows_read_total" in text for text in told.values()), "what has labels is told when it was seen"


def test_without_label_every_metric_belongs_to_a_process() -> None:
    source = Path(metrics.__file__).read_text(encoding="utf-8")
    plain = set(re.findall(r'^(\w+) = (?:Counter|Gauge|Histogram)\((?:(?!\[")[\s\S])*?\)$', source, re.MULTILINE))
    (owned,) = re.findall(r"^_OF: .*?^}", source, re.MULTILINE | re.DOTALL)
    assert {"store_up", "spool_bytes", "round_seconds"} <= plain
    assert all(re.search(rf"\b{name}\b", owned) for name in plain)


async def test_a_gateway_whose_broker_never_came_says_that_it_has_no_bus(tmp_path: Path) -> None:
    metrics.bus_up.labels("gateway").set(1)
    metrics.spool_hours_left.set(0)
    async with Spool(SpoolSettings(folder=tmp_path), "gw-1", wall_ns) as spool:
        assert REGISTRY.get_sample_value("rootdx_spool_outage_hours_left") == float("inf"), "no rate, no end"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await forward(spool, Bus(port=free_port()), Forwarding())
    assert REGISTRY.get_sample_value("rootdx_bus_up", {"process": "gateway"}) == 0


def test_a_taken_port_is_a_mistake_of_the_settings() -> None:
    port = free_port()
    with (
        metrics.served("gateway", port),
        pytest.raises(
            ConfigError, match=rf"writer\.metrics_port = {port}, metrics\.host = '127\.0\.0\.1': .*; choose another"
        ),
        metrics.served("writer", port),
    ):
        raise AssertionError


def test_the_disks_that_settings_name_are_measured_and_others_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "writer.toml"
    (tmp_path / "data").mkdir()
    file.write_text('[metrics]\ndisks = ["data", "none"]\n', encoding="utf-8")
    metrics.serve_at(read_settings(file).metrics)
    port = free_port()
    try:
        with metrics.served("writer", port), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            told = page.read().decode()
    finally:
        metrics.serve_at(MetricsSettings())
    found = shutil.disk_usage(tmp_path)
    size, free = (disk_bytes(told, of, tmp_path / "data") for of in ("size", "free"))
    assert size == found.total
    assert free == pytest.approx(found.free, rel=0.2)
    assert f"{tmp_path / 'none'}" not in told
    assert f"disk not measured metrics.disks={tmp_path / 'none'} reason=No such file" in caplog.text


def disk_bytes(told: str, of: str, folder: Path) -> float:
    (value,) = re.findall(rf'^rootdx_disk_{of}_bytes{{folder="{re.escape(str(folder))}"}} (\S+)$', told, re.MULTILINE)
    return float(value)


def test_a_disk_that_goes_away_reads_as_unknown_and_the_page_is_still_there(tmp_path: Path) -> None:
    folder, port = tmp_path / "usb", free_port()
    folder.mkdir()
    with metrics.served("gateway", port), metrics.disks_measured([folder, folder]):
        folder.rmdir()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            assert math.isnan(disk_bytes(page.read().decode(), "free", folder))
    assert REGISTRY.get_sample_value("rootdx_disk_free_bytes", {"folder": str(folder)}) is None
