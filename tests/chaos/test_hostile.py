"""A small run of `make torture ARGS="--hostile"`: on nats-server with TLS, PostgreSQL, a writer, a board, a gateway."""

from pathlib import Path

import pytest

from tests.chaos import hostile


@pytest.mark.timeout(240)
async def test_hostile_clients_reach_nothing_and_every_row_of_the_good_gateway_is_there_once(tmp_path: Path) -> None:
    given = ["--times", "2", "--tries", "150", "--crowd", "1200", "--no-browser"]
    given += ["--report", str(tmp_path / "hostile.json")]
    outcomes, verdict = await hostile.main(hostile.arguments(given))
    assert [one.attempt for one in outcomes if not one.held] == []
    assert len(outcomes) > 50
    assert {one.area for one in outcomes} == {"bus", "wire", "texts", "sign-in"}
    assert verdict.witnessed > 1000
    assert (verdict.missing, verdict.twice, verdict.strange) == (0, 0, 0)
