"""Commands about cycles, key figures, records and entries: they parse, call and print; see commands.md."""
