"""Bytes come back as what was written, or not at all."""

import json
import math
import struct
import uuid
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import wire
from pipeline.errors import BadData
from pipeline.ledger import LAST_SEQ
from pipeline.model import CAUSES, Batch, Body, Event, Phase, Severity, Tally, Waveform, rows_of
from tests.support.spine import ASSET, T0_NS, batch, event, frame, tally, waveform

INT64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=8)
TAGS = st.lists(NAMES | st.sampled_from(["온도", "zone1.pv"]), min_size=1, max_size=4, unique=True).map(tuple)
TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    tags = draw(TAGS)
    n = draw(st.integers(0, 12))
    column = st.booleans()

    def drawn(one: st.SearchStrategy[float]) -> list[float]:
        return [draw(one)] * n if draw(column) else draw(st.lists(one, min_size=n, max_size=n))

    ts, tag = drawn(INT64), drawn(st.integers(0, len(tags) - 1))
    value, quality = drawn(st.floats()), drawn(st.integers(0, 2**32 - 1))
    arrays = np.array(ts, np.int64), np.array(tag, np.uint16), np.array(value, np.float64), np.array(quality, np.uint32)
    return Batch(draw(NAMES), tags, *arrays)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    tags = draw(TAGS)
    n = draw(st.integers(0, 5))
    minutes, expected = draw(st.lists(INT64, min_size=n, max_size=n)), draw(st.lists(INT64, min_size=n, max_size=n))
    missing = draw(st.lists(st.lists(INT64, min_size=len(CAUSES), max_size=len(CAUSES)), min_size=n, max_size=n))
    tag = draw(st.lists(st.integers(0, len(tags) - 1), min_size=n, max_size=n))
    arrays = np.array(minutes, np.int64), np.array(tag, np.uint16), np.array(expected, np.int64)
    return Tally(draw(NAMES), tags, *arrays, np.array(missing, np.int64).reshape(n, len(CAUSES)))


EVENTS = st.builds(
    Event, NAMES, TEXT, INT64, TEXT, st.sampled_from(Phase), st.sampled_from(Severity), TEXT, st.none() | INT64,
    st.dictionaries(TEXT, JSON, max_size=3),
)  # fmt: skip


@st.composite
def waveforms(draw: st.DrawFn) -> Waveform:
    names = draw(TAGS)
    shape = (draw(st.integers(1, 30)), len(names))
    value = draw(hnp.arrays(np.float32, shape, elements=st.floats(width=32)))
    numbers = draw(INT64), draw(st.integers(1, 2**63 - 1)), draw(st.integers(0, 2**32 - 1))
    return Waveform(draw(NAMES), draw(NAMES), numbers[0], numbers[1], names, value, numbers[2])


BODIES = st.lists(st.one_of(batches(), tallies(), EVENTS, waveforms()), max_size=4)


@given(BODIES)
def test_bodies_come_back_equal(bodies: list[Body]) -> None:
    assert wire.unpack(wire.pack(bodies)) == tuple(bodies)


@given(BODIES, st.uuids(), st.integers(1, LAST_SEQ), INT64, st.data())
def test_record_comes_back_equal(bodies: list[Body], epoch: uuid.UUID, seq: int, at: int, data: st.DataObject) -> None:
    previous = data.draw(st.integers(0, seq - 1))
    sent = wire.Frame("gw-1", epoch, seq, previous, at, rows_of(bodies), wire.pack(bodies))
    (held,) = wire.frames(wire.frame(sent))
    assert held == sent
    got = wire.record(held)
    assert (got.source, got.epoch, got.seq, got.previous, got.gateway_ns) == ("gw-1", epoch, seq, previous, at)
    assert got.bodies == tuple(bodies)


def test_nan_payloads_and_signed_zeros_survive_in_constant_columns() -> None:
    odd = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0123))[0]
    for value in ([odd] * 5, [-0.0] * 5, [0.0, -0.0, 0.0], [math.nan, 1.0]):
        n = len(value)
        sent = Batch(ASSET, ("a",), np.arange(n), np.zeros(n, np.uint16), np.array(value), np.zeros(n, np.uint32))
        (got,) = wire.unpack(wire.pack([sent]))
        assert isinstance(got, Batch)
        assert got.value.tobytes() == sent.value.tobytes()


def test_half_a_surrogate_of_a_careless_device_passes() -> None:
    sent = event("\ud800", key="\udcff", data={"\udfff": ["\ud800"]})
    assert wire.unpack(wire.pack([sent])) == (sent,)


def test_constant_columns_cost_next_to_nothing() -> None:
    n = 100_000
    same = Batch.of(ASSET, ("a",), T0_NS, 0, np.full(n, 21.5))
    assert len(wire.pack([same])) < 200


def test_frames_of_a_message_come_in_order() -> None:
    sent = [frame([batch(seq), event(str(seq))], seq) for seq in range(1, 6)]
    assert list(wire.frames(b"".join(wire.frame(one) for one in sent))) == sent
    assert list(wire.frames(b"")) == []


