"""Detection quality on public benchmarks, real plant data and simulated machines: `make bench-detection`."""
