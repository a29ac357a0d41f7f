"""DSN-SLC: complex patches of Sentinel-1 and TerraSAR-X, read and downloaded."""

from .reader import DATASET

__all__ = ["DATASET"]
