"""A nickel rack-plating line with two rectifiers and one hoist, behind Modbus TCP.

- Numbers from domain.md 6.9: 4 A/dm2 +- 1 %, 7.5 +- 0.1 V, bath 55 +- 0.5 Cel, pH 4.0 +- 0.03 rising 0.01 an hour,
  45 +- 0.5 mS/cm, rinse conductivity jumps 40-80 uS/cm a dip and washes out with volume over flow.
- A carrier starts every 15 minutes and takes 47; three or four are on the line. Carriers alternate between the two
  plating stations. The line is in full production at second 0.
- `hoist_tank` is the tank the hoist last served, 0 while it carries; `carrier_id` is whom.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulators.faults import Faults
from simulators.physics import Noise, Timeline, ramp
from simulators.signals import SCAN_COUNTER, Cycle, Failure, Phase, Signal

TANKS = (
    "LOAD", "DEGREASE", "RINSE_1", "PICKLE", "RINSE_2", "ACTIVATE", "RINSE_3", "PLATE", "DRAGOUT", "RINSE_4", "RINSE_5",
    "DRY", "UNLOAD",
)  # fmt: skip
_DWELL_S = (120.0, 300.0, 40.0, 90.0, 40.0, 60.0, 40.0, 1560.0, 20.0, 30.0, 35.0, 300.0, 60.0)
_MOVE_S = 12.0
_TAKT_S = 900.0
_BEFORE_S = 3 * _TAKT_S
_CURRENT_DENSITY, _AREA_DM2, _VOLT = 4.0, 120.0, 7.5
_SOFT_START_S = 30.0
_NI_UM, _EFFICIENCY = 0.204864, 0.95
_RINSE_L, _RINSE_L_MIN = 300.0, 20.0
_AH_A_SHOT = 7.5
_STATIONS = (1, 2)

SIGNALS = (
    Signal("rect1_amp", "rect1.amp", "A", 0.0, 6500.0, "holding:0:uint16", 0.1),
    Signal("rect1_volt", "rect1.volt", "V", 0.0, 24.0, "holding:1:int16", 0.01),
    Signal("rect1_ah", "rect1.ah", "A.h", 0.0, 1e7, "holding:2:float32:CDAB", counter=True),
    Signal("rect1_ripple", "rect1.ripple", "%", 0.0, 100.0, "holding:4:int16", 0.1),
    Signal("rect1_carrier", "rect1.carrier", "1", 0.0, 65535.0, "holding:5:uint16"),
    Signal("rect2_amp", "rect2.amp", "A", 0.0, 6500.0, "holding:6:uint16", 0.1),
    Signal("rect2_volt", "rect2.volt", "V", 0.0, 24.0, "holding:7:int16", 0.01),
    Signal("rect2_ah", "rect2.ah", "A.h", 0.0, 4e8, "holding:8:uint32", 0.1, counter=True),
    Signal("rect2_ripple", "rect2.ripple", "%", 0.0, 100.0, "holding:10:int16", 0.1),
    Signal("rect2_carrier", "rect2.carrier", "1", 0.0, 65535.0, "holding:11:uint16"),
    Signal("hoist_tank", "hoist.tank_id", "1", 0.0, 13.0, "holding:12:uint16"),
    Signal("carrier_id", "hoist.carrier_id", "1", 0.0, 1e9, "holding:13:uint32:BADC"),
    Signal("hoist_pos", "hoist.pos", "mm", -5000.0, 30000.0, "holding:15:int32"),
    Signal("dose_shots", "dose.pump_shots", "1", 0.0, 4294967295.0, "holding:17:uint32:CDAB", counter=True),
    Signal("energy", "energy.total", "kW.h", 0.0, 1e9, "holding:19:float64:DCBA", counter=True),
    Signal(SCAN_COUNTER, "device.scans", "1", 0.0, 4294967295.0, "holding:23:uint32"),
    Signal("bath_temp", "bath1.temp", "Cel", 0.0, 100.0, "input:0:float32"),
    Signal("bath_ph", "bath1.ph", "[pH]", 0.0, 14.0, "input:2:int16", 0.01),
    Signal("bath_cond", "bath1.cond", "mS/cm", 0.0, 200.0, "input:3:float32:BADC"),
    Signal("bath_level", "bath1.level", "mm", 0.0, 2000.0, "input:5:float32:DCBA"),
    Signal("rinse_cond", "rinse1.cond", "uS/cm", 0.0, 2000.0, "input:7:uint16", 0.1),
    Signal("rinse_flow", "rinse1.flow", "L/min", 0.0, 60.0, "input:8:uint16", 0.01),
    Signal("filter_dp", "filter.dp", "kPa", 0.0, 300.0, "input:9:int16", 0.1),
    Signal("heater_out", "bath1.heater", "%", 0.0, 100.0, "input:10:int16", 0.1, 0.0),
    Signal("room_temp", "room.temp", "Cel", -20.0, 60.0, "input:11:int16", 0.1, -20.0),
    Signal("rect1_on", "rect1.on", "1", 0.0, 1.0, "coil:0"),
    Signal("rect2_on", "rect2.on", "1", 0.0, 1.0, "coil:1"),
    Signal("hoist_carrying", "hoist.carrying", "1", 0.0, 1.0, "discrete:0"),
    Signal("rinse_open", "rinse1.open", "1", 0.0, 1.0, "discrete:1"),
)

FAILURES = (
    Failure("bad_contact", ("rect1_volt", "rect2_volt"), 0.20, "voltage rises by this share at the same current"),
    Failure("anode_passivation", ("rect1_volt", "rect2_volt"), 0.15, "voltage grows by this share until end_s"),
    Failure("phase_loss", ("rect1_ripple", "rect2_ripple"), 15.0, "ripple rises by %, current scatters eight times"),
    Failure("wrong_area", ("rect1_amp", "rect2_amp"), 0.50, "current rises by this share"),
    Failure("ph_loss", ("bath_ph",), 0.05, "pH rises by this much an hour"),
    Failure("heater_loss", ("bath_temp",), 6.0, "bath cools by Cel an hour, heater at 100 %"),
    Failure("brightener_stop", ("dose_shots",), 1.0, "dosing pump stands still"),
    Failure("rinse_off", ("rinse_flow", "rinse_cond"), 1.0, "no rinse water: conductivity climbs with each dip"),
    Failure(
        "filter_clog", ("filter_dp",), 8.0, "differential pressure grows exponentially to this many times at end_s"
    ),
    Failure("tank_leak", ("bath_level",), 20.0, "level falls by mm an hour"),
)


@dataclass(frozen=True, slots=True)
class _Carrier:
    """A rack on its way; `before_ah` is what each rectifier had counted before it."""

    number: int
    phases: tuple[Phase, ...]
    amp: float
    volt: float
    dip: float
    before_ah: tuple[float, float]

    @property
    def start_s(self) -> float:
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        """When the next carrier starts: the timeline is one of starts."""
        return (self.number) * _TAKT_S - _BEFORE_S

    @property
    def station(self) -> int:
        return _STATIONS[self.number % 2]

    @property
    def plate(self) -> Phase:
        return self.phases[TANKS.index("PLATE")]


class PlatingLine:
    """The line; `sample` and `cycles` as in `signals.Machine`."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._seed = seed
        self._faults = faults
        self._noise = Noise(seed)
        self._counted_ah: dict[float, float] = {}
        self._carriers = Timeline(lambda: self._carrier(1, (48_000.0, 47_500.0)), self._following)

    def sample(self, t_s: float) -> dict[str, float]:
        """Every signal at a simulated time."""
        carriers = self._on_line(t_s)
        values = self._bath(t_s) | self._rinse(t_s) | self._hoist(carriers, t_s)
        total_ah = 0.0
        for station in _STATIONS:
            rectifier = self._rectifier(station, carriers, t_s)
            values |= rectifier
            total_ah += rectifier[f"rect{station}_ah"]
        return values | {
            "dose_shots": float(int(self._dosed_ah(total_ah, t_s) / _AH_A_SHOT)),
            "energy": total_ah * _VOLT / 850.0 + (t_s + _BEFORE_S) * 18.0 / 3600.0,
        }

    def cycles(self, after_s: float, until_s: float) -> Iterator[Cycle]:
        """Carriers unloaded in (after_s, until_s]."""
        carrier = self._carriers.number(max(1, self._carriers.at(after_s).number - 5))
        while carrier.phases[-1].end_s <= until_s:
            if carrier.phases[-1].end_s > after_s:
                yield Cycle(
                    carrier.number, carrier.start_s, carrier.phases[-1].end_s, carrier.phases, _features(carrier)
                )
            carrier = self._carriers.number(carrier.number + 1)

    def _following(self, carrier: _Carrier) -> _Carrier:
        first, second = carrier.before_ah
        charge = _ah(carrier, carrier.plate.end_s)
        before = (first + charge, second) if carrier.station == 1 else (first, second + charge)
        return self._carrier(carrier.number + 1, before)

    def _carrier(self, number: int, before_ah: tuple[float, float]) -> _Carrier:
        rng = np.random.default_rng([self._seed, number])
        start_s = (number - 1) * _TAKT_S - _BEFORE_S
        phases, at_s = [], start_s
        for name, dwell_s in zip(TANKS, _DWELL_S, strict=True):
            # A second of scatter keeps the moves of different carriers apart.
            late_s = float(rng.uniform(0.0, 1.0))
            phases.append(Phase(name, at_s if name == "LOAD" else at_s + late_s, at_s + dwell_s))
            at_s += dwell_s + _MOVE_S
        area_dm2 = _AREA_DM2 * (1.0 + 0.01 * float(rng.standard_normal()))
        amp = area_dm2 * _CURRENT_DENSITY
        tag = f"rect{_STATIONS[number % 2]}_amp"
        amp *= 1.0 + self._faults.size("wrong_area", phases[TANKS.index("PLATE")].start_s, tag)
        volt = _VOLT + 0.06 * float(rng.standard_normal())
        return _Carrier(number, tuple(phases), amp, volt, float(rng.uniform(40.0, 80.0)), before_ah)

    def _on_line(self, t_s: float) -> list[_Carrier]:
        newest = self._carriers.at(t_s).number
        return [self._carriers.number(n) for n in range(max(1, newest - 4), newest + 1)]

    def _rectifier(self, station: int, carriers: list[_Carrier], t_s: float) -> dict[str, float]:
        name, normal = f"rect{station}", self._noise.normal
        # The last carrier that went in here; the one before has finished, so its charge is in `before_ah`.
        own = [c for c in carriers if c.station == station and c.plate.start_s <= t_s]
        carrier = own[-1] if own else None
        on = carrier is not None and t_s < carrier.plate.end_s
        lost_phase = self._faults.size("phase_loss", t_s, f"{name}_ripple")
        amp = volt = ripple = 0.0
        if carrier and on:
            share = ramp(t_s, carrier.plate.start_s, carrier.plate.start_s + _SOFT_START_S)
            amp = carrier.amp * share + normal(f"{name}_amp", t_s, 1.0 * (8.0 if lost_phase else 1.0), 0.5)
            volt = (carrier.volt * share) * self._resistance(f"{name}_volt", t_s) + normal(
                f"{name}_volt", t_s, 0.05, 0.5
            )
            ripple = 3.0 + lost_phase + normal(f"{name}_ripple", t_s, 0.1, 0.5)
        before = carrier.before_ah[station - 1] if carrier else carriers[0].before_ah[station - 1]
        return {
            f"{name}_amp": max(0.0, amp),
            f"{name}_volt": max(0.0, volt),
            f"{name}_ah": before + (_ah(carrier, t_s) if carrier else 0.0),
            f"{name}_ripple": max(0.0, ripple),
            f"{name}_carrier": float(carrier.number) if carrier and on else 0.0,
            f"{name}_on": float(on),
        }

    def _resistance(self, tag: str, t_s: float) -> float:
        passivation = self._faults.at("anode_passivation", t_s, tag)
        grown = passivation.magnitude * passivation.progress(t_s) if passivation else 0.0
        return 1.0 + self._faults.size("bad_contact", t_s, tag) + grown

    def _dosed_ah(self, total_ah: float, t_s: float) -> float:
        missed_ah = 0.0
        for fault in self._faults.of("brightener_stop"):
            if fault.start_s <= t_s:
                last_ah = total_ah if t_s < fault.end_s else self._past_ah(fault.end_s)
                missed_ah += last_ah - self._past_ah(fault.start_s)
        return total_ah - missed_ah

    def _past_ah(self, t_s: float) -> float:
        """The count at a time that has passed; asked for often, and the carriers of then are no longer held."""
        if t_s not in self._counted_ah:
            self._counted_ah[t_s] = self._total_ah(t_s)
        return self._counted_ah[t_s]

    def _total_ah(self, t_s: float) -> float:
        carriers = self._on_line(t_s)
        return sum(self._rectifier(station, carriers, t_s)[f"rect{station}_ah"] for station in _STATIONS)

    def _hoist(self, carriers: list[_Carrier], t_s: float) -> dict[str, float]:
        """The newest event of the hoist: who was lifted out of or set into which tank."""
        events = [
            (at_s, carrier.number, index + 1, lifted)
            for carrier in carriers
            for index, phase in enumerate(carrier.phases)
            for at_s, lifted in ((phase.start_s, False), (phase.end_s, True))
            # Loading and unloading are done by hand.
            if at_s <= t_s and (index if not lifted else index + 1 < len(TANKS))
        ]
        at_s, number, tank, lifted = max(events, default=(t_s, 0, 1, False))
        moved = min(1.0, (t_s - at_s) / _MOVE_S) if lifted else 0.0
        return {
            "hoist_tank": 0.0 if lifted else float(tank),
            "carrier_id": float(number),
            "hoist_pos": (tank - 2 + moved) * 1500.0 + self._noise.normal("hoist_pos", t_s, 1.0, 0.5),
            "hoist_carrying": float(lifted),
        }

    def _bath(self, t_s: float) -> dict[str, float]:
        normal, hours = self._noise.normal, t_s / 3600.0
        cold = self._faults.at("heater_loss", t_s)
        ph_rise = _lasting(self._faults, "ph_loss", t_s)
        leak = _lasting(self._faults, "tank_leak", t_s)
        clog = self._faults.at("filter_clog", t_s)
        heater = math.sin(2.0 * math.pi * t_s / 1200.0)
        loss_c = cold.magnitude * (t_s - cold.start_s) / 3600.0 if cold else 0.0
        return {
            "bath_temp": 55.0 + 0.6 * heater - loss_c + normal("bath_temp", t_s, 0.25, 0.5),
            # Acid is dosed every 10 h and takes pH back from 4.05 to 3.95.
            "bath_ph": 3.95 + 0.01 * (hours % 10.0) + ph_rise + normal("bath_ph", t_s, 0.008, 0.5),
            "bath_cond": 45.0 + 0.35 * math.sin(hours) + normal("bath_cond", t_s, 0.4, 0.5),
            "bath_level": 1208.0 - 2.0 * (hours % 8.0) - leak + normal("bath_level", t_s, 0.5, 0.5),
            "filter_dp": (18.0 + 0.15 * (hours % 120.0)) * (clog.magnitude ** clog.progress(t_s) if clog else 1.0)
            + normal("filter_dp", t_s, 0.2, 0.5),
            "heater_out": 100.0 if cold else 45.0 - 20.0 * math.cos(2.0 * math.pi * t_s / 1200.0),
            "room_temp": 22.0 + 3.0 * math.sin(2.0 * math.pi * hours / 24.0) + normal("room_temp", t_s, 0.1, 0.5),
        }

    def _rinse(self, t_s: float) -> dict[str, float]:
        off = self._faults.at("rinse_off", t_s)
        cond = 60.0
        newest = self._carriers.at(t_s).number
        for number in range(max(1, newest - 24), newest + 1):
            carrier = self._carriers.number(number)
            dipped_s = carrier.phases[TANKS.index("RINSE_4")].start_s
            if dipped_s <= t_s:
                cond += carrier.dip * math.exp(-self._flowed_min(dipped_s, t_s) * _RINSE_L_MIN / _RINSE_L)
        flow = 0.0 if off else _RINSE_L_MIN + self._noise.normal("rinse_flow", t_s, 0.15, 0.5)
        noise = self._noise.normal("rinse_cond", t_s, 0.8, 0.5)
        return {"rinse_cond": cond + noise, "rinse_flow": flow, "rinse_open": float(off is None)}

    def _flowed_min(self, start_s: float, end_s: float) -> float:
        """Minutes of flowing rinse water between two times."""
        stood_s = sum(max(0.0, min(end_s, f.end_s) - max(start_s, f.start_s)) for f in self._faults.of("rinse_off"))
        return (end_s - start_s - stood_s) / 60.0


