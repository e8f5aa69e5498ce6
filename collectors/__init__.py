"""Devices in: one file a protocol, and the gateway process that runs them."""
