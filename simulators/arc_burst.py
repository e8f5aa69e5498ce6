"""One second of arc at 10 kHz: short-circuiting GMAW whose means are those of the bundles over that second.

- In a short the voltage collapses and the current rises; the share of shorts is fixed, their rate is drawn.
- Mean power is below the product of the means, as it is on a real short arc (domain.md F-WLD-02).
"""

import numpy as np

from simulators.signals import Burst

NAME = "arc_burst"
CHANNELS = ("u", "i")
PERIOD_S = 1e-4
LENGTH_S = 1.0
_SHORT_SHARE, _SHORT_V, _SHORT_OVER = 0.15, 4.0, 1.45


def short_rate(seed: int, number: int) -> float:
    """Short circuits a second of a seam, 60 to 90 Hz."""
    return float(np.random.default_rng([seed, number, 11]).integers(60, 91))


def arc_burst(start_s: float, volts: float, amperes: float, seed: int, number: int) -> Burst:
    """The burst whose channel means are `volts` and `amperes`."""
    count = round(LENGTH_S / PERIOD_S)
    rate = short_rate(seed, number)
    turn = (np.arange(count) * PERIOD_S * rate + 0.5) % 1.0
    short = turn < _SHORT_SHARE
    scatter = np.random.default_rng([seed, number, 12]).standard_normal((2, count))
    u = np.where(short, _SHORT_V, 1.0) + 0.0
    u[~short] = (volts * count - _SHORT_V * short.sum()) / (~short).sum()
    i = np.where(short, _SHORT_OVER * amperes, 0.0)
    i[~short] = (amperes * count - _SHORT_OVER * amperes * short.sum()) / (~short).sum()
    value = np.column_stack([u + 0.3 * scatter[0], i + 2.0 * scatter[1]])
    return Burst(NAME, start_s, PERIOD_S, CHANNELS, value.astype(np.float32))
