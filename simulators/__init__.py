"""Devices that are not there: machines with their physics, faults and truth, behind real protocols."""
