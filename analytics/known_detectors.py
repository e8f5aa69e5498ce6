"""Every detector there is: the whole registration."""

from analytics.detectors.limits import Limits

AnyDetector = Limits
