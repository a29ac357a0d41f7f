"""OpenSARShip: chips of ships from Sentinel-1, in class folders or in the archives as they were published."""

from .reader import DATASET

__all__ = ["DATASET"]
