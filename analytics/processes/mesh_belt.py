"""A continuous furnace with a belt: a cycle is a virtual batch, what enters with one tray or one slot of time.

* Where it is follows from the integral of the belt's speed, so a stop or a change of speed moves every later boundary.
* Several batches are inside at once; `lane` tells them apart.
* Slots begin at multiples of `slot_s` since 1970, so any two windows agree on them.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt

from analytics.formulas import heat_treatment
from analytics.formulas.heat_treatment import Band
from analytics.furnace import Deviations
from analytics.process import Flag, Measured, Phase, Process, Roles, Segment, plain
from analytics.readings import during, extreme_of, held, mean_of, on
from analytics.result import Evidence, Floats, Formula, Ints, Result
from analytics.time_series import GAP_FACTOR
from analytics.window import SECOND_NS, Series, Window

F_STOPS = Formula("BELT-STOP", "1")
F_STOPPED = Formula("BELT-STOP", "s")


class ContinuousBatch(Process):
    """A virtual batch of a mesh belt, roller hearth or pusher furnace."""

    kind: Literal["continuous_batch"] = "continuous_batch"

    zone_lengths_m: tuple[PositiveFloat, ...] = Field(min_length=1)
    """Heated length of each zone in the direction of travel, m; the roles are zone1.pv, zone1.sp, ..."""
    begin_by: Literal["slot", "tray"] = "slot"
    """What a batch is: a slot of time, or what each step of `push.count` brings in."""
    slot_s: PositiveFloat = 1800.0
    """Length of a slot, s."""
    lanes: PositiveInt = 8
    """More than there are batches inside at a time."""
    band_minus: PositiveFloat = 10.0
    """Tolerance below the setpoint, K [GK]."""
    band_plus: PositiveFloat = 10.0
    """Tolerance above the setpoint, K [GK]."""
    correction: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Sensor and instrument correction by role, K; added to the reading."""
    stopped_below: PositiveFloat = 5.0
    """The belt stands below this, mm/min."""
    least_coverage: float = Field(default=0.95, ge=0.0, le=1.0)
    """Covered share below which a time in tolerance is LOW_COVERAGE."""

    lead_s: ClassVar[float] = 120.0
    settle_s: ClassVar[float] = 120.0

    def roles(self) -> Roles:
        """The belt as marker, with the tray counter where it begins batches; zones mandatory."""
        zones = tuple(f"zone{n}.{part}" for n in range(1, len(self.zone_lengths_m) + 1) for part in ("pv", "sp"))
        markers = ("belt.speed",) if self.begin_by == "slot" else ("belt.speed", "push.count")
        return Roles(markers=markers, mandatory=zones, optional=("pmt",))

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Batches in order of their entries."""
        belt = window["belt.speed"].good
        starts = self._slots(belt) if self.begin_by == "slot" else _trays(window["push.count"].good)
        found = [self._batch(belt, int(start_ns), int(index)) for start_ns, index in starts]
        return tuple(segment for segment in found if segment is not None)

    def _slots(self, belt: Series) -> Ints:
        """(k, 2) begin and index of the slots that the rows of the belt reach back to."""
        if not len(belt):
            return np.zeros((0, 2), dtype=np.int64)
        slot_ns = round(self.slot_s * SECOND_NS)
        first, last = -(-int(belt.ts_ns[0]) // slot_ns), int(belt.ts_ns[-1]) // slot_ns
        index = np.arange(first, last + 1, dtype=np.int64)
        return np.column_stack([index * slot_ns, index])

    def _batch(self, belt: Series, start_ns: int, index: int) -> Segment | None:
        """The batch that enters at a time; None when the belt was not seen then."""
        first = int(np.searchsorted(belt.ts_ns, start_ns, side="right")) - 1
        if first < 0:
            return None
        when = np.concatenate([[start_ns], belt.ts_ns[first + 1 :]])
        speed = np.concatenate([[belt.value[first]], belt.value[first + 1 :]])
        seconds = (when - start_ns) / SECOND_NS
        far_mm = np.concatenate([[0.0], np.cumsum(speed[:-1] / 60.0 * np.diff(seconds))])
        ends_mm = np.cumsum(self.zone_lengths_m) * 1000.0
        reached = [start_ns, *(_crossed(when, far_mm, float(end_mm)) for end_mm in ends_mm)]
        phases = tuple(
            Phase(f"ZONE_{n}", begin, end) for n, (begin, end) in enumerate(pairwise(reached), 1) if begin is not None
        )
        end_ns = reached[-1]
        until_ns = int(when[-1]) if end_ns is None else end_ns
        last = int(np.searchsorted(belt.ts_ns, until_ns)) + 1
        blind = bool((np.diff(belt.ts_ns[first:last]) > GAP_FACTOR * belt.every_s * SECOND_NS).any())
        number = index if self.begin_by == "tray" else None
        flags = frozenset({Flag.GAP}) if blind else frozenset()
        return Segment(start_ns, end_ns, phases, str(index % self.lanes), number, flags)

    def features(self, segment: Segment, window: Window) -> Measured:
        """Dwell, time in tolerance and temperature of each zone, belt stops, part temperature."""
        found: dict[str, Result] = {}
        for n, length_m in enumerate(self.zone_lengths_m, 1):
            phase = segment.phase(f"ZONE_{n}")
            found |= self._zone(window, phase, n, length_m)
        end_ns = segment.end_ns or window.end_ns
        belt = window["belt.speed"].between(segment.start_ns, end_ns)
        through = Phase("THROUGH", segment.start_ns, segment.end_ns)
        found["dwell"] = self._dwell(through, float(sum(self.zone_lengths_m)))
        found |= self._stops(belt)
        if "pmt" in window:
            found["part_temp_max"] = extreme_of(during(window["pmt"], through), "Cel", "max")
        return Measured(found)

    def _zone(self, window: Window, phase: Phase | None, n: int, length_m: float) -> dict[str, Result]:
        role = f"zone{n}.pv"
        soak = self._deviations(window, phase, n).soak(Band(0.0, self.band_minus, self.band_plus), self.least_coverage)
        rows = during(window[role], phase)
        corrected = Series(rows.ts_ns, rows.value + self.correction.get(role, 0.0), rows.quality, rows.every_s)
        return {
            f"zone{n}_dwell": self._dwell(phase, length_m),
            f"zone{n}_in_band": soak.total,
            f"zone{n}_worst_deviation": soak.worst,
            f"zone{n}_temp_mean": mean_of(corrected, "Cel"),
        }

    def _deviations(self, window: Window, phase: Phase | None, n: int) -> Deviations:
        pv = window[f"zone{n}.pv"]
        if phase is None or phase.end_ns is None:
            return Deviations(np.zeros(0, np.int64), np.zeros((0, 1)), pv.every_s)
        rows = during(pv, phase).ts_ns
        inner = rows[(rows > phase.start_ns) & (rows < phase.end_ns)]
        when = np.concatenate([[phase.start_ns], inner, [phase.end_ns]]).astype(np.int64)
        apart = on(pv, when) + self.correction.get(f"zone{n}.pv", 0.0) - held(window[f"zone{n}.sp"], when)
        return Deviations(when, apart.reshape(-1, 1), pv.every_s)

    def _dwell(self, phase: Phase | None, length_m: float) -> Result:
        """F-HT-00 at the mean speed of the belt over the passage."""
        if phase is None or phase.end_ns is None:
            return heat_treatment.dwell_time(length_m, None).one()
        minutes = (phase.end_ns - phase.start_ns) / SECOND_NS / 60
        return heat_treatment.dwell_time(length_m, length_m / minutes).one()

    def _stops(self, belt: Series) -> dict[str, Result]:
        """How often and how long the belt stood, and its mean speed."""
        good = belt.good
        standing = good.value < self.stopped_below
        begun = int(np.sum(standing[1:] & ~standing[:-1])) + int(bool(standing[:1].any()))
        steps = np.minimum(np.diff(good.seconds()), GAP_FACTOR * belt.every_s)
        evidence = Evidence(len(good), 1.0, belt.worst)
        return {
            "belt_stops": plain(float(begun) if len(good) else None, F_STOPS, evidence),
            "belt_stopped": plain(float(np.sum(steps[standing[:-1]])) if len(good) > 1 else None, F_STOPPED, evidence),
            "belt_speed_mean": mean_of(belt, "mm/min"),
        }


def _trays(count: Series) -> Ints:
    """(k, 2) time and number of each step of a counter."""
    stepped = np.flatnonzero(np.diff(count.value) > 0) + 1
    return np.column_stack([count.ts_ns[stepped], count.value[stepped].astype(np.int64)])


def _crossed(when: Ints, far_mm: Floats, end_mm: float) -> int | None:
    """When the way reaches an end, None when it does not in the window."""
    after = int(np.searchsorted(far_mm, end_mm))
    if after >= len(far_mm):
        return None
    part = float(end_mm - far_mm[after - 1]) / float(far_mm[after] - far_mm[after - 1])
    return int(when[after - 1]) + round(part * float(when[after] - when[after - 1]))
