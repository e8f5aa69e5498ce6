"""All dashboards, in the order in which they are listed."""

from typing import Final

from rootdx.grafana.alarms import ALARMS
from rootdx.grafana.explorer import EXPLORER
from rootdx.grafana.figures import CYCLES, ENERGY, OEE
from rootdx.grafana.model import Page
from rootdx.grafana.plant import COMPLETENESS, OVERVIEW
from rootdx.grafana.processes import PROCESSES

PAGES: Final[tuple[Page, ...]] = (OVERVIEW, *PROCESSES, CYCLES, ALARMS, OEE, ENERGY, COMPLETENESS, EXPLORER)