def whole_frames(message: bytes) -> tuple[list[wire.Frame], bool]:
    """What can be read, and whether the rest was refused."""
    found = []
    try:
        for held in wire.frames(message):
            wire.record(held)
            found.append(held)
    except BadData:
        return found, True
    return found, False


SENT = [frame([batch(1, 4), tally(4, late=1), waveform(n=4)], 1), frame([event()], 2)]
MESSAGE = b"".join(wire.frame(one) for one in SENT)


def test_every_flipped_byte_is_noticed_and_changes_no_record() -> None:
    for at in range(len(MESSAGE)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(MESSAGE)
            damaged[at] ^= flip
            found, refused = whole_frames(bytes(damaged))
            assert refused, f"byte {at} flipped by {flip:#x}"
            assert found == SENT[: len(found)]


def test_every_truncation_gives_whole_frames_and_bad_data() -> None:
    first = len(wire.frame(SENT[0]))
    for end in range(1, len(MESSAGE)):
        found, refused = whole_frames(MESSAGE[:end])
        assert found == (SENT[:1] if end >= first else [])
        assert refused == (end != first)


@given(st.binary(max_size=300))
def test_random_bytes_are_never_anything_but_bad_data(noise: bytes) -> None:
    assert whole_frames(noise)[0] == []
    with pytest.raises(BadData):
        wire.unpack(noise)


@given(st.binary(max_size=200))
def test_random_content_in_a_proper_envelope_is_never_anything_but_bad_data(noise: bytes) -> None:
    compressed = zstandard.ZstdCompressor().compress(noise)
    try:
        bodies = wire.unpack(compressed)
    except BadData:
        return
    assert wire.unpack(wire.pack(bodies)) == bodies


@settings(max_examples=300)
@given(
    st.integers(1, 4), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6), st.integers(0, 40)
)
def test_mutated_parts_are_never_anything_but_bad_data(kind: int, flips: list[tuple[int, int]], cut: int) -> None:
    contents: dict[int, Body] = {1: batch(0, 6), 2: tally(3), 3: event(data={"a": [1, {"b": None}]}), 4: waveform(n=3)}
    content = contents[kind]
    plain = bytearray(zstandard.ZstdDecompressor().decompress(wire.pack([content])))
    for at, value in flips:
        plain[at % len(plain)] = value
    mutated = bytes(plain[: len(plain) - cut])
    try:
        bodies = wire.unpack(zstandard.ZstdCompressor().compress(mutated))
    except BadData:
        return
    assert isinstance(bodies, tuple)


def resealed(message: bytes, **fields: int) -> bytes:
    """A frame with header fields changed and the checksum put right."""
    places = {"version": (3, "<B"), "length": (4, "<I"), "seq": (28, "<Q"), "previous": (36, "<Q"), "rows": (52, "<I")}
    changed = bytearray(message)
    for name, value in fields.items():
        struct.pack_into(places[name][1], changed, places[name][0], value)
    struct.pack_into("<I", changed, 8, zlib.crc32(bytes(changed[12:])))
    return bytes(changed)


def test_another_version_says_upgrade() -> None:
    newer = resealed(wire.frame(frame([batch()], 1)), version=2)
    with pytest.raises(BadData, match="version 2, this program reads version 1; upgrade it"):
        list(wire.frames(newer))


@pytest.mark.parametrize("fields", [{"seq": 0}, {"seq": LAST_SEQ + 1}, {"previous": 1}, {"previous": 2**64 - 1}])
def test_numbers_that_cannot_be_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(BadData, match="cannot be"):
        list(wire.frames(resealed(wire.frame(frame([batch()], 1)), **fields)))


@pytest.mark.parametrize("length", [0, 1, 57, 58, 2**32 - 1])
def test_length_that_lies_is_refused(length: int) -> None:
    with pytest.raises(BadData):
        list(wire.frames(resealed(wire.frame(frame([batch()], 1)), length=length)))


def test_header_that_counts_other_rows_is_refused() -> None:
    (held,) = wire.frames(resealed(wire.frame(frame([batch()], 1)), rows=4_000_000_000))
    with pytest.raises(BadData, match="header says 4000000000 rows, the payload holds 3"):
        wire.record(held)


def test_gateway_name_that_is_no_ascii_is_refused() -> None:
    with pytest.raises(BadData, match="not ASCII"):
        list(wire.frames(wire.frame(frame([batch()], 1, source="공장"))))


def part(kind: int, content: bytes) -> bytes:
    return struct.pack("<BxHI", kind, 0, len(content)) + content


def columns(rows: int, constant: int, rest: bytes = b"", asset: bytes = b"a", names: bytes = b"t") -> bytes:
    text = asset + names
    return struct.pack("<IIII", len(asset), len(names), rows, constant) + text + bytes(-len(text) % 8) + rest


def burst(samples: int, k: int, values: bytes = b"", names: bytes = b"t", period_ns: int = 1) -> bytes:
    head = struct.pack("<IIIIIIqq", 1, 1, len(names), samples, k, 0, T0_NS, period_ns)
    text = b"an" + names
    return head + text + bytes(-len(text) % 8) + values


