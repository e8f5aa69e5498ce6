"""How the charts of the notebooks look: quiet axes, colours that differ in print too, a font that has Hangul."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import font_manager, rcsetup

FONT: Final = Path(__file__).resolve().parents[1] / "paper" / "fonts" / "Pretendard-Regular.otf"
BLUE: Final = "#0b66c3"
RED: Final = "#c8321e"
GREEN: Final = "#1f7a4d"
GREY: Final = "#8a9099"
PALE: Final = "#dfe5ec"
SERIES: Final = (BLUE, "#d98200", GREEN, "#7b4ab5", GREY)
"""One after the other."""


def begin(height_in: float = 4.0) -> None:
    """Sets the defaults of matplotlib, for this notebook; call it once, first."""
    font_manager.fontManager.addfont(FONT)
    settings: Any = {
        "font.family": font_manager.FontProperties(fname=FONT).get_name(),
        "axes.unicode_minus": False,
        "axes.prop_cycle": rcsetup.cycler(color=SERIES),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": PALE,
        "figure.figsize": (10.0, height_in),
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "legend.frameon": False,
    }
    mpl.rcParams.update(settings)
