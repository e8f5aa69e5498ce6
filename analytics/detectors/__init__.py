"""The detectors, one file each; the contract is `analytics/detector.py`, the union `analytics/known_detectors.py`."""
