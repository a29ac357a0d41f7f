"""MSTAR: chips of military vehicles, as Phoenix files or pictures, unpacked or in .zip archives."""

from .reader import DATASET

__all__ = ["DATASET"]
