"""Comparisons with other packages that load the same weights."""
