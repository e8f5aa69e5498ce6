import itertools
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from collectors.registers import Decoder, Limits, learn, plan, point_of
from pipeline.plant import Tag

FORMATS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "float64": "d",
    "int64": "q",
    "uint64": "Q",
}
WORDS = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2, "float64": 4, "int64": 4, "uint64": 4}


def tag(name: str, address: str) -> Tag:
    return Tag(name=name, address=address, unit="1")


def encode(raw: bytes, order: str) -> list[int]:
    """Words of a big-endian value in an order, written the slow and obvious way."""
    words = [raw[i : i + 2] for i in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


@st.composite
def machines(draw: Any) -> Any:
    tags, memory, at = [], {}, {"holding": 0, "input": 0, "coil": 0, "discrete": 0}
    expected = []
    for i in range(draw(st.integers(1, 40))):
        table = draw(st.sampled_from(sorted(at)))
        number = at[table] + draw(st.integers(0, 30))
        if table in ("coil", "discrete"):
            bit = draw(st.booleans())
            memory[table, number] = int(bit)
            tags.append(tag(f"t{i}", f"{table}:{number}"))
            expected.append(float(bit))
            at[table] = number + 1
            continue
        kind = draw(st.sampled_from(sorted(FORMATS)))
        order = draw(st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]))
        raw = draw(st.binary(min_size=2 * WORDS[kind], max_size=2 * WORDS[kind]))
        for offset, word in enumerate(encode(raw, order)):
            memory[table, number + offset] = word
        tags.append(tag(f"t{i}", f"{table}:{number}:{kind}:{order}"))
        expected.append(float(struct.unpack(">" + FORMATS[kind], raw)[0]))
        at[table] = number + WORDS[kind]
    return draw(st.permutations(list(zip(tags, expected, strict=True)))), memory


limits = st.builds(Limits, st.integers(4, 125), st.integers(1, 2000), st.integers(0, 40))


def answer(block: Any, memory: Any) -> bytes:
    values = [memory.get((block.table, block.start + i), 0) for i in range(block.count)]
    if block.table in ("coil", "discrete"):
        return np.packbits(np.array(values, np.uint8), bitorder="little").tobytes()
    return struct.pack(f">{len(values)}H", *values)


@settings(deadline=None)
@given(machines(), limits)
def test_what_struct_encodes_is_decoded_in_every_type_and_order(machine: Any, limit: Any) -> None:
    pairs, memory = machine
    points = [point_of(i, one) for i, (one, _) in enumerate(pairs)]
    blocks = plan(points, limit)
    raw = Decoder(blocks, len(points)).decode(b"".join(answer(block, memory) for block in blocks))
    for got, (_, want) in zip(raw.tolist(), pairs, strict=True):
        assert got == want or (math.isnan(got) and math.isnan(want))


@settings(deadline=None)
@given(machines(), limits)
def test_a_plan_reads_every_tag_once_whole_and_within_the_limits(machine: Any, limit: Any) -> None:
    pairs, _ = machine
    points = [point_of(i, one) for i, (one, _) in enumerate(pairs)]
    blocks = plan(points, limit)
    assert sorted(point.tag for block in blocks for point in block.points) == list(range(len(points)))
    for block in blocks:
        longest, bridge = limit.of(block.table)
        assert block.count <= longest
        covered = sorted((point.start, point.end) for point in block.points)
        assert covered[0][0] == block.start
        assert max(end for _, end in covered) == block.start + block.count
        for (_, end), (start, _) in itertools.pairwise(covered):
            assert start - end <= bridge


def test_a_gap_up_to_the_limit_is_bridged_and_a_wider_one_is_not() -> None:
    points = [point_of(i, tag(f"t{i}", f"holding:{n}")) for i, n in enumerate([0, 9, 19])]
    assert [(b.start, b.count) for b in plan(points, Limits(125, 2000, 8))] == [(0, 10), (19, 1)]
    assert [(b.start, b.count) for b in plan(points, Limits(125, 2000, 9))] == [(0, 20)]


def test_overlapping_tags_share_their_registers() -> None:
    points = [point_of(0, tag("whole", "holding:0:uint32")), point_of(1, tag("low", "holding:1"))]
    blocks = plan(points, Limits(125, 2000, 8))
    assert [(b.start, b.count) for b in blocks] == [(0, 2)]
    assert Decoder(blocks, 2).decode(struct.pack(">HH", 1, 2)).tolist() == [65538.0, 2.0]


@settings(deadline=None)
@given(st.sets(st.integers(0, 60), min_size=1), st.sets(st.integers(0, 60)))
def test_learning_ends_with_good_tags_answered_and_few_requests(numbers: Any, broken: Any) -> None:
    limit = Limits(125, 2000, 8)
    order = sorted(numbers)
    blocks = plan([point_of(i, tag(f"t{n}", f"holding:{n}")) for i, n in enumerate(order)], limit)
    for _ in range(4):
        refused = frozenset(b for b in blocks if any(n in broken for n in range(b.start, b.start + b.count)))
        better = learn(blocks, refused, limit)
        if better is None:
            break
        blocks = better
    assert better is None
    assert sorted(point.tag for block in blocks for point in block.points) == list(range(len(order)))
    assert {order[p.tag] for b in refused for p in b.points} == numbers & broken


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("40001", "not of the form"),
        ("holding:0:int16:ABCD:utf-8:more", "not of the form"),
        ("holding:0:int16:ABCD:utf-8", "only a string"),
        ("register:0", "table 'register'"),
        ("holding:0:int8", "type 'int8'"),
        ("holding:0:int32:ABDC", "order 'ABDC'"),
        ("coil:3:int16", "a coil is one bit"),
        ("holding:65535:int32", "ends beyond"),
        ("input:99999", "ends beyond"),
    ],
)
def test_a_wrong_address_is_named_with_what_was_expected(address: str, said: Any) -> None:
    with pytest.raises(ValueError, match=said):
        point_of(0, tag("zone1.pv", address))
