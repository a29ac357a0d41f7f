"""Pre-trained networks for synthetic-aperture radar (SAR) images, with the preprocessing they were trained with.

Names are resolved on first use (PEP 562), so ``import sarhub_models`` loads neither torch nor timm.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from wrapt import when_imported

from ._version import __version__

if TYPE_CHECKING:
    from .models.create import create_model, create_transform
    from .models.importing import import_checkpoint
    from .transforms import DRAA, log_amplitude, normalize_amplitude, ptls, reinhard_devlin
    from .zoo.manifest import ModelInfo, list_datasets, list_models, list_networks, model_info

_HOME = {
    "DRAA": "transforms",
    "ModelInfo": "zoo.manifest",
    "create_model": "models.create",
    "create_transform": "models.create",
    "import_checkpoint": "models.importing",
    "list_datasets": "zoo.manifest",
    "list_models": "zoo.manifest",
    "list_networks": "zoo.manifest",
    "log_amplitude": "transforms",
    "model_info": "zoo.manifest",
    "normalize_amplitude": "transforms",
    "ptls": "transforms",
    "reinhard_devlin": "transforms",
}

__all__ = [
    "DRAA",
    "ModelInfo",
    "__version__",
    "create_model",
    "create_transform",
    "import_checkpoint",
    "list_datasets",
    "list_models",
    "list_networks",
    "log_amplitude",
    "model_info",
    "normalize_amplitude",
    "ptls",
    "reinhard_devlin",
]


def _register_with_timm(_module: Any) -> None:
    from .errors import SarHubError
    from .integrations.timm import register

    try:
        register()
    except SarHubError as err:  # a broken list of weights must not break other people's import of timm
        warnings.warn(f"sarhub_models' names are not in timm: {err}", stacklevel=2)


# timm's users find our names as soon as timm is there, and nobody else pays for importing it.
when_imported("timm")(_register_with_timm)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
