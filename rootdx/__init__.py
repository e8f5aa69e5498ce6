"""The front door: what people touch. Nothing imports it."""
