"""Times are read as people write them, in the plant's own zone unless they say another."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import ConfigError
from rootdx.moments import Clock

SEOUL = Clock(datetime(2026, 11, 21, 15, 30, tzinfo=UTC), ZoneInfo("Asia/Seoul"))  # 00:30 of the next day there


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T06:00", "2026-11-21T21:00:00+00:00"),
        ("2026-11-22 06:00:30", "2026-11-21T21:00:30+00:00"),
        ("2026-11-22T06:00Z", "2026-11-22T06:00:00+00:00"),
        ("2026-11-22T06:00-05:00", "2026-11-22T11:00:00+00:00"),
        ("2026-11-22", "2026-11-21T15:00:00+00:00"),
        ("today", "2026-11-21T15:00:00+00:00"),
        ("Yesterday", "2026-11-20T15:00:00+00:00"),
        ("now", "2026-11-21T15:30:00+00:00"),
        ("7d", "2026-11-14T15:30:00+00:00"),
        (" 90 min ", "2026-11-21T14:00:00+00:00"),
    ],
)
def test_a_moment_is_read_in_plant_time(text: str, expected: str) -> None:
    assert SEOUL.moment(text, "--from").astimezone(UTC).isoformat() == expected


@pytest.mark.parametrize("text", ["", "tomorrow", "22.11.2026", "7w", "2026-13-01", "-7d"])
def test_another_text_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--from .*2026-11-22T06:00\+09:00.*7d"):
        SEOUL.moment(text, "--from")


def test_a_span_goes_forward_and_a_day_is_the_plants() -> None:
    span = SEOUL.span("yesterday", "today")
    assert (span.last - span.first).total_seconds() == 86_400
    assert SEOUL.day("now", "--day").isoformat() == "2026-11-22"
    with pytest.raises(ConfigError, match="is not after --from"):
        SEOUL.span("today", "yesterday")
