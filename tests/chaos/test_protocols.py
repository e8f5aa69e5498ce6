"""A short version of every fault of every protocol."""

import pytest

from tests.chaos.protocols import MENU, Trial, run

TRIALS = [pytest.param(trial, id=f"{protocol}-{trial.__name__}") for protocol in MENU for trial in MENU[protocol]]
BUSY = 2.0
"""The machine that tests run on does other things, too."""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("trial", TRIALS)
async def test_after_a_fault_there_is_data_again_nothing_is_leaked_and_the_books_are_right(trial: Trial) -> None:
    outcome = await run(trial, 1)
    assert outcome.recovered_s or outcome.noticed_s
    assert max(outcome.recovered_s, default=0.0) <= 5.0 * BUSY
    assert max(outcome.noticed_s, default=0.0) <= outcome.noticed_most_s * BUSY * (
        3 if "jitter" in outcome.remark else 1
    )
    assert outcome.difference == 0
    assert not outcome.leaked
    assert not outcome.misplaced
