"""Every fault shows in the signal it names, and nothing that was misspelled is ever ignored."""

import math
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulators.clock import SimClock
from simulators.errors import InputError
from simulators.faults import DISTURBANCES, Fault, Faults, load_faults
from simulators.registers import decode, parse_register
from simulators.run import MODELS, catalogue
from simulators.serve_modbus import MachineDevice, Refusal, Request, Silence
from simulators.serve_mqtt import Message, MqttDevice
from simulators.serve_opcua import OpcuaDevice, Written
from simulators.signals import Failure
from simulators.truth import Truth

ALL_FAILURES = [(name, failure) for name, model in MODELS.items() for failure in model.failures]


def clock(now_s: float) -> SimClock:
    return SimClock(lambda: round(now_s * 1e9), 0)


def registers(machine: str, now_s: float, *entries: Fault) -> dict[str, float]:
    model, faults = MODELS[machine], Faults(entries)
    device = MachineDevice(model.make(1, faults), model.signals, faults, clock(now_s), Truth("x"))
    values = {}
    for signal in model.signals:
        register = parse_register(signal.address)
        words = device.answer(Request(register.table, register.number, register.size))
        values[signal.name] = decode(register, words) * signal.scale + signal.offset
    return values


def window(failure: str) -> tuple[list[float], float, float]:
    """When to look, and when the fault is on: long enough for the slow ones."""
    if failure in ("tc_drift", "element_loss", "ssr_stuck", "probe_drift", "air_leak"):
        return [9000.0 + 11.0 * n for n in range(60)], 6000.0, 10_000.0
    if failure == "overload":
        return [900.0 + 11.0 * n for n in range(60)], 0.0, 10_000.0
    if failure == "agitator_fail":
        return [14_045.0 + 4.0 * n for n in range(60)], 13_000.0, 16_000.0
    if failure == "late_transfer":
        return [13_930.0 + 0.5 * n for n in range(60)], 13_000.0, 16_000.0
    if failure in ("dross", "late_tap", "overheating"):
        return [12_500.0 + 25.0 * n for n in range(480)], 11_000.0, 24_000.0
    return [9000.0 + 0.7 * n for n in range(1400)], 6000.0, 10_000.0


@pytest.mark.parametrize(("machine", "failure"), ALL_FAILURES, ids=lambda value: getattr(value, "name", value))
def test_every_failure_shows_in_its_first_tag(machine: str, failure: Failure) -> None:
    times, start_s, end_s = window(failure.name)
    fault = Fault(failure.name, failure.tags[0], start_s, end_s, failure.magnitude)
    # The controller holds a sensor that reads low on its setpoint: the heat shows beside it.
    tag = "overtemp.pv" if failure.name == "tc_drift" else failure.tags[0]
    if failure.name == "cold_start":
        times = [6100.0 + n for n in range(60)]
    clean, broken = (MODELS[machine].make(1, faults) for faults in (Faults(), Faults((fault,))))
    healthy, sick = ([m.sample(t)[tag] for t in times] for m in (clean, broken))
    # Both share their noise, so every difference is the fault's.
    assert max(abs(b - a) for a, b in zip(healthy, sick, strict=True)) > 0.004 * max(map(abs, healthy))
    before = [start_s * share for share in (0.1, 0.5, 0.99)]
    assert [clean.sample(t) for t in before] == [broken.sample(t) for t in before]


@pytest.mark.parametrize(
    ("failure", "tag", "expected"),
    [
        ("dosing", "biscuit", -10.0),
        ("vacuum_leak", "vac_min", 190.0),
        ("flash", "tiebar3", 1560.0 * 0.05),
        ("spray_clog", "spray_volume", -640.0 * 0.3),
        ("blocked_cooling", "die_temp_fix1", 25.0),
        ("spray_clog", "die_temp_mov1", 20.0),
    ],
)
def test_casting_failures_have_their_size(failure: str, tag: str, expected: Any) -> None:
    size = {f.name: f for f in MODELS["casting"].failures}[failure]
    faults = Faults((Fault(failure, size.tags[0], 1000.0, 9000.0, size.magnitude),))
    clean, broken = (MODELS["casting"].make(1, f) for f in (Faults(), faults))
    times = [7000.0 + 62.0 * n for n in range(20)]
    difference = statistics.fmean(broken.sample(t)[tag] - clean.sample(t)[tag] for t in times)
    assert difference == pytest.approx(expected, rel=0.1)


def test_stuck_holds_the_value_of_its_start_and_lets_go() -> None:
    fault = Fault("stuck", "metal_temp", 100.0, 200.0, 1.0)
    start = registers("casting", 100.0)["metal_temp"]
    assert {registers("casting", t, fault)["metal_temp"] for t in (100.0, 150.0, 199.9)} == {start}
    assert registers("casting", 200.0, fault) == registers("casting", 200.0)


