"""Every detector there is: the whole registration."""

from typing import Annotated

from pydantic import Field

from analytics.detectors.adaptive import Adaptive
from analytics.detectors.combined import Combined
from analytics.detectors.cusum import Cusum
from analytics.detectors.envelope import Envelope
from analytics.detectors.ewma import Ewma
from analytics.detectors.gap import Gap
from analytics.detectors.general import General
from analytics.detectors.hotelling import Hotelling
from analytics.detectors.implausible_time import ImplausibleTime
from analytics.detectors.limits import Limits
from analytics.detectors.matrix_profile import MatrixProfile
from analytics.detectors.mewma import Mewma
from analytics.detectors.noise_burst import NoiseBurst
from analytics.detectors.pelt import Pelt
from analytics.detectors.pettitt import Pettitt
from analytics.detectors.residual_q import ResidualQ
from analytics.detectors.scale_jump import ScaleJump
from analytics.detectors.sensor_drift import SensorDrift
from analytics.detectors.shewhart import Shewhart
from analytics.detectors.short_run import ShortRun
from analytics.detectors.spike import Spike
from analytics.detectors.stuck import Stuck
from analytics.detectors.warping import Warping

AnyDetector = Annotated[
    Limits
    | Gap
    | Stuck
    | Spike
    | NoiseBurst
    | SensorDrift
    | ImplausibleTime
    | ScaleJump
    | Shewhart
    | Ewma
    | Cusum
    | ShortRun
    | Pettitt
    | Pelt
    | Hotelling
    | ResidualQ
    | Mewma
    | Combined
    | Envelope
    | Warping
    | MatrixProfile
    | Adaptive
    | General,
    Field(discriminator="kind"),
]
