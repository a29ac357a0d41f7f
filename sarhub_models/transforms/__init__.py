"""Amplitude chips become network inputs: dynamic-range operators, their augmentation, and the whole chain."""

from .bands import BandTransform
from .operators import DRAA, OPERATORS, log_amplitude, ptls, reinhard_devlin
from .pipeline import SarTransform, flip_and_rotate, normalize_amplitude
from .radiometry import convert_unit

__all__ = [
    "DRAA",
    "OPERATORS",
    "BandTransform",
    "SarTransform",
    "convert_unit",
    "flip_and_rotate",
    "log_amplitude",
    "normalize_amplitude",
    "ptls",
    "reinhard_devlin",
]
