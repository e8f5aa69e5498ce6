"""What raw numbers mean, whatever the protocol calls their quality."""

from typing import Any

import numpy as np
import pytest

from collectors.scaling import Scaling
from pipeline.model import Quality
from pipeline.plant import Tag

OVERFLOW, HISTORY = 0x480, 0x401
GOOD = (0, OVERFLOW, HISTORY, 0x0096_0000, 0x0096_0000 | OVERFLOW)
UNCERTAIN = (0x4000_0000, 0x408F_0000, 0x4094_0000 | OVERFLOW)
BAD = (0x8000_0000, 0x8005_0000, 0x8031_0000 | OVERFLOW)


def judged(raw: float, code: int, **tag: Any) -> tuple[float, int]:
    one = Tag.model_validate({"name": "t", "address": "a", "unit": "1"} | tag)
    value, quality = Scaling([one]).judge(np.array([raw]), np.array([code], np.uint32), np.array([0], np.uint16))
    assert bool(np.isnan(value[0])) == (int(quality[0]) >> 30 >= 2)
    return float(value[0]), int(quality[0])


@pytest.mark.parametrize("code", [*GOOD, *UNCERTAIN])
@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        (2.0, {"loop": [0, 250]}),
        (21.5, {"loop": [0, 250]}),
        (2000.0, {"loop": [0, 250], "scale": 0.001}),
        (32767.0, {"sentinels": [32767, -32768], "scale": 0.1}),
        (-32768.0, {"sentinels": [32767, -32768], "scale": 0.1, "range": [0, 100]}),
        (np.inf, {"range": [0, 100]}),
    ],
)
def test_a_broken_sensor_is_no_number_whatever_its_quality_says(raw: float, tag: Any, code: int) -> None:
    _, quality = judged(raw, code, **tag)
    assert quality == Quality.BAD_SENSOR_FAILURE | (code & 0xFFFF)


@pytest.mark.parametrize("code", BAD)
@pytest.mark.parametrize("tag", [{"loop": [0, 250]}, {"sentinels": [2]}, {"range": [5, 9]}])
def test_what_is_bad_already_stays_as_it_is(tag: Any, code: int) -> None:
    assert judged(2.0, code, **tag)[1] == code


@pytest.mark.parametrize("code", GOOD)
def test_a_good_value_that_cannot_be_is_marked_and_keeps_its_info_bits(code: int) -> None:
    assert judged(5000.0, code, range=[0, 100]) == (5000.0, Quality.UNCERTAIN_UNITS_EXCEEDED | (code & 0xFFFF))
    at_limit = Quality.UNCERTAIN_SENSOR_NOT_ACCURATE | (code & 0xFFFF)
    value, quality = judged(3.7, code, loop=[0, 160])
    assert (round(value, 9), quality) == (-3.0, at_limit)
    assert judged(50.0, code, range=[0, 100], sentinels=[32767], scale=1.0) == (50.0, code)


@pytest.mark.parametrize("code", UNCERTAIN)
def test_an_uncertain_value_says_more_already(code: int) -> None:
    assert judged(5000.0, code, range=[0, 100]) == (5000.0, code)


def test_readings_of_all_tags_are_judged_as_rows_are() -> None:
    told: list[dict[str, Any]] = [{"sentinels": [7]}, {"range": [0, 5]}, {}]
    tags = [Tag.model_validate({"name": f"t{i}", "address": "a", "unit": "1"} | tag) for i, tag in enumerate(told)]
    raw = np.array([[7.0, 7.0, 7.0], [1.0, 1.0, 1.0]])
    value, quality = Scaling(tags).judge(raw, np.zeros((2, 3), np.uint32))
    assert quality[0].tolist() == [Quality.BAD_SENSOR_FAILURE, Quality.UNCERTAIN_UNITS_EXCEEDED, Quality.GOOD]
    assert not quality[1].any()
    assert np.array_equal(value, [[np.nan, 7.0, 7.0], [1.0, 1.0, 1.0]], equal_nan=True)
