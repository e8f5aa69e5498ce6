"""Frames from anywhere: no bytes make it fail, none become a number that was not asked for, all are counted."""

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from collectors.modbus_frame import Answer, Ask, Framing, RtuFraming, TcpFraming, checksum
from tests.collectors.devices import crc16

asks = st.builds(Ask, st.integers(1, 247), st.integers(1, 4), st.integers(0, 65_000), st.integers(1, 120))
framings = st.sampled_from([TcpFraming, RtuFraming])


def body(ask: Ask, data: bytes) -> bytes:
    return bytes([ask.function, len(data)]) + data


def framed(framing: Framing, request: bytes, unit: int, pdu: bytes) -> bytes:
    """An answer as a device that shares no code with ours puts it into a frame."""
    if isinstance(framing, TcpFraming):
        return request[:2] + struct.pack(">HHB", 0, len(pdu) + 1, unit) + pdu
    return bytes([unit]) + pdu + crc16(bytes([unit]) + pdu)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


def fed(framing: Framing, parts: list[bytes]) -> list[Answer]:
    return [answer for part in parts if (answer := framing.feed(part)) is not None]


@given(st.binary(max_size=300))
def test_the_checksum_is_that_of_the_specification(frame: bytes) -> None:
    assert checksum(frame) == crc16(frame)


@settings(deadline=None)
@given(framings, asks, st.data(), st.lists(st.integers(0, 300), max_size=8))
def test_an_answer_is_found_however_it_is_cut(kind: Any, ask: Ask, data: Any, cuts: list[int]) -> None:
    said = data.draw(st.binary(min_size=ask.nbytes, max_size=ask.nbytes))
    framing = kind()
    whole = framed(framing, framing.request(ask), ask.unit, body(ask, said))
    assert fed(framing, pieces(whole, cuts)) == [Answer(said)]
    assert not any(framing.dropped.values())


@settings(deadline=None)
@given(framings, asks, st.integers(0, 255))
def test_an_exception_is_told(kind: Any, ask: Ask, code: int) -> None:
    framing = kind()
    whole = framed(framing, framing.request(ask), ask.unit, bytes([ask.function | 0x80, code]))
    assert fed(framing, [whole]) == [Answer(exception=code)]


@settings(deadline=None, max_examples=300)
@given(framings, asks, st.lists(st.binary(max_size=80), max_size=8))
def test_garbage_never_fails_is_never_a_number_and_is_counted(kind: Any, ask: Ask, parts: list[bytes]) -> None:
    framing = kind()
    framing.request(ask)
    answers = fed(framing, parts)
    framing.settle()
    assert all(not answer.data for answer in answers)
    if kind is RtuFraming and any(parts) and not any(answer.exception for answer in answers):
        assert sum(framing.dropped.values()) > 0


@settings(deadline=None, max_examples=300)
@given(framings, asks, st.data(), st.integers(0, 2_000), st.integers(1, 255))
def test_one_changed_byte_never_becomes_a_number(kind: Any, ask: Ask, data: Any, place: int, change: int) -> None:
    said = data.draw(st.binary(min_size=ask.nbytes, max_size=ask.nbytes))
    framing = kind()
    whole = bytearray(framed(framing, framing.request(ask), ask.unit, body(ask, said)))
    at = place % len(whole)
    if kind is TcpFraming and at >= 9:
        return  # TCP has a checksum of its own below
    whole[at] ^= change
    answers = fed(framing, [bytes(whole)])
    framing.settle()
    assert all(not answer.data for answer in answers)
    pending = kind is TcpFraming and at in (4, 5)  # a longer length: the rest is awaited
    assert pending or sum(framing.dropped.values()) > 0


@settings(deadline=None)
@given(framings, st.lists(asks, min_size=2, max_size=6, unique_by=lambda ask: (ask.unit, ask.function, ask.nbytes)))
def test_late_answers_are_dropped_and_the_right_one_is_found(kind: Any, all_of: list[Ask]) -> None:
    framing = kind()
    late = b""
    for ask in all_of:
        request = framing.request(ask)
        answer = framed(framing, request, ask.unit, body(ask, bytes([7]) * ask.nbytes))
        late += answer if ask is not all_of[-1] else b""
    framing.feed(b"")
    assert fed(framing, [late, answer]) == [Answer(bytes([7]) * all_of[-1].nbytes)]
    assert sum(framing.dropped.values()) >= len(all_of) - 1


@settings(deadline=None)
@given(asks, st.integers(1, 20))
def test_a_late_answer_of_the_same_shape_cannot_be_mistaken(ask: Ask, times: int) -> None:
    framing = RtuFraming()
    for _ in range(times):
        shape = (ask.function, ask.nbytes)
        first = framing.resync(ask)
        asked = first or ask
        framing.request(asked)
        framing.settle()
        assert first is None or (first.function, first.nbytes) != shape
    other = framing.resync(ask)
    assert other is not None
    request = framing.request(other)
    answer = framed(framing, request, ask.unit, body(other, bytes(other.nbytes)))
    late = framed(framing, request, ask.unit, body(ask, b"\1" * ask.nbytes))
    assert fed(framing, [late, answer]) == [Answer(bytes(other.nbytes))]
    assert framing.resync(ask) is None


def test_our_own_request_heard_back_is_dropped() -> None:
    framing, ask = RtuFraming(), Ask(1, 3, 0x0200, 1)
    request = framing.request(ask)
    answer = framed(framing, request, 1, body(ask, b"\1\2"))
    assert fed(framing, [request[:3], request[3:] + answer[:2], answer[2:]]) == [Answer(b"\1\2")]
    assert framing.dropped["echo"] == 1


def test_what_nobody_asked_for_is_stale() -> None:
    for framing in (TcpFraming(), RtuFraming()):
        assert framing.feed(framed(framing, b"\0\1", 1, b"\3\2\0\0")) is None
        assert framing.dropped["stale"] == 1


@pytest.mark.parametrize("function", [5, 6, 15, 16, 22, 23])
def test_no_frame_writes(function: int) -> None:
    with pytest.raises(ValueError, match="does not read"):
        TcpFraming().request(Ask(1, function, 0, 1))
