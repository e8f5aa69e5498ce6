"""One file a process: how its cycles are found and what is measured of them."""
