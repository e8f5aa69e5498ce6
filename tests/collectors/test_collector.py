"""What a collector does when a device does not let it in."""

import asyncio
import itertools
import logging
import time
from typing import Any

import pytest

from collectors import collector
from collectors.source import Opening, Reading, Refused
from pipeline.model import Batch, Phase
from tests.collectors.devices import ASSET, MemorySpool, stopped
from tests.collectors.test_gateway import Talk, scripted, start


def lets_in_after(refusals: list[Exception]) -> Any:
    tries: list[float] = []

    def script(opening: Opening) -> Any:
        tries.append(time.monotonic())
        if len(tries) <= len(refusals):
            return refusals[len(tries) - 1]

        async def words() -> Any:
            yield Reading((Batch.of(opening.asset, ("a", "b"), time.time_ns(), 0, [1.0]),))
            await asyncio.Event().wait()

        return Talk(words)

    return script, tries


async def test_a_refusal_that_heals_by_itself_is_over_at_once_and_told_once(caplog: Any) -> None:
    spool, (script, tries) = MemorySpool(), lets_in_after([Refused("not trusted"), Refused("bad user")] * 2)
    with caplog.at_level(logging.INFO):
        task = start({ASSET: scripted(script)}, spool)
        await spool.until(lambda s: s.batches)
        await stopped(task)
    assert max(b - a for a, b in itertools.pairwise(tries)) <= 4.0
    assert [event.text for event in spool.events("machine.misconfigured")] == ["not trusted", "bad user"]
    phases = [event.phase for event in spool.events("device.unreachable")]
    assert phases == [Phase.RAISED, Phase.CLEARED]
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 3  # both reasons, and that it is unavailable


async def test_a_refusal_is_tried_again_within_four_seconds_however_long_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "LONGEST_WAIT_S", 0.3)  # the longest there is, shortened
    spool, (script, tries) = MemorySpool(), lets_in_after([Refused("expired")] * 8)
    task = start({ASSET: scripted(script)}, spool)
    await spool.until(lambda s: s.batches)
    await stopped(task)
    assert max(b - a for a, b in itertools.pairwise(tries[4:])) <= 0.3 * 1.25 + 0.2
    assert len(spool.events("machine.misconfigured")) == 1
