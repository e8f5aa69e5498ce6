"""Curing in an oven: a cycle is one travel of a part with its temperature logger (section 4.2, F-SUR-14).

* A part is in while its metal is above `in_above`; it is out again when it has cooled below.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat

from analytics.formulas import heat_treatment, surface_treatment
from analytics.furnace import nothing
from analytics.furnace_program import smooth
from analytics.process import Measured, Process, Roles, Segment
from analytics.readings import during, mean_of
from analytics.result import Result
from analytics.steps import Steps, cycles_of
from analytics.window import Window

STATES = ("IDLE", "CURE")


class OvenCure(Process):
    """A part with a logger on its way through a curing oven."""

    kind: Literal["oven_cure"] = "oven_cure"

    cure_c: FiniteFloat = 180.0
    """Cure temperature of the coating, Cel."""
    least_s: PositiveFloat = 1200.0
    """Shortest time of the part at or above it, s."""
    most_s: PositiveFloat = float("inf")
    """Longest time, s."""
    peak_c: FiniteFloat | None = None
    """Highest part temperature allowed, Cel."""
    in_above: FiniteFloat = 60.0
    """A part above this is in the oven, Cel."""
    shortest_s: NonNegativeFloat = 60.0
    """What is hot for less is not a travel, s."""

    lead_s: ClassVar[float] = 600.0
    settle_s: ClassVar[float] = 120.0

    def roles(self) -> Roles:
        """The logger as marker."""
        return Roles(markers=("pmt",), optional=("oven.zone.temp", "line.speed"))

    def cycles(self, window: Window) -> tuple[Segment, ...]:
        """Travels in order of their starts."""
        rows = window["pmt"].good
        hot = (smooth(rows.value) > self.in_above).astype(np.int64)
        steps = Steps(rows.ts_ns, hot, STATES, rows.every_s, window.start_ns)
        least_ns = round(self.shortest_s * 1e9)
        found = cycles_of(steps, self.lead_s)
        return tuple(s for s in found if s.end_ns is None or s.end_ns - s.start_ns >= least_ns)

    def features(self, segment: Segment, window: Window) -> Measured:
        """F-SUR-14 with its verdict, ramp, and what the oven did."""
        cure = segment.phase("CURE")
        rows = during(window["pmt"], cure)
        result = surface_treatment.oven_cure(
            rows.seconds(),
            rows.value,
            self.cure_c,
            self.least_s,
            most_s=self.most_s,
            peak_c=float("inf") if self.peak_c is None else self.peak_c,
            nominal_s=rows.every_s,
        )
        good = rows.good
        rising = good.between(segment.start_ns, int(good.ts_ns[np.argmax(good.value)]) + 1) if len(good) else good
        found: dict[str, Result] = {
            "cure_time": result.soak.total,
            "cure_longest": result.soak.longest,
            "part_temp_max": result.peak,
            "ramp_rate_steepest": heat_treatment.steepest_ramp(rising.samples(segment.start_ns)),
        }
        for role, name, unit in (
            ("oven.zone.temp", "oven_temp_mean", "Cel"),
            ("line.speed", "line_speed_mean", "m/min"),
        ):
            if role in window:
                found[name] = mean_of(during(window[role], cure), unit) if cure else nothing(unit)
        return Measured(found, {"cure": result.verdict})
