"""The curve of a die-casting shot: plunger position and shot cylinder pressures at 2 kHz.

- It agrees with the registers of its shot: velocities, fill time, pressure, rise time and biscuit are those of the
  curve, and the phases SLOW_SHOT, FAST_SHOT and INTENSIFY begin and end where domain.md 1.3 finds them.
- Metal reaches the gate at `GATE_MM`, where the fast stage begins; the spreader face is at `FACE_MM`.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from simulators.signals import Burst, Phase

NAME = "shot_curve"
CHANNELS = ("position", "p_head", "p_rod")
PERIOD_S = 0.0005
PLUNGER_MM, BORE_MM, ROD_MM = 75.0, 150.0, 105.0
GATE_MM, FACE_MM = 370.0, 540.0
_BEFORE_S, _AFTER_S = 0.10, 0.25
_SLOW_START_M_S = 0.05
_SLOW_RAMP_S, _FAST_RAMP_S, _STOP_RAMP_S, _RELEASE_S = 0.030, 0.008, 0.008, 0.050
_CREEP_TAU_S = 0.12
_ROD_FINAL_MPA = 0.8

Floats = npt.NDArray[np.float64]


def shot_curve(phases: Mapping[str, Phase], features: Mapping[str, float], seed: int, number: int) -> Burst:
    """The burst of a shot, which begins a little before its slow stage."""
    slow, fast, squeeze = phases["SLOW_SHOT"], phases["FAST_SHOT"], phases["INTENSIFY"]
    start_s = slow.start_s - _BEFORE_S
    count = math.ceil((squeeze.end_s + _AFTER_S - start_s) / PERIOD_S)
    t = start_s + PERIOD_S * np.arange(count, dtype=np.float64)
    velocity = _velocity(t, slow, fast, features["v_slow"], features["v_fast"])
    travelled = np.concatenate([[0.0], np.cumsum((velocity[1:] + velocity[:-1]) / 2 * PERIOD_S)]) * 1e3
    position = GATE_MM + travelled - np.interp(fast.start_s, t, travelled)
    short_mm = FACE_MM - features["biscuit"] - float(np.interp(squeeze.end_s, t, position))
    since_s = np.maximum(0.0, t - fast.end_s - _STOP_RAMP_S)
    position += short_mm * (1.0 - np.exp(-since_s / _CREEP_TAU_S))
    head, rod = _pressures(t, slow, fast, squeeze, features)
    draw = np.random.default_rng([seed, number, 77]).standard_normal((count, 3)) * (0.015, 0.03, 0.01)
    value = np.column_stack([position, head, rod]) + draw
    return Burst(NAME, start_s, PERIOD_S, CHANNELS, value.astype(np.float32))


def _velocity(t: Floats, slow: Phase, fast: Phase, v_slow: float, v_fast: float) -> Floats:
    """Ramps that pass the levels of the stages where the stages begin and end, m/s."""
    lift = slow.start_s - _SLOW_RAMP_S * _SLOW_START_M_S / v_slow
    half = _FAST_RAMP_S / 2
    # The ramp down passes a fifth of the highest velocity at the end of fill.
    brake = fast.end_s - 0.8 * _STOP_RAMP_S
    corners = [lift, lift + _SLOW_RAMP_S, fast.start_s - half, fast.start_s + half, brake, brake + _STOP_RAMP_S]
    return np.interp(t, corners, [0.0, v_slow, v_slow, v_fast, v_fast, 0.0])


def _pressures(
    t: Floats, slow: Phase, fast: Phase, squeeze: Phase, features: Mapping[str, float]
) -> tuple[Floats, Floats]:
    """Head and rod side, MPa: low while the plunger moves, then an exponential rise to the intensified pressure."""
    annulus = BORE_MM**2 - ROD_MM**2
    final = (features["p_int"] * PLUNGER_MM**2 + _ROD_FINAL_MPA * annulus) / BORE_MM**2
    filled = 0.35 * final
    tau_s = features["t_rise"] / 1e3 / math.log((final - filled) / (0.1 * final))
    rise = final - (final - filled) * np.exp(-np.maximum(0.0, t - fast.end_s) / tau_s)
    moving = np.interp(
        t,
        [slow.start_s - 0.02, slow.start_s, fast.start_s, fast.start_s + 0.01, fast.end_s],
        [0.6, 2.2, 2.4, 4.5, filled],
    )
    # Half of the final pressure is passed where the stage ends.
    release = np.interp(t, [squeeze.end_s - _RELEASE_S / 2, squeeze.end_s + _RELEASE_S / 2], [1.0, 0.0])
    head = np.where(t < fast.end_s, moving, rise) * release + 0.0
    rod = np.interp(t, [slow.start_s, slow.start_s + 0.05, fast.start_s, fast.end_s, fast.end_s + 0.05],
                    [1.5, 1.5, 3.0, 3.0, _ROD_FINAL_MPA])  # fmt: skip
    return head, rod
