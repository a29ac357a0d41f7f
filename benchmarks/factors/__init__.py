"""What matters in pre-training: the start, the objective, the dynamic-range mapping, the sources, the classes."""
