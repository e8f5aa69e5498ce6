"""Golden envelope of a profile (F-PRF-01).

>>> from analytics.table import Table
>>> rng = np.random.default_rng(1)
>>> shape = np.sin(np.linspace(0, np.pi, 50))
>>> chart = Envelope(kind="envelope")
>>> learned = chart.learn(Table.of(shape + rng.normal(0, 0.01, (40, 50))))
>>> dent = shape - 0.2 * (np.arange(50) == 30)
>>> found = chart.examine(Table.of([shape, dent]), learned)
>>> bool(found.score[0, 0] < 0.2), bool(found.score[1, 0] > 3), int(np.argmax(found.share[1]))
(True, True, 30)
"""

from typing import Literal

import numpy as np

from analytics.detector import Arrays
from analytics.golden import Golden
from analytics.result import Floats


class Envelope(Golden):
    """A profile that leaves the band of the accepted ones somewhere."""

    kind: Literal["envelope"] = "envelope"

    def taught(self, x: Floats) -> Arrays:
        """`mean` and `half_width` (p)."""
        mean, half_width = self.envelope_of(x)
        return {"mean": mean, "half_width": half_width, "cycles": np.array([float(len(x))])}

    def deviations(self, known: Arrays, x: Floats) -> Floats:
        """(m, p) of whole profiles, in half widths."""
        return (x - known["mean"]) / known["half_width"]
