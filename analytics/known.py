"""The processes a machine file may name: the union is the registry."""

from typing import Annotated

from pydantic import Field

from analytics.processes.batch_furnace import PitLoad, TemperLoad, VacuumLoad
from analytics.processes.casting import HpdcShot
from analytics.processes.forging import PressStroke
from analytics.processes.heat_treatment import SealedQuench
from analytics.processes.melting import MeltBatch
from analytics.processes.mesh_belt import ContinuousBatch
from analytics.processes.molding import MoldingCycle
from analytics.processes.oven_cure import OvenCure
from analytics.processes.spot_welding import SpotWeld
from analytics.processes.surface_treatment import AnodiseRack, EcoatRack, PlatingBarrel, PlatingRack
from analytics.processes.welding import ArcSeam

AnyProcess = Annotated[
    HpdcShot
    | MeltBatch
    | PressStroke
    | MoldingCycle
    | SealedQuench
    | PitLoad
    | VacuumLoad
    | TemperLoad
    | ContinuousBatch
    | ArcSeam
    | SpotWeld
    | PlatingRack
    | PlatingBarrel
    | AnodiseRack
    | EcoatRack
    | OvenCure,
    Field(discriminator="kind"),
]
