"""Geometric augmentation: flips, the symmetries of the square, and rotation by a few degrees."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, closest
from .steps import Step

__all__ = ["GEOMETRIES", "Geometry", "flip_and_rotate"]

_MAX_ROTATION = math.radians(10)
_HALF = 0.5

GEOMETRIES = {
    "none": 0,
    "flip": 2,
    "dihedral": 3,
    "flip_rotate": 2,
}
"""Kinds of :class:`Geometry`, and how many random numbers a sample takes."""


class Geometry(Step):
    """Random flips, turns or rotation in training mode, of each sample by itself; nothing in evaluation mode.

    Args:
        kind: ``"none"``; ``"flip"``, along either axis; ``"dihedral"``, all eight symmetries of the square; or
            ``"flip_rotate"``, SAR-HUB's horizontal flip with probability ½ and rotation by up to ±10 degrees.

    Raises:
        OptionError: there is no such kind.
    """

    step = "augment"
    draws = 3  # two flips, transposition or angle

    def __init__(self, kind: str = "flip_rotate") -> None:
        super().__init__()
        if kind not in GEOMETRIES:
            raise OptionError(
                f"no geometry is called {kind!r}{closest(kind, GEOMETRIES)}; known: {', '.join(GEOMETRIES)}"
            )
        self.kind = kind

    def forward(self, x: Tensor, generator: torch.Generator | None = None, numbers: Tensor | None = None) -> Tensor:
        """Flip, turn or rotate each sample.

        Args:
            x: (B, C, H, W), floating point; square for ``"dihedral"``.
            generator: random numbers, on the device of ``x``; by default torch's own.
            numbers: (3, B), uniform in [0, 1), in place of drawn ones.
        """
        if not self.training or self.kind == "none":
            return x
        if numbers is None:
            numbers = torch.rand(GEOMETRIES[self.kind], len(x), generator=generator, device=x.device).flip(0)
        numbers = numbers.to(x.device, non_blocking=True)
        if self.kind == "flip_rotate":
            return flip_and_rotate(x, numbers[-1], numbers[0])
        x = _sometimes(x.flip(-1), x, numbers[0])
        x = _sometimes(x.flip(-2), x, numbers[1])
        return _sometimes(x.transpose(-1, -2), x, numbers[2]) if self.kind == "dihedral" else x


def _sometimes(changed: Tensor, x: Tensor, numbers: Tensor) -> Tensor:
    """Take each sample from ``changed`` with probability one half."""
    return torch.where(numbers[:, None, None, None] < _HALF, changed, x)


def flip_and_rotate(x: Tensor, turn: Tensor, mirror: Tensor) -> Tensor:
    """Flip each chip of a batch horizontally or not, and rotate it about its center by up to ±10 degrees.

    Bilinear; pixels from outside become 0.

    Args:
        x: (B, C, H, W), floating point.
        turn: (B,) in [0, 1], from -10 to 10 degrees.
        mirror: (B,); below ½ the chip is flipped.

    Returns:
        Tensor like ``x``.
    """
    count, _, height, width = x.shape
    angle = (2 * turn - 1) * _MAX_ROTATION
    sign = torch.where(mirror < _HALF, -1.0, 1.0)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # affine_grid counts in half-widths and half-heights: the aspect ratio keeps the rotation rigid
    rows = [sign * cos, -sign * sin * height / width, zero, sin * width / height, cos, zero]
    matrix = torch.stack(rows, dim=-1).view(count, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
