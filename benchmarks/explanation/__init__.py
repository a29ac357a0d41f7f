"""Measure the effect of pre-training on explanations."""
