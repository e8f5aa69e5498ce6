"""The plant's live page and the REST API under it."""
