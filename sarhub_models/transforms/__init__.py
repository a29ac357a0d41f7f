"""Images become network inputs: radiometry, dynamic-range operators with their augmentation, and the whole chain.

Importing the package, or its tables of operators and of radiometry, loads no torch: names are resolved on first use
(PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .amplitude import normalize_amplitude
    from .augmentation import Speckle, Window
    from .draa import DRAA
    from .geometry import GEOMETRIES, Geometry, flip_and_rotate
    from .operators import OPERATORS, log_amplitude, ptls, register_operator, reinhard_devlin
    from .pipeline import Pipeline
    from .radiometry import RADIOMETRIES, convert_radiometry
    from .steps import INTERPOLATIONS, Clip, Crop, FinalCrop, Normalize, Repeat, Resize, ToRadiometry

_MODULES = (
    "radiometry",
    "operators",
    "amplitude",
    "draa",
    "geometry",
    "augmentation",
    "steps",
    "pipeline",
)  # without torch first

__all__ = [
    "DRAA",
    "GEOMETRIES",
    "INTERPOLATIONS",
    "OPERATORS",
    "RADIOMETRIES",
    "Clip",
    "Crop",
    "FinalCrop",
    "Geometry",
    "Normalize",
    "Pipeline",
    "Repeat",
    "Resize",
    "Speckle",
    "ToRadiometry",
    "Window",
    "convert_radiometry",
    "flip_and_rotate",
    "log_amplitude",
    "normalize_amplitude",
    "ptls",
    "register_operator",
    "reinhard_devlin",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in (importlib.import_module(f".{module}", __name__) for module in _MODULES):
            if name in module.__all__:
                return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
