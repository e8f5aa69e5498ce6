"""Notebooks for data scientists, as files: `rootdx notebooks --out DIR` copies them. What they share is in `looks`."""
