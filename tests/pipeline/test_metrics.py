"""Health is that data flows."""

import urllib.request

import pytest
from prometheus_client import REGISTRY

from pipeline import metrics
from pipeline.errors import ConfigError
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
