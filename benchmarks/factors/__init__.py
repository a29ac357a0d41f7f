"""The factors of pre-training that matter: start, objective, dynamic-range mapping, sources, classes."""
