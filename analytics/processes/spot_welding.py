"""Resistance spot welding: a cycle is a weld, from the squeeze to the opening of the gun (section 3.3).

* A burst is a weld: its phases are those of current and force in it. The counter numbers it and counts at its end.
* Resistance is voltage at the tips over current, sample by sample, in the longest pulse; a direct current is needed.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from analytics.formulas import spot_welding
from analytics.furnace_program import runs
from analytics.process import Flag, Measured, Phase, Process, Roles, Segment, lasting, plain
from analytics.readings import F_DURATION
from analytics.result import Evidence, Floats, Formula, Result
from analytics.time_series import Samples
from analytics.window import SECOND_NS, Series, Window
from pipeline.model import Waveform

COUNTER = "weld.count"
CURVE = "spot.curve"
F_FORCE = Formula("0.2-MEAN", "kN")
F_EXPELLED = Formula("F-WLD-12", "1", "1 found")


class SpotWeld(Process):
    """A weld of a spot-welding gun."""

    kind: Literal["spot_weld"] = "spot_weld"

    current_channel: str = "i"
    """Channel of the burst with the current, kA."""
    voltage_channel: str = "u"
    """... with the voltage at the tips, V."""
    force_channel: str = "force"
    """... with the force, kN; the burst may lack it."""
    on_ka: PositiveFloat = 0.5
    """Current flows above this, kA."""
    shortest_s: PositiveFloat = 0.003
    """Pulses and pauses shorter than this are none, s."""
    open_share: PositiveFloat = Field(default=0.5, lt=1.0)
    """The gun opens when the force falls below this share of that while welding."""
    edge_s: PositiveFloat = 0.001
    """Begin and end of a pulse without resistance: the current still rises or falls, s."""
    contact_s: PositiveFloat = 0.020
    """Begin of a pulse in which the contacts settle and no beta peak is looked for, s [GK]."""
    smooth_samples: PositiveInt = 9
    """Samples over which the resistance curve is averaged; odd."""
    thinnest_mm: PositiveFloat | None = None
    """Thinnest sheet, mm; switches on the nugget target."""
    nugget_factor: PositiveFloat = 4.0
    """4 in general, 5 for important welds."""
    expulsion_drop: PositiveFloat = 0.06
    """Fall of the resistance within 3 ms, as a share, that is an expulsion [GK]; tune it to the stack of sheets."""
    expulsion_ratio: PositiveFloat = 4.0
    """... and how many times the usual change it must be [GK]."""
    expulsion_force_drop: PositiveFloat = 0.03
    """Fall of the force that confirms it, as a share [GK]."""

    lead_s: ClassVar[float] = 5.0
    settle_s: ClassVar[float] = 5.0

    def roles(self) -> Roles:
        """The counter as marker, the curve as burst."""
        return Roles(markers=(COUNTER,), optional=("tip.dress_count",), bursts=(CURVE,))

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Welds in order of time, one a burst."""
        waves = [wave for wave in window.bursts.get(CURVE, ()) if window.start_ns <= wave.ts_ns < window.end_ns]
        return tuple(self._weld(wave, window) for wave in waves)

    def _weld(self, wave: Waveform, window: Window) -> Segment:
        end_ns = wave.ts_ns + len(wave.value) * wave.period_ns
        phases = self._phases(wave)
        during = window[COUNTER].between(wave.ts_ns, end_ns).good
        before = window[COUNTER].between(wave.ts_ns - round(self.lead_s * SECOND_NS), wave.ts_ns).good
        seen = during if len(during) else before
        number = int(seen.value[0 if len(during) else -1]) + 1 if len(seen) else None
        flags = frozenset[Flag]() if any(p.name.startswith("PULSE") for p in phases) else frozenset({Flag.ABORTED})
        if end_ns <= window.end_ns:
            return Segment(wave.ts_ns, end_ns, phases, number=number, flags=flags)
        begun = tuple(phase for phase in phases if phase.start_ns < window.end_ns)
        running = Phase(begun[-1].name, begun[-1].start_ns, None)
        return Segment(wave.ts_ns, None, (*begun[:-1], running), number=number)

    def _phases(self, wave: Waveform) -> tuple[Phase, ...]:
        """SQUEEZE, PULSE_k, COOL_k, HOLD and OFF of a burst."""
        pulses = self._pulses(wave)
        count = len(wave.value)
        if not len(pulses):
            return (self._phase(wave, "SQUEEZE", 0, count),)
        found = [self._phase(wave, "SQUEEZE", 0, int(pulses[0][0]))]
        for k, (first, stop) in enumerate(pulses.tolist(), 1):
            found.append(self._phase(wave, f"PULSE_{k}", first, stop))
            if k < len(pulses):
                found.append(self._phase(wave, f"COOL_{k}", stop, int(pulses[k][0])))
        last = int(pulses[-1][1])
        opened = self._opened(wave, pulses, last)
        found.append(self._phase(wave, "HOLD", last, opened))
        if opened < count:
            found.append(self._phase(wave, "OFF", opened, count))
        return tuple(phase for phase in found if phase.end_ns is not None and phase.end_ns > phase.start_ns)

    @staticmethod
    def _phase(wave: Waveform, name: str, first: int, stop: int) -> Phase:
        return Phase(name, wave.ts_ns + first * wave.period_ns, wave.ts_ns + stop * wave.period_ns)

    def _pulses(self, wave: Waveform) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
        """(k, 2) first sample and the one after the last of each pulse."""
        current = _channel(wave, self.current_channel)
        least = self.shortest_s * SECOND_NS / wave.period_ns
        flowing = (current > self.on_ka).astype(np.int64)
        for value in (0, 1):
            for first, stop in runs(flowing):
                inside = first > 0 and stop < len(flowing)
                if flowing[first] == value and stop - first < least and (inside or value):
                    flowing[first:stop] = 1 - value
        return np.array([span for span in runs(flowing) if flowing[span[0]]], dtype=np.int64).reshape(-1, 2)

    def _opened(self, wave: Waveform, pulses: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]", last: int) -> int:
        """The sample at which the gun opens, the end of the burst where that is not seen."""
        force = _channel(wave, self.force_channel)
        if not len(force):
            return len(wave.value)
        usual = float(np.median(force[pulses[0][0] : last]))
        low = np.flatnonzero(force[last:] < self.open_share * usual)
        return last + int(low[0]) if len(low) else len(wave.value)

    def features(self, segment: Segment, window: Window) -> Measured:
        """Energy, resistance, expulsion, force and counters of a weld."""
        wave = window.cut(segment.start_ns, segment.start_ns + 1).burst(CURVE)
        pulses = np.zeros((0, 2), dtype=np.int64) if wave is None else self._pulses(wave)
        found = self._electric(wave, pulses)
        main = max((p for p in segment.phases if p.name.startswith("PULSE")), key=_length, default=None)
        found["weld_time"] = lasting(main, F_DURATION)
        found["squeeze_time"] = lasting(segment.phase("SQUEEZE"), F_DURATION)
        found["hold_time"] = lasting(segment.phase("HOLD"), F_DURATION)
        if self.thinnest_mm is not None:
            found["nugget_target"] = spot_welding.nugget_target(self.thinnest_mm, factor=self.nugget_factor).one()
        if "tip.dress_count" in window:
            found["tip_welds"] = _before(window["tip.dress_count"], segment.start_ns, self.lead_s)
        return Measured(found)

    def _electric(
        self, wave: Waveform | None, pulses: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"
    ) -> dict[str, Result]:
        """F-WLD-10 to F-WLD-12."""
        amperes = _channel(wave, self.current_channel) * 1e3
        volts = _channel(wave, self.voltage_channel)
        force = _channel(wave, self.force_channel)
        period_s = 0.001 if wave is None else wave.period_ns / SECOND_NS
        time_s = np.arange(len(amperes)) * period_s
        first, stop = max(pulses.tolist(), key=lambda span: span[1] - span[0], default=(0, 0))
        weld = slice(first, stop)
        found = {"current_rms": spot_welding.rms_current(Samples.of(time_s[weld], amperes[weld]))}
        flowing = np.zeros(len(amperes), dtype=np.bool_)
        for begin, end in pulses.tolist():
            flowing[begin:end] = True
        joules = Samples.of(time_s, np.where(flowing, volts, 0.0)) if len(volts) == len(amperes) else Samples.of([], [])
        found["weld_energy"] = spot_welding.weld_energy(joules, np.where(flowing, amperes, 0.0)[: len(joules.value)])
        edge = round(self.edge_s / period_s)
        inner = slice(first + edge, max(stop - edge, first + edge))
        resistance = spot_welding.dynamic_resistance(volts[inner], amperes[inner]).value if len(volts) else np.zeros(0)
        found |= self._curve(time_s[inner][: len(resistance)] - first * period_s, resistance)
        found |= self._expulsion(resistance, force[inner], found["beta_time"].value, period_s, edge)
        if len(force):
            value = float(np.mean(force[weld])) if stop > first else None
            found["force_mean"] = plain(value, F_FORCE, Evidence(stop - first))
        return found

    def _curve(self, time_s: Floats, resistance: Floats) -> dict[str, Result]:
        """F-WLD-11; the peak is looked for where the contacts have settled."""
        mean = _averaged(resistance, self.smooth_samples)
        whole, later = (
            spot_welding.resistance_features(time_s[kept], mean[kept])
            for kept in (time_s >= 0.0, time_s >= self.contact_s)
        )
        return {
            "resistance_start": whole.start,
            "resistance_beta": later.beta,
            "beta_time": later.beta_time,
            "resistance_end": whole.end,
            "resistance_slope": later.slope_after,
        }

    def _expulsion(
        self, resistance: Floats, force: Floats, beta_s: float | None, period_s: float, edge: int
    ) -> dict[str, Result]:
        """F-WLD-12: when, how much, and whether (1 or 0; the force must confirm it where it is measured)."""
        width = max(round(0.003 / period_s), 1)
        found = spot_welding.expulsion(
            resistance,
            np.nan if beta_s is None else max(beta_s - edge * period_s, 0.0),
            step_s=period_s,
            width=width,
            history=round(0.030 / period_s),
            least_drop=self.expulsion_drop,
            least_ratio=self.expulsion_ratio,
        )
        expelled: float | None = float(found.time.value is not None)
        if not len(resistance) or beta_s is None:
            expelled = None
        elif found.time.value is not None and len(force) == len(resistance):
            at = round(found.time.value / period_s)
            usual = float(np.median(force[max(at - 10 * width, 0) : max(at - width, 1)]))
            fell = usual - float(np.median(force[at : at + 3 * width]))
            expelled = float(fell >= self.expulsion_force_drop * usual)
        return {
            "expulsion_time": found.time,
            "expulsion_drop": found.drop,
            "expelled": plain(expelled, F_EXPELLED, Evidence(len(resistance))),
        }


def _channel(wave: Waveform | None, name: str) -> Floats:
    """One channel of a burst, empty when it lacks it."""
    if wave is None or name not in wave.channels:
        return np.zeros(0)
    return np.asarray(wave.value[:, wave.channels.index(name)], dtype=np.float64)


def _averaged(value: Floats, samples: int) -> Floats:
    """Running mean; the ends as they are."""
    half = samples // 2
    if len(value) <= 2 * half or not half:
        return value
    middle = np.convolve(value, np.full(2 * half + 1, 1 / (2 * half + 1)), mode="valid")
    return np.concatenate([value[:half], middle, value[-half:]])


def _length(phase: Phase) -> int:
    return (phase.end_ns or phase.start_ns) - phase.start_ns


def _before(rows: Series, start_ns: int, longest_s: float) -> Result:
    """What a counter of the tips showed when the weld began."""
    value = rows.at(start_ns, longest_s)
    return plain(value, Formula("SIGNAL", "1", "before"), Evidence(1, 1.0, rows.worst))
