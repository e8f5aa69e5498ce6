"""Constants of nature and of definition; everything that may be argued about is a keyword default of its formula."""

from typing import Final

CELSIUS_ZERO_K: Final = 273.15
RANKINE_PER_K: Final = 1.8
FARADAY_C_MOL: Final = 96485.33
MJ_PER_KWH: Final = 3.6
S_PER_MIN: Final = 60.0
S_PER_H: Final = 3600.0
