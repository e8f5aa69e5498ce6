"""How long a MEWMA runs until its first false alarm, and the limit for a wanted run length (F-MSPC-03).

The smoothed vector of a process in control has a direction that does not matter and a length that is a Markov chain:
its square, over the squared weight, is noncentral chi-squared with p degrees of freedom given the length before
(Runger and Prabhu, 1996). The chain is cut into rings.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from scipy import optimize, special

RINGS: Final = 200
"""Parts of the length from 0 to the limit; the run length is right to about one in five thousand."""
FEWER: Final = 80
"""Of them where a limit is sought; the run length is right to about one in five hundred."""


def run_length(variables: int, weight: float, limit: float, rings: int = RINGS) -> float:
    """Average rows to the first false alarm, from the centre; steady-state covariance.

    Unit: rows. Valid: 0 < weight <= 1, limit > 0. Source: section 6.5 (200.5 for these).

    >>> round(run_length(2, 0.1, 8.64), 1)
    200.5
    """
    radius = np.sqrt(limit * weight / (2 - weight))
    edges = np.linspace(0.0, radius, rings + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    away = np.square((1 - weight) * middles / weight)
    reached = special.chndtr(np.square(edges[None, :] / weight), variables, away[:, None])
    inside = np.eye(rings) - np.diff(reached, axis=1)
    lengths = np.linalg.solve(inside, np.ones(rings))
    first = np.diff(special.chndtr(np.square(edges / weight), variables, 0.0))
    return float(1 + first @ lengths)


@lru_cache(maxsize=64)
def mewma_limit(variables: int, weight: float, wanted: float) -> float:
    """Limit h of the MEWMA statistic for an average of `wanted` rows between false alarms.

    Unit: 1. Valid: wanted > 1. Source: section 6.5 (10.79 and 12.73 for three and four variables, 0.1, 200).

    >>> [round(mewma_limit(p, 0.1, 200), 2) for p in (2, 3, 4)]
    [8.64, 10.79, 12.73]
    """
    high = special.chdtri(variables, 1e-9)
    return float(
        optimize.brentq(lambda limit: run_length(variables, weight, limit, FEWER) - wanted, 1e-3, high, xtol=1e-3)
    )
