"""Which strings are UCUM units: enough of the grammar to refuse a misspelt one.

A unit is a product of factors (`.` multiplies, `/` divides); a factor is an atom with an optional metric prefix, an
optional exponent and an optional annotation in braces: `kW.h/t`, `L/min`, `A/dm2`, `%{wt}`. UCUM is case-sensitive.
The atoms are those a root-process plant measures in; a missing one is one word to add.
"""

import re
from typing import Final

_METRIC: Final = frozenset(
    "m g s K A mol cd rad Hz N Pa J W C V F Ohm S Wb T H lm lx L l bar eV t Cel B u ar m[Hg] m[H2O]".split()
)
_PLAIN: Final = frozenset(
    "1 % [ppth] [ppm] [ppb] [pH] min h d wk mo a deg ' '' [degF] [in_i] [ft_i] [lb_av] [psi] atm [cin_i] "
    "[gal_us] [arb'U] 10* 10^ circ [pi] [g] gf bit By Bd [HP] {count}".split()
)
_PREFIXES: Final = ("Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "d", "c", "m", "u", "n", "p", "f")
_FACTOR: Final = re.compile(
    r"(?P<unit>(?:\[[^\]]*\]|[^\d{}.+\-\[\]])+|10[*^]|1)?(?P<power>[+-]?\d+)?(?P<note>\{[!-z|~]*\})?"
)


def is_unit(text: str) -> bool:
    """Whether `text` is a unit of the subset above.

    >>> [is_unit(u) for u in ("Cel", "kW.h/t", "m/s", "uS/cm", "A/dm2", "%{wt}", "/min", "1", "[pH]")]
    [True, True, True, True, True, True, True, True, True]
    >>> [is_unit(u) for u in ("°C", "degC", "kwh", "µS/cm", "", "m//s")]
    [False, False, False, False, False, False]
    """
    return bool(text) and all(_is_factor(part) for part in re.split(r"[./]", text.removeprefix("/")))


def _is_factor(text: str) -> bool:
    found = _FACTOR.fullmatch(text)
    if not text or found is None:
        return False
    unit = found["unit"]
    if unit is None:
        return found["note"] is not None or found["power"] is not None
    if unit in _METRIC or unit in _PLAIN:
        return True
    return any(unit.startswith(p) and unit[len(p) :] in _METRIC for p in _PREFIXES)
