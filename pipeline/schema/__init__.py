"""Numbered SQL, forward only; schema.md draws the tables."""
