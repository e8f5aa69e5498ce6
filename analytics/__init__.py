"""Meaning out: cycles, KPIs and detectors over windows of committed data."""