@pytest.mark.parametrize(
    ("kind", "tag", "magnitude", "expected"),
    [
        ("sentinel", "metal_temp", 32767.0, lambda clean: 3276.7),
        ("sentinel", "metal_temp", -32768.0, lambda clean: -3276.8),
        ("scale", "cool_flow1", 10.0, lambda clean: clean * 10.0),
        ("nan", "tiebar1", 1.0, lambda clean: math.nan),
    ],
)
def test_disturbed_registers(kind: str, tag: str, magnitude: float, expected: Any) -> None:
    clean = registers("casting", 150.0)[tag]
    disturbed = registers("casting", 150.0, Fault(kind, tag, 100.0, 200.0, magnitude))[tag]
    assert disturbed == pytest.approx(expected(clean), rel=2e-3, nan_ok=True)


def test_word_order_flips_words_only() -> None:
    flipped = registers("casting", 150.0, Fault("word_order", "shot_counter", 100.0, 200.0, 1.0))
    assert flipped["shot_counter"] == 2.0 * 65536.0
    assert flipped["energy"] == registers("casting", 150.0)["energy"]


def test_spikes_hit_three_percent_of_samples() -> None:
    fault = Fault("spike", "metal_temp", 0.0, 1e6, 0.3)
    clean, faults = MODELS["casting"].make(1, Faults()), Faults((fault,))
    signal = MODELS["casting"].signals[0]
    spikes = [faults.disturbed(signal, t * 1.0, 665.0, lambda t: clean.sample(t)["metal_temp"]) for t in range(4000)]
    assert 0.02 < sum(abs(value - 665.0) == pytest.approx(60.0) for value in spikes) / 4000 < 0.04
    assert all(value in (605.0, 665.0, 725.0) for value in spikes)


def test_a_reset_counter_starts_from_zero_and_stays_reset() -> None:
    fault = Fault("counter_reset", "energy", 1000.0, 1001.0, 1.0)
    assert registers("casting", 999.0, fault)["energy"] > 18_000.0
    assert registers("casting", 1000.0, fault)["energy"] == 0.0
    assert 0.0 < registers("casting", 2000.0, fault)["energy"] < 20.0


def test_gap_and_unresponsive_answer_nothing_and_exception_refuses() -> None:
    model = MODELS["casting"]

    def ask(fault: Fault, address: int) -> list[int]:
        faults = Faults((fault,))
        device = MachineDevice(model.make(1, faults), model.signals, faults, clock(150.0), Truth("x"))
        return device.answer(Request("holding", address, 1))

    with pytest.raises(Silence):
        ask(Fault("gap", "die_temp_fix1", 100.0, 200.0, 1.0), 1)
    assert ask(Fault("gap", "die_temp_fix1", 100.0, 200.0, 1.0), 2)
    for whole in ("gap", "unresponsive"):
        with pytest.raises(Silence):
            ask(Fault(whole, "", 100.0, 200.0, 1.0), 2)
    with pytest.raises(Refusal) as refused:
        ask(Fault("exception", "die_temp_fix1", 100.0, 200.0, 2.0), 1)
    assert refused.value.code == 2


def opcua(now_s: float, *entries: Fault) -> tuple[int, list[Written]]:
    model, faults = MODELS["heat_treatment"], Faults(entries)
    return OpcuaDevice(model.make(1, faults), model.signals, faults, clock(now_s), Truth("x")).changes()


def test_opcua_disturbances() -> None:
    tag = "zone1.pv"
    clean = {w.signal.name: w.value for w in opcua(150.0)[1]}
    assert len(clean) == len(MODELS["heat_treatment"].signals)
    assert tag not in {w.signal.name for w in opcua(150.0, Fault("gap", tag, 0.0, 1e3, 1.0))[1]}
    assert opcua(150.0, Fault("gap", "", 0.0, 1e3, 1.0))[1] == []
    bad = {w.signal.name for w in opcua(150.0, Fault("bad_status", tag, 0.0, 1e3, 1.0))[1] if w.bad}
    assert bad == {tag}
    scaled = {w.signal.name: w.value for w in opcua(150.0, Fault("scale", tag, 0.0, 1e3, 10.0))[1]}
    assert scaled[tag] == pytest.approx(10 * clean[tag], rel=1e-3)
    broken = {w.signal.name: w.value for w in opcua(150.0, Fault("nan", tag, 0.0, 1e3, 1.0))[1]}
    assert math.isnan(broken[tag])
    assert opcua(150.0, Fault("clock_skew", "", 0.0, 1e3, -2.0))[0] == 148_000_000_000


