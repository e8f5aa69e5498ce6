"""Numbers in registers, against the examples of domain.md 0.3 and against themselves."""

import math

import pytest
from hypothesis import given, strategies as st

from simulators.errors import InputError
from simulators.registers import decode, encode, parse_register

WORDS = {
    "int16": st.integers(-(2**15), 2**15 - 1),
    "uint16": st.integers(0, 2**16 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
}


@given(st.data(), st.sampled_from(sorted(WORDS)), st.sampled_from(["ABCD", "CDAB", "BADC", "DCBA"]))
def test_every_type_and_order_comes_back(data: st.DataObject, kind: str, order: str) -> None:
    register = parse_register(f"holding:7:{kind}:{order}")
    raw = data.draw(WORDS[kind])
    words = encode(register, raw)
    assert len(words) == register.size
    assert decode(register, words) == raw


@pytest.mark.parametrize(
    ("address", "raw", "words"),
    [
        ("holding:0:int16", -120, [0xFF88]),
        ("holding:0:float32", 123.45, [0x42F6, 0xE666]),
        ("holding:0:float32:CDAB", 123.45, [0xE666, 0x42F6]),
        ("holding:0:float32:BADC", 123.45, [0xF642, 0x66E6]),
        ("input:0:float32:DCBA", 123.45, [0x66E6, 0xF642]),
        ("holding:0:uint32:CDAB", 0x00010002, [2, 1]),
        ("coil:3", 1, [1]),
    ],
)
def test_known_values_have_known_registers(address: str, raw: float, words: list[int]) -> None:
    assert encode(parse_register(address), raw) == words


@pytest.mark.parametrize(
    ("kind", "raw", "held"), [("int16", 4e4, 32767), ("uint16", -3.0, 0), ("int16", math.nan, -32768)]
)
def test_integers_stay_at_the_ends_of_their_type(kind: str, raw: float, held: int) -> None:
    register = parse_register(f"holding:0:{kind}")
    assert decode(register, encode(register, raw)) == held


@pytest.mark.parametrize(
    "address",
    ["register:0:int16", "holding:x:int16", "holding:1", "coil:1:int16", "input:1:int64", "holding:1:float32:BA"],
)
def test_bad_addresses_say_what_is_expected(address: str) -> None:
    with pytest.raises(InputError, match=r"expected table:number\[:type\[:order\]\]"):
        parse_register(address)
