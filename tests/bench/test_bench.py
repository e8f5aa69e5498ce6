"""That the measurements are valid; how fast it is, no test says."""

import pytest
from rich.console import Console

from tests.bench import gateway_cpu, spool_to_store
from tests.bench.figures import Figure, slope
from tests.bench.stage import Wish, staged
from tests.support.services import run

WISH = Wish(repeats=1, rows=50_000, seconds=3.0, warm_s=1.5, explained=False)


async def both() -> list[Figure]:
    async with staged(Console(quiet=True), None) as stage:
        return [*await spool_to_store.measure(stage, WISH), *await gateway_cpu.measure(stage, WISH)]


def test_every_row_that_was_due_is_in_the_table_once_in_both_measurements() -> None:
    figures = {figure.name: figure for figure in run(both())}  # whatever is missing or doubled raises Invalid
    assert figures["spool to store"].median > 0
    assert figures["gateway: values committed"].median == pytest.approx(gateway_cpu.RATE_HZ, rel=0.2)
    assert figures["gateway: late ticks"].median == 0


def test_slope_is_not_moved_by_an_outlier() -> None:
    assert slope([0, 1, 2, 3, 4], [1, 2, 300, 4, 5]) == pytest.approx(1.0)
