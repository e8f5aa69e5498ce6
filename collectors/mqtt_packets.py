"""MQTT 3.1.1 packets, as much as a subscriber needs: bytes to packets and back. Pure; fed by mqtt_link.

* Whatever bytes arrive, they are packets or `BadData`; nothing is read beyond the length that a packet states.
* No packet larger than `LARGEST` is waited for.

    packet = type and flags (1 byte) · length of the rest (1 to 4 bytes of 7 bits, low first) · rest
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.errors import BadData

LARGEST: Final = 64 << 20
"""Bytes of one packet; a burst of 2²⁰ values as JSON is a third of it."""
CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 2, 3, 4, 9, 13
PING: Final = b"\xc0\x00"
LEAVE: Final = b"\xe0\x00"
_AHEAD: Final = 6
"""Bytes that tell whether a packet has a header at all."""


@dataclass(slots=True)
class Message:
    """What was published.

    Attributes:
        topic: as published.
        payload: its bytes.
        qos: 0 or 1; only 1 is acknowledged.
        retain: the broker had it before we asked.
        ident: what an acknowledgement names.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    ident: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A packet that is no message: its type and the bytes after the header."""

    kind: int
    rest: bytes


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we are gone without a word."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


def packets(data: bytearray, most: int) -> list[Message | Answer]:
    """Takes whole packets out of `data`, at most `most`; what is not whole stays.

    Raises:
        BadData: these bytes are not MQTT.
    """
    found: list[Message | Answer] = []
    start = 0
    while len(found) < most:
        place = _header(data, start)
        if place is None or place[1] > len(data):
            break
        body, end = place
        kind, rest = data[start] >> 4, bytes(data[body:end])
        found.append(_message(data[start], rest) if kind == PUBLISH else Answer(kind, rest))
        start = end
    del data[:start]
    return found


def _header(data: bytearray, start: int) -> tuple[int, int] | None:
    """Where the rest of a packet begins and ends; None while that is not known."""
    length = shift = 0
    for place in range(start + 1, min(start + _AHEAD - 1, len(data))):
        byte = data[place]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            if length > LARGEST:
                raise BadData(f"a packet of {length} bytes; at most {LARGEST} are read")
            return place + 1, place + 1 + length
        shift += 7
    if len(data) - start >= _AHEAD - 1:
        raise BadData("these bytes are not MQTT: a length of more than four bytes")
    return None


def _message(first: int, rest: bytes) -> Message:
    qos = first >> 1 & 3
    if qos > 1:
        raise BadData(f"a message of QoS {qos}, though we asked for at most 1")
    if len(rest) < 2:
        raise BadData("a message without topic")
    end = 2 + (rest[0] << 8 | rest[1])
    start = end + 2 * qos
    if len(rest) < start:
        raise BadData("a message shorter than its topic")
    ident = rest[end] << 8 | rest[end + 1] if qos else 0
    try:
        topic = rest[2:end].decode()
    except UnicodeDecodeError as error:
        raise BadData("a topic that is not UTF-8") from error
    return Message(topic, rest[start:], qos, bool(first & 1), ident)


def _text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack(">H", len(data)) + data


def _packet(first: int, rest: bytes) -> bytes:
    length, left = bytearray(), len(rest)
    while True:
        byte, left = left & 0x7F, left >> 7
        length.append(byte | (0x80 if left else 0))
        if not left:
            return bytes([first]) + bytes(length) + rest


def connect(  # what the packet holds
    client_id: str, *, clean: bool, keepalive_s: int, user: str | None, password: str | None, will: Will | None
) -> bytes:
    """A request to be let in."""
    flags = clean << 1
    tail = _text(client_id)
    if will is not None:
        flags |= 0x04 | will.qos << 3 | will.retain << 5
        tail += _text(will.topic) + _text(will.payload)
    if user is not None:
        flags |= 0x80
        tail += _text(user)
        if password is not None:
            flags |= 0x40
            tail += _text(password)
    return _packet(0x10, _text("MQTT") + struct.pack(">BBH", 4, flags, keepalive_s) + tail)


def subscribe(ident: int, filters: Sequence[str], qos: int = 1) -> bytes:
    """A request for topics."""
    return _packet(0x82, struct.pack(">H", ident) + b"".join(_text(one) + bytes([qos]) for one in filters))


def publish(topic: str, payload: bytes, *, ident: int = 0, retain: bool = False) -> bytes:
    """A message of QoS 1, or of QoS 0 without `ident`."""
    number = struct.pack(">H", ident) if ident else b""
    return _packet(0x30 | (0x02 if ident else 0) | retain, _text(topic) + number + payload)


def acknowledgements(messages: Sequence[Message]) -> bytes:
    """Of those that want one, in the order in which they came."""
    idents = [one.ident for one in messages if one.qos]
    words = [word for ident in idents for word in (0x4002, ident)]
    return struct.pack(f">{len(words)}H", *words)