def packed(*parts: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(b"".join(parts))


def test_payload_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(wire.LARGEST_PAYLOAD + 1))
    assert len(bomb) < 10_000
    with pytest.raises(BadData, match="at most"):
        wire.unpack(bomb)


def test_payload_that_does_not_say_its_size_is_refused() -> None:
    with pytest.raises(BadData, match="at most"):
        wire.unpack(zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100))


def test_rows_out_of_nothing_are_bounded() -> None:
    with pytest.raises(BadData, match="body of 4294967295 rows"):
        wire.unpack(packed(part(1, columns(2**32 - 1, 0xF, bytes(32)))))


def test_rows_out_of_nothing_are_bounded_over_all_bodies() -> None:
    small = part(1, columns(wire.MOST_ROWS // 4, 0xF, bytes(32)))
    assert rows_of(wire.unpack(packed(small))) == wire.MOST_ROWS // 4
    with pytest.raises(BadData, match="in one payload"):
        wire.unpack(packed(*[small] * 1000))


def test_bodies_are_bounded() -> None:
    empty = part(1, columns(0, 0))
    with pytest.raises(BadData, match="more than 65536 bodies"):
        wire.unpack(packed(*[empty] * (wire.MOST_BODIES + 1)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (part(9, b""), "kind 9, this program knows 1 to 4; upgrade it"),
        (part(1, b"x"), "columns end inside"),
        (part(1, columns(3, 0)), "column ts_ns of 3 rows is longer"),
        (part(1, columns(1, 0, bytes(24) + b"\x07\0" + bytes(6))), "a row names tag 7 of 1"),
        (part(1, columns(1, 0, bytes(32), names=b"")), "a row names tag 0 of 0"),
        (part(1, columns(0, 0, asset=b"\xff")), "not UTF-8"),
        (part(3, b""), "not an event"),
        (part(3, b"[1]"), "not an event"),
        (part(3, b"[" * 5000), "not an event"),
        (part(3, json.dumps([1, "k", 1, "t", "note", 100, "", None, {}]).encode()), "wrong type"),
        (part(3, json.dumps(["a", "k", "now", "t", "note", 100, "", None, {}]).encode()), "wrong type"),
        (part(3, json.dumps(["a", "k", 1, "t", "shout", 100, "", None, {}]).encode()), "not an event"),
        (part(3, json.dumps(["a", "k", 1, "t", "note", 101, "", None, {}]).encode()), "not an event"),
        (part(4, b"x"), "waveform ends inside"),
        (part(4, burst(2**32 - 1, 2**32 - 1)), "at most 1048576 values"),
        (part(4, burst(2**20 + 1, 1)), "at most 1048576 values"),
        (part(4, burst(1, 65)), "64 channels"),
        (part(4, burst(3, 2, values=bytes(23))), "3 samples in 2 channels cannot be in 23 bytes"),
        (part(4, burst(0, 0)), "cannot be in 0 bytes"),
        (part(4, burst(1, 1, values=bytes(4), period_ns=0)), "expected at least 1"),
        (part(4, burst(1, 2, values=bytes(8), names=b"a\na")), "appears twice"),
        (part(4, burst(1, 2, values=bytes(8), names=b"a")), "not a waveform"),
        (part(4, burst(1, 1, values=bytes(4), names=b"\xff")), "not a waveform"),
        (b"\x01\0\0", "inside a part header"),
        (struct.pack("<BxHI", 1, 0, 99), "part of 99 bytes, 0 are left"),
    ],
)
def test_content_that_nobody_writes_is_named(content: bytes, words: str) -> None:
    with pytest.raises(BadData, match=words):
        wire.unpack(packed(content))


@pytest.mark.parametrize("tags", [("a\nb",), ("",), ("a", "")])
def test_name_that_could_not_be_told_from_two_is_not_written(tags: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="line break"):
        wire.pack([batch(tags=tags)])


def test_what_could_not_be_read_back_is_not_written() -> None:
    half = Batch.of(ASSET, ("a",), T0_NS, 0, np.zeros(wire.MOST_ROWS // 2 + 1))
    bodies: Sequence[Body] = [half, half]
    with pytest.raises(ValueError, match="too much for one record"):
        wire.pack(bodies)


def test_waveforms_do_not_count_as_rows() -> None:
    many = [waveform(n=200_000, ts_ns=T0_NS + i) for i in range(8)]
    assert wire.unpack(wire.pack(many)) == tuple(many)
    held = frame([batch(), *many[:1]], 1)
    assert held.rows == 3
    assert wire.record(held).bodies == (batch(), many[0])


def test_spools_of_one_process_do_not_spoil_each_others_bytes() -> None:
    """Each packs in a thread of its own."""
    bodies = [[batch(1000 * i, 2000)] for i in range(8)]
    with ThreadPoolExecutor(len(bodies)) as threads:
        for _ in range(40):
            packed_at_once = list(threads.map(wire.pack, bodies))
            assert [list(wire.unpack(one)) for one in packed_at_once] == bodies
