"""Pixels told apart by DeepLabv3, from any initialization."""
