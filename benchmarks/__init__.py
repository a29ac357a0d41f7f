"""Experiments that measure the networks, in quality and in speed. Run from a clone."""