def _lasting(faults: Faults, kind: str, t_s: float) -> float:
    """What a fault that takes its magnitude an hour has taken so far; 0 again when it is over."""
    fault = faults.at(kind, t_s)
    return fault.magnitude * (t_s - fault.start_s) / 3600.0 if fault else 0.0


def _ah(carrier: _Carrier, t_s: float) -> float:
    """Charge of a carrier until `t_s`, A.h: a soft start, then the full current."""
    on_s = min(t_s, carrier.plate.end_s) - carrier.plate.start_s
    if on_s <= 0.0:
        return 0.0
    soft_s = min(on_s, _SOFT_START_S)
    return carrier.amp * (soft_s * soft_s / (2.0 * _SOFT_START_S) + on_s - soft_s) / 3600.0


def _features(carrier: _Carrier) -> dict[str, float]:
    """Charge in A.h, current in A, thickness in um (F-SUR-01), plating time in s."""
    charge = _ah(carrier, carrier.plate.end_s)
    thickness = _NI_UM * _EFFICIENCY * charge * 60.0 / _AREA_DM2
    plate_s = carrier.plate.end_s - carrier.plate.start_s
    return {
        "charge": charge,
        "amp": carrier.amp,
        "thickness": thickness,
        "plate_s": plate_s,
        "mean_amp": charge * 3600.0 / plate_s,
        "volt": carrier.volt * charge * 3600.0 / plate_s / carrier.amp,
        "dip": carrier.dip,
    }
