"""How far the counter behind a tag counts, as its machine file says.

* A Modbus address names the register: what counts in it begins again where that is full, by the tag's scale and offset.
* Of a float, of another protocol and of an address that a profile gives, nothing is known: a counter of 32 bits.
"""

import re
from typing import Final

from analytics.time_series import UNKNOWN_COUNTER, Counter
from pipeline.plant import Tag

_INTEGER: Final = re.compile(r"(\d{1,3}/)?(holding|input):\d{1,5}(:((?P<sign>u?)int(?P<bits>16|32|64))?(:\w*)?)?")
"""No type is uint16; see collectors/modbus.md."""


def counter_of(protocol: str, tag: Tag) -> Counter:
    """Where the counter of a tag begins again, in the tag's unit.

    >>> counter_of("modbus", Tag(name="e", address="holding:0:uint32", unit="kW.h", scale=0.1)).modulus
    429496729.6
    """
    found = _INTEGER.fullmatch(tag.address) if protocol == "modbus" else None
    if found is None or tag.scale <= 0 or tag.loop is not None:
        return UNKNOWN_COUNTER
    bits, signed = int(found["bits"] or 16), found["bits"] is not None and not found["sign"]
    return Counter(2.0 ** (bits - signed) * tag.scale, tag.offset, signed)
