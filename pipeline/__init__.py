"""The spine: the vocabulary of what flows and the durable path from spool to hypertable."""
