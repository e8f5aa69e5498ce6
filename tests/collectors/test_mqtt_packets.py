"""MQTT packets: what is cut anywhere comes together, and whatever arrives is packets or refused."""

import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st

from collectors import mqtt_packets as packet
from collectors.mqtt_packets import Answer, Message, Will, packets
from pipeline.errors import BadData

MESSAGES = st.builds(
    Message,
    topic=st.text(max_size=20),
    payload=st.binary(max_size=300),
    qos=st.sampled_from([0, 1]),
    retain=st.booleans(),
    ident=st.integers(1, 0xFFFF),
)


def length_of(size: int) -> bytes:
    """By hand, as the standard's pseudo code writes it."""
    out = []
    while True:
        digit, size = size % 128, size // 128
        out.append(digit | 128 if size else digit)
        if not size:
            return bytes(out)


def by_hand(one: Message) -> bytes:
    topic = one.topic.encode()
    rest = struct.pack(">H", len(topic)) + topic + (struct.pack(">H", one.ident) if one.qos else b"") + one.payload
    return bytes([0x30 + 2 * one.qos + one.retain]) + length_of(len(rest)) + rest


@given(st.lists(MESSAGES, max_size=8), st.lists(st.integers(1, 64), min_size=1, max_size=20), st.integers(1, 5))
def test_messages_cut_anywhere_come_together_in_order(sent: Any, cuts: list[int], most: int) -> None:
    stream, data, got, place = b"".join(map(by_hand, sent)), bytearray(), [], 0
    for turn in range(len(stream) + 1):
        step = cuts[turn % len(cuts)]
        data += stream[place : place + step]
        place += step
        found = packets(data, most)
        assert len(found) <= most
        got += found
    while data:
        got += packets(data, most)
    expected = [Message(one.topic, one.payload, one.qos, one.retain, one.ident if one.qos else 0) for one in sent]
    assert got == expected


@given(st.binary(max_size=400))
def test_whatever_bytes_arrive_are_packets_or_refused(stream: bytes) -> None:
    data = bytearray(stream)
    try:
        found = packets(data, 1000)
    except BadData:
        return
    assert all(isinstance(one, Message | Answer) for one in found)
    assert packets(data, 1000) == []


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"\x30\xff\xff\xff\xff\x01", "more than four bytes"),
        (b"\x30\xff\xff\xff\x7f", "at most"),
        (b"\x34\x03\x00\x01a", "QoS 2"),
        (b"\x30\x01\x00", "without topic"),
        (b"\x32\x03\x00\x01a", "shorter than its topic"),
        (b"\x30\x03\x00\x01\xff", "not UTF-8"),
    ],
)
def test_what_is_not_mqtt_is_refused(stream: bytes, words: str) -> None:
    with pytest.raises(BadData, match=words):
        packets(bytearray(stream), 10)


def test_requests_are_as_the_standard_draws_them() -> None:
    will = Will("w", b"x", qos=1, retain=True)
    assert packet.connect("me", clean=False, keepalive_s=15, user="u", password="p", will=will) == (
        b"\x10\x1a\x00\x04MQTT\x04\xec\x00\x0f\x00\x02me\x00\x01w\x00\x01x\x00\x01u\x00\x01p"
    )
    assert packet.connect("me", clean=True, keepalive_s=15, user=None, password=None, will=None) == (
        b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x0f\x00\x02me"
    )
    assert packet.subscribe(10, ["a/b", "c/d"]) == b"\x82\x0e\x00\x0a\x00\x03a/b\x01\x00\x03c/d\x01"
    assert packet.publish("a", b"z" * 200) == b"\x30\xcb\x01\x00\x01a" + b"z" * 200
    assert packet.publish("a", b"z", ident=7, retain=True) == b"\x33\x06\x00\x01a\x00\x07z"
    said = [Message("t", b"", qos, retain=False, ident=0x0102) for qos in (1, 0, 1)]
    assert packet.acknowledgements(said) == b"\x40\x02\x01\x02" * 2
