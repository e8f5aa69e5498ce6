"""That the measurement is valid: every message became a durable row; how fast it is, no test says."""

import pytest

from tests.bench import mqtt_rate
from tests.support.services import run


@pytest.mark.parametrize("qos", [0, 1])
def test_every_message_is_a_durable_row(qos: int) -> None:
    found = run(mqtt_rate.measure(messages=3_000, topics=3, qos=qos))
    assert found["rows"] == 3_000
    assert found["hz"] > 0
