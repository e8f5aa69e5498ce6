"""A counter that was full counts on, and one that was reset does not: by the register that its machine file names.

Needs no service.
"""

from pathlib import Path

import numpy as np
import pytest

from analytics.counters import counter_of
from analytics.energy import demand_profile, quarter_demand
from analytics.machines import METER, load_machines
from analytics.readings import gained
from analytics.result import Reason
from analytics.time_series import UNKNOWN_COUNTER, Counter, counter_delta
from analytics.window import SECOND_NS, Series
from collectors.registers import point_of
from pipeline.plant import Tag

TYPES = {"uint16": 2**16, "uint32": 2**32, "uint64": 2**64, "int16": 2**15, "int32": 2**31, "int64": 2**63}


def tag(address: str, scale: float = 1.0, offset: float = 0.0) -> Tag:
    return Tag(name="energy", role=METER, address=address, unit="kW.h", scale=scale, offset=offset)


def grown(old: float, new: float, counter: Counter) -> float | None:
    found = counter_delta(old, new, counter).one()
    assert (found.value is None) == (found.reason == Reason.MISSING_INPUT)
    return found.value


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("table", ["holding", "7/input"])
def test_the_register_says_where_it_ends(kind: str, table: str) -> None:
    found = counter_of("modbus", tag(f"{table}:10:{kind}", scale=0.1))
    assert found.modulus == pytest.approx(TYPES[kind] * 0.1)
    assert found.signed is kind.startswith("i")


def test_an_address_without_a_type_is_what_the_collector_takes_it_for() -> None:
    plain = tag("holding:10")
    assert counter_of("modbus", plain) == counter_of("modbus", tag(f"holding:10:{point_of(0, plain).type}"))


@pytest.mark.parametrize(
    ("protocol", "address"),
    [
        ("modbus", "holding:0:float32"), ("modbus", "coil:3"), ("modbus", "holding:0:bits4-7"), ("modbus", "energy"),
        ("opcua", "ns=2;s=energy"), ("opcua", "holding:0:uint16"), ("mqtt", "energy"),
    ],
)  # fmt: skip
def test_of_what_names_no_register_nothing_is_known(protocol: str, address: str) -> None:
    assert counter_of(protocol, tag(address)) == UNKNOWN_COUNTER


def test_an_order_of_bytes_changes_nothing() -> None:
    assert counter_of("modbus", tag("input:4:uint32:CDAB")) == Counter(2.0**32)


@pytest.mark.parametrize(
    ("address", "scale", "offset", "old", "new", "energy"),
    [
        ("holding:0:uint32", 0.1, 0.0, 429496720.0, 5.0, 14.6),
        ("holding:0:uint16", 1.0, 0.0, 65530.0, 5.0, 11.0),
        ("holding:0", 1.0, 0.0, 65530.0, 5.0, 11.0),
        ("holding:0:uint16", 1.0, 1000.0, 66530.0, 1005.0, 11.0),
        ("holding:0:int16", 1.0, 0.0, 32760.0, 5.0, 13.0),
        ("holding:0:int16", 1.0, 0.0, 32760.0, -32760.0, 16.0),
        ("holding:0:int32", 0.1, 0.0, 214748364.0, -214748364.0, 1.6),
        ("holding:0:int16", 1.0, 0.0, -1.0, 5.0, 6.0),
        ("holding:0:uint32", 0.1, 0.0, 1000.0, 1001.5, 1.5),
    ],
)
def test_a_full_register_counts_on(
    address: str, scale: float, offset: float, old: float, new: float, energy: float
) -> None:
    assert grown(old, new, counter_of("modbus", tag(address, scale, offset))) == pytest.approx(energy, abs=1e-6)


@pytest.mark.parametrize(
    ("address", "scale", "old", "new"),
    [
        ("holding:0:uint32", 0.1, 300_000_000.0, 5.0),
        ("holding:0:uint16", 1.0, 30_000.0, 5.0),
        ("holding:0:int16", 1.0, 20_000.0, 0.0),
        ("holding:0:float32", 1.0, 65_530.0, 5.0),
    ],
)
def test_a_reset_is_no_energy(address: str, scale: float, old: float, new: float) -> None:
    assert grown(old, new, counter_of("modbus", tag(address, scale))) is None


def test_demand_and_energy_of_a_cycle_count_on_where_the_register_is_known() -> None:
    known = counter_of("modbus", tag("holding:0:uint16"))
    minutes = np.arange(31, dtype=np.int64)
    meter = (65_500.0 + 4.0 * minutes) % 65_536
    rows = Series.of(minutes * 60 * SECOND_NS, meter, every_s=60.0, counter=known)
    assert rows.good.between(0, 10**15).counter is known
    whole = gained(rows, 0, int(rows.ts_ns[-1]), "kW.h")
    assert whole.value == pytest.approx(120.0)
    again = gained(Series.of(rows.ts_ns, meter, every_s=60.0), 0, int(rows.ts_ns[-1]), "kW.h")
    assert again.value is None
    found = demand_profile(rows.ts_ns, rows.value, longest_gap_s=61.0, counter=rows.counter).demand
    assert [one.value for one in found] == pytest.approx([240.0, 240.0])
    assert quarter_demand(65_530, 5, known).one().value == pytest.approx(44.0)


def test_a_machine_file_says_it_by_role(tmp_path: Path) -> None:
    (tmp_path / "plant.toml").write_text('enterprise = "acme"\nsite = "ansan1"\n', encoding="utf-8")
    (tmp_path / "meter.toml").write_text(
        'path = "a/b/meter"\nname = "Meter"\nprocess = "casting"\n'
        '[source]\nprotocol = "modbus"\nhost = "h"\n'
        f'[[tag]]\nname = "e"\nrole = "{METER}"\nunit = "kW.h"\naddress = "holding:0:uint32"\nscale = 0.1\n',
        encoding="utf-8",
    )
    _, (machine,) = load_machines(tmp_path)
    assert machine.counter(METER) == Counter(2.0**32 * 0.1)
    assert machine.counter("power") == UNKNOWN_COUNTER
