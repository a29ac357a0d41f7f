"""Weights on other tasks: kNN, linear probe and few labels on frozen features, beside untrained and ImageNet twins."""
