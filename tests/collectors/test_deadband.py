"""What a dead band keeps back, and what it never does."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from collectors.collector import Collector
from collectors.crew import alike
from collectors.deadband import DeadBand, band_of, filtered, interval_of, limits_of, ticks_a_row
from collectors.declaration import declaration
from collectors.gateway import collect
from collectors.opcua_items import filter_of
from pipeline.model import BAD_BIT, Batch, Cause, Event, Quality
from pipeline.plant import Machine
from tests.collectors.devices import ASSET, MemorySpool, RawModbus, machine, serving, stopped

SECOND = 1_000_000_000
START = 1_780_000_000 * SECOND
EVERY_S, HEARTBEAT_S, BAND = 1.0, 5.0, 2.0
MODBUS = {"protocol": "modbus", "host": "127.0.0.1", "port": 1}


def banded(*tags: dict[str, Any], **source: Any) -> Machine[Any]:
    given_tags = tags or ({"deadband": BAND, "heartbeat_s": HEARTBEAT_S, "range": [-10, 10]},)
    listed = [{"address": f"holding:{i}:int16"} | tag for i, tag in enumerate(given_tags)]
    return machine(MODBUS | {"every_s": EVERY_S} | source, listed)


def band(one: Machine[Any]) -> DeadBand:
    return DeadBand(one.tag, one.source)


def batch(stamps: Any, values: Any, quality: Any = 0, tag: Any = 0) -> Batch:
    return Batch.of(ASSET, ("t0", "t1"), stamps, np.broadcast_to(tag, len(stamps)), values, quality)


def kept(deadband: DeadBand, *batches: Batch) -> list[tuple[int, float, int]]:
    """Time, value and quality of the rows of tag 0 that were kept."""
    found: list[tuple[int, float, int]] = []
    for one in batches:
        bodies, dropped = deadband.news((one,))
        rows = [body for body in bodies if isinstance(body, Batch)]
        assert dropped == len(one) - sum(map(len, rows))
        for body in rows:
            mine = body.tag == 0
            columns = (body.ts_ns[mine], body.value[mine], body.quality[mine])
            found += list(zip(*(column.tolist() for column in columns), strict=True))
    return found


qualities = st.sampled_from([Quality.GOOD] * 6 + [Quality.UNCERTAIN, Quality.BAD_NO_COMMUNICATION])
signals = st.lists(st.tuples(st.floats(-14, 14), qualities, st.integers(1, 1000)), min_size=1, max_size=80)


@settings(max_examples=300, deadline=None)
@given(signals, st.data())
def test_what_is_kept_tells_the_signal(signal: list[tuple[float, Quality, int]], data: st.DataObject) -> None:
    """The steps between rows vary up to `every_s`."""
    stamps = START + np.cumsum([ms * 1_000_000 for *_, ms in signal])
    whole = batch(stamps, [value for value, *_ in signal], [code for _, code, _ in signal])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(signal)), max_size=5)) | {0, len(signal)})
    parts = [batch(stamps[a:b], whole.value[a:b], whole.quality[a:b]) for a, b in pairwise(cuts)]
    rows = kept(band(banded()), *parts)
    assert rows == kept(band(banded()), whole) or np.isnan([value for _, value, _ in rows]).any()
    assert rows[0][0] == stamps[0]
    assert all(later - sooner <= HEARTBEAT_S * SECOND for (sooner, *_), (later, *_) in pairwise(rows))
    at = np.searchsorted([ts for ts, *_ in rows], stamps, "right") - 1
    for i, place in enumerate(at.tolist()):
        _, value, code = rows[place]
        assert code == whole.quality[i]
        if code < BAD_BIT:
            assert abs(value - whole.value[i]) <= BAND
            assert all(np.sign(value - limit) == np.sign(whole.value[i] - limit) for limit in (-10.0, 10.0))


def test_a_row_is_kept_for_what_it_says() -> None:
    values = [0.0, 2.0, 2.5, 2.5, 4.5, 9.0, 10.0, 10.1, 10.0, 9.9]
    rows = kept(band(banded()), batch(START + np.arange(10) * SECOND, values))
    assert [value for _, value, _ in rows] == [0.0, 2.5, 9.0, 10.0, 10.1, 10.0, 9.9]


def test_a_bad_tag_is_told_once_and_then_by_its_heartbeat() -> None:
    rows = kept(band(banded()), batch(START + np.arange(12) * SECOND, np.zeros(12), Quality.BAD_NO_COMMUNICATION))
    assert [(ts - START) // SECOND for ts, *_ in rows] == [0, 4, 8]


def test_tags_without_a_band_and_other_tags_are_left_alone() -> None:
    one = band(banded({"deadband": 1.0}, {}))
    stamps, tag = START + np.repeat(np.arange(3), 2) * SECOND, [0, 1] * 3
    (rest,), dropped = one.news((batch(stamps, [5.0, 5.0] * 3, tag=tag),))
    assert isinstance(rest, Batch)
    assert (dropped, rest.tag.tolist(), rest.ts_ns.tolist()) == (2, [0, 1, 1, 1], stamps[[0, 1, 3, 5]].tolist())
    free, event = band(banded({})), Event(ASSET, "x", START, "y")
    bodies = (batch(stamps, [5.0, 5.0] * 3), event)
    assert free.news(bodies) == (bodies, 0)
    assert free.news(bodies)[0] is bodies
    assert one.news((event,)) == ((event,), 0)


def test_a_step_back_in_time_is_kept_and_so_is_what_follows() -> None:
    stamps = START + np.array([0, 10, 11, 5, 6, 7]) * SECOND
    rows = kept(band(banded({"deadband": 1.0})), batch(stamps, np.zeros(6)))
    assert [(ts - START) // SECOND for ts, *_ in rows] == [0, 5, 6]


def test_after_forgetting_the_next_row_is_kept() -> None:
    one, same = band(banded()), [batch([START + i], [1.0]) for i in range(3)]
    assert len(kept(one, same[0], same[1])) == 1
    one.forget()
    assert len(kept(one, same[2])) == 1


def test_a_share_is_one_of_the_range() -> None:
    (tag,) = banded({"deadband": "1 %", "range": [100, 300]}).tag
    assert band_of(tag) == 2.0


def test_what_a_tag_owes_and_declares_is_its_heartbeat() -> None:
    one = banded({"deadband": 1.0}, {}, {"deadband": 1.0, "heartbeat_s": 0.5}, {"deadband": 2, "heartbeat_s": 10})
    assert ticks_a_row(one.source, one.tag) == {"t0": 60, "t2": 1, "t3": 10}
    assert [interval_of(one.source, tag) for tag in one.tag] == [60, 1, 1, 10]
    assert [tag["every_s"] for tag in declaration(one)["tags"]] == [60, 1, 1, 10]
    server = machine({"protocol": "opcua", "url": "opc.tcp://x"}, [{"address": "ns=2;i=1", "deadband": 1.0}])
    assert ticks_a_row(server.source, server.tag) == {}
    assert declaration(server)["tags"][0]["every_s"] is None
    same = (batch([START], [1.0]), batch([START + 1], [1.0]))
    assert band(server).news(same) == (same, 0)  # the server has filtered already


@pytest.mark.parametrize(
    ("detector", "limits"),
    [
        ({"kind": "limits", "of": ["t0"], "high": 960.0}, (0.0, 960.0, 1200.0)),
        ({"kind": "limits", "of": ["zone1.temperature"], "low": 700, "high": 960.0}, (0.0, 700.0, 960.0, 1200.0)),
        ({"kind": "limits", "high": 960.0}, (0.0, 960.0, 1200.0)),
        ({"kind": "shewhart", "of": ["t0"], "centre": 850.0, "sigma": 1.5}, (0.0, 845.5, 854.5, 1200.0)),
        ({"kind": "limits", "of": ["t1"], "high": 960.0}, (0.0, 1200.0)),
        ({"kind": "limits", "of": ["t0"], "on": "charge", "high": 960.0}, (0.0, 1200.0)),
        ({"kind": "shewhart", "of": ["t0"], "centre": {"a": 1.0}, "sigma": 1.5}, (0.0, 1200.0)),
    ],
)
def test_the_thresholds_of_detectors_are_limits(detector: dict[str, Any], limits: tuple[float, ...]) -> None:
    tags: list[dict[str, Any]] = [
        {"address": "holding:0", "role": "zone1.temperature", "range": [0, 1200], "deadband": 5.0},
        {"address": "holding:1"},
    ]
    one = machine(MODBUS, tags, detector=[detector])
    assert limits_of(one.tag, one.detector) == {"t0": limits}


def test_no_threshold_of_a_detector_is_crossed_unseen() -> None:
    detector = [{"kind": "limits", "of": ["t0"], "high": 960.0}]
    tag = {"address": "holding:0", "range": [0, 1200], "deadband": 5.0, "heartbeat_s": 60.0}
    one = machine(MODBUS, [tag], detector=detector)
    values = [957.0, 958.0, 961.5, 961.9, 958.0, 957.0]
    rows = kept(DeadBand(one.tag, one.source, one.detector), batch(START + np.arange(6) * SECOND, values))
    assert [value for _, value, _ in rows] == [957.0, 961.5, 958.0]


def test_a_changed_threshold_of_a_tag_with_a_dead_band_concerns_the_reading() -> None:
    def of(high: float, **tag: Any) -> Any:
        tags = [{"address": "holding:0", **tag}]
        return machine(MODBUS, tags, detector=[{"kind": "limits", "of": ["t0"], "high": high}])

    assert alike(of(960.0), of(961.0))
    assert not alike(of(960.0, deadband=5.0), of(961.0, deadband=5.0))


def test_a_server_keeps_back_only_what_has_no_limits() -> None:
    tags: list[dict[str, Any]] = [
        {"address": "ns=2;i=1", "deadband": 1.0},
        {"address": "ns=2;i=2", "deadband": 1.0, "range": [0, 100]},
        {"address": "ns=2;i=3", "deadband": 1.0},
        {"address": "ns=2;i=4", "range": [0, 100]},
    ]
    detector = [{"kind": "limits", "of": ["t2"], "high": 50.0}]
    one = machine({"protocol": "opcua", "url": "opc.tcp://x"}, tags, detector=detector)
    here = {tag.name for tag in filtered(one.source, one.tag, one.detector)}
    assert here == {"t1", "t2"}
    assert [filter_of(tag, here) is None for tag in one.tag] == [False, True, True, True]


@pytest.mark.parametrize(
    ("tag", "source", "words"),
    [
        ({"deadband": 1, "values": {1: "on"}}, MODBUS, "every change of a number that means something counts"),
        ({"heartbeat_s": 5}, MODBUS, "heartbeat_s without deadband"),
        ({"deadband": 1, "address": "holding:0:string8"}, MODBUS, "what is a text, or is read once a cycle"),
        (
            {"deadband": 1, "heartbeat_s": 5, "address": "ns=2;i=1"},
            {"protocol": "opcua", "url": "opc.tcp://x"},
            "knows no heartbeat_s",
        ),
    ],
)
def test_a_deadband_that_means_nothing_is_refused(tag: Any, source: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        machine(source, [{"address": "holding:0"} | tag])


def test_what_is_read_once_a_cycle_has_none() -> None:
    tags: list[dict[str, Any]] = [{"address": "coil:0"}, {"address": "holding:1", "deadband": 1}]
    with pytest.raises(ValidationError, match="is read once a cycle, has no deadband"):
        machine(MODBUS | {"block": [{"trigger": "t0", "tags": ["t1"]}]}, tags)


async def test_rows_kept_back_are_not_missing_and_those_of_an_outage_are() -> None:
    device, spool = RawModbus({("holding", 0): 50}), MemorySpool()
    async with serving(device) as port:
        one = banded({"deadband": 1.0, "heartbeat_s": 0.5}, {}, port=port, every_s=0.05, timeout_s=0.2)
        task = asyncio.create_task(collect({ASSET: one}, spool, "gw-1", time.time_ns))
        await spool.until(lambda s: s.rows() > 20)
        device.words["holding", 0] = 60
        await spool.until(lambda s: any(60.0 in body.value for body in s.batches))
        assert spool.missing() == 0
        device.mute = True
        device.cut()
        await spool.until(lambda s: s.events("device.unreachable"))
        await asyncio.sleep(1.6)
        device.mute = False
        await spool.until(lambda s: len(s.events("device.unreachable")) == 2)
        before = spool.rows()
        await spool.until(lambda s: s.rows() > before + 10)
        await stopped(task)
    assert spool.expected() == spool.rows() + spool.missing()
    missing = np.sum([np.bincount(t.tag, t.missing.sum(axis=1), 2) for t in spool.tallies], axis=0)
    assert missing[1] > 20
    assert missing[0] == pytest.approx(missing[1] / 10, abs=1)
    mine = np.concatenate([body.ts_ns[body.tag == 0] for body in spool.batches])
    other = np.concatenate([body.ts_ns[body.tag == 1] for body in spool.batches])
    assert len(mine) < len(other) / 3


async def test_what_the_spool_refused_is_read_again_as_news() -> None:
    device, spool = RawModbus({("holding", 0): 50}), MemorySpool()
    async with serving(device) as port:
        one = banded({"deadband": 1.0, "heartbeat_s": 60}, port=port, every_s=0.05, timeout_s=0.5)
        collector = Collector(ASSET, one, spool, "gw-1", time.time_ns)
        spool.full = True
        task = asyncio.create_task(collector.run())
        await asyncio.sleep(0.4)
        spool.full = False
        await spool.until(lambda s: s.rows() > 0)
        await stopped(task)
    assert spool.missing(Cause.SPOOL_FULL) > 1
    assert spool.expected() == spool.rows() + spool.missing()
