"""All readers that are tried."""

from __future__ import annotations

from . import annotations, descriptions, images, weights
from .running import Target

__all__ = ["TARGETS"]

TARGETS: tuple[Target, ...] = (*weights.TARGETS, *images.TARGETS, *annotations.TARGETS, *descriptions.TARGETS)
