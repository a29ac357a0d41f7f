"""Pre-trained networks for synthetic-aperture radar (SAR) images, with the preprocessing they were trained with.

The public names are those of the stub beside this file. They are resolved on first use (PEP 562), so ``import
sarhub_models`` loads neither torch nor timm.
"""

from __future__ import annotations

import warnings
from types import ModuleType

import lazy_loader
from wrapt import when_imported

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _register_with_timm(_module: ModuleType) -> None:
    from .errors import SarHubError
    from .integrations.timm import register

    try:
        register()
    except SarHubError as err:  # a broken list of weights must not break other people's import of timm
        warnings.warn(f"sarhub_models' names are not in timm: {err}", stacklevel=2)


# timm's users find our names as soon as timm is there, and nobody else pays for importing it.
when_imported("timm")(_register_with_timm)
