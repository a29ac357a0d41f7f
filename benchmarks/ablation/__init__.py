"""Losses and dynamic-range mappings, compared on the same patches."""