def mqtt(until_s: float, *entries: Fault) -> list[Message]:
    model, faults = MODELS["welding"], Faults(entries)
    device = MqttDevice(model.make(1, faults), model.signals, faults, clock(0.0))  # type: ignore[arg-type]
    return [m for step in range(round(until_s * 10)) for m in device.messages(step) if m.topic == device.topics[0]]


def test_mqtt_disturbances() -> None:
    clean = mqtt(20.0)
    stamps = [m.ts_ms for m in clean]
    assert all(b > a for a, b in pairwise(stamps))
    assert len(clean) > 120
    assert [m.ts_ms for m in mqtt(20.0, Fault("duplicate", "", 0.0, 1e3, 1.0))] == [s for s in stamps for _ in (1, 2)]
    late = [m.ts_ms for m in mqtt(30.0, Fault("out_of_order", "", 5.0, 10.0, 5.0))]
    assert late != sorted(late)
    assert sorted(late) == [m.ts_ms for m in mqtt(30.0)]
    assert [m.ts_ms for m in mqtt(20.0, Fault("clock_skew", "", 0.0, 1e3, 2.0))] == [s + 2000 for s in stamps]
    assert all(b'"u":' not in m.payload for m in mqtt(20.0, Fault("gap", "u", 0.0, 1e3, 1.0)))
    assert mqtt(20.0, Fault("gap", "", 0.0, 1e3, 1.0)) == []
    assert all(b'"u":null' in m.payload for m in mqtt(20.0, Fault("nan", "u", 0.0, 1e3, 1.0)))


def write(folder: Path, text: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_loads_with_defaults(tmp_path: Path) -> None:
    text = '[[fault]]\ntype = "dosing"\nstart_s = 10\nend_s = 20\n[[fault]]\ntype = "gap"\nstart_s = 1\nend_s = 2.5\n'
    faults = load_faults(write(tmp_path, text), catalogue("casting"))
    assert faults.entries == (Fault("dosing", "biscuit", 10.0, 20.0, -10.0), Fault("gap", "", 1.0, 2.5, 1.0))


ENTRY = '[[fault]]\ntype = "stuck"\ntag = "metal_temp"\nstart_s = 1\nend_s = 2\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ENTRY.replace('"stuck"', '"stucked"'),
            r"fault 1: type = 'stucked' is unknown for casting; allowed are plunger_wear",
        ),
        (
            ENTRY.replace("metal_temp", "metal"),
            r"tag = 'metal' is not allowed for stuck; allowed are metal_temp, die_temp_fix1",
        ),
        (ENTRY.replace('tag = "metal_temp"\n', ""), r"key 'tag' is missing; stuck needs one of metal_temp"),
        (
            ENTRY.replace("start_s", "begin_s"),
            r"key 'begin_s' is unknown; allowed are type, tag, start_s, end_s, magnitude",
        ),
        (ENTRY.replace("end_s = 2", "end_s = 1"), r"end_s = 1 must be greater than start_s = 1"),
        (ENTRY.replace("end_s = 2", 'end_s = "2"'), r"end_s = '2'; expected a finite number"),
        (ENTRY + "magnitude = nan\n", r"magnitude = nan; expected a finite number"),
        (
            ENTRY.replace("stuck", "unresponsive"),
            r"tag = 'metal_temp' is not allowed for unresponsive; it takes no tag",
        ),
        (ENTRY.replace("stuck", "word_order"), r"allowed are shot_counter, energy, metal_total"),
        (ENTRY.replace("stuck", "duplicate"), r"type = 'duplicate' is unknown for casting"),
        (ENTRY + ENTRY.replace("stuck", "exception") + "magnitude = 99\n", r"fault 2: magnitude = 99 is out of range"),
        ("[faults]\n", r"unknown key faults; allowed are \[\[fault\]\] tables only"),
        ("[[fault\n", r"not TOML in UTF-8"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_faults(write(tmp_path, text), catalogue("casting"))
    assert "faults.toml" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot read the fault file"):
        load_faults(tmp_path / "nowhere.toml", catalogue("welding"))


@pytest.mark.parametrize("machine", MODELS)
def test_every_type_of_every_machine_can_be_loaded_with_its_defaults(tmp_path: Path, machine: str) -> None:
    allowed = catalogue(machine)
    for kind in allowed.types():
        tags = allowed.tags(kind)
        tag = f'tag = "{tags[-1]}"\n' if tags else ""
        path = write(tmp_path, f'[[fault]]\ntype = "{kind}"\n{tag}start_s = 1\nend_s = 2\n')
        assert load_faults(path, allowed).entries[0].type == kind
    assert set(allowed.types()) >= {"gap", "stuck", "sentinel", "nan", "spike", "scale", "counter_reset"}
    assert set(DISTURBANCES) & {failure.name for failure in MODELS[machine].failures} == set()
