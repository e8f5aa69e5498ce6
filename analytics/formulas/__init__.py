"""The trades' formulas as pure functions of columns, one file a process; listed in `analytics/formulas.md`."""
