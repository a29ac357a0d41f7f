"""Bytes become a trusted file on this disk.

Knows nothing of networks: what a checkpoint must hold arrives as a :class:`CheckpointSpec`. Importing this package
loads no torch; :class:`CheckpointSpec` and :func:`write_weights` do when they are first used (PEP 562).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .bundled import verify_file
from .hub import fetch_hub_config, fetch_hub_model, offline
from .store import CachedWeights, Store, Verification

if TYPE_CHECKING:
    from .checkpoint import CheckpointSpec, Tensors, load_checkpoint, read_tensors, write_weights

__all__ = [
    "CachedWeights",
    "CheckpointSpec",
    "Store",
    "Tensors",
    "Verification",
    "fetch_hub_config",
    "fetch_hub_model",
    "load_checkpoint",
    "offline",
    "read_tensors",
    "verify_file",
    "write_weights",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import checkpoint

    return getattr(checkpoint, name)
