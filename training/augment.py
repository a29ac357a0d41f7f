"""Batched augmentation: every sample of a mini-batch gets its own random change, without a loop over samples."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sarhub_models.errors import UnknownNameError, closest

GEOMETRIES = ("flip", "dihedral", "rotate")
_MAX_ROTATION = math.radians(10)


def geometric(x: Tensor, kind: str) -> Tensor:
    """Flip (and turn) each sample of a batch (B, C, H, W) at random.

    Args:
        x: square images.
        kind: ``"flip"`` flips along either axis, ``"dihedral"`` adds quarter turns (all eight symmetries of the
            square), ``"rotate"`` adds a rotation by up to 10 degrees to the flips, with mirrored borders.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if kind not in GEOMETRIES:
        raise UnknownNameError(f"no geometry is called {kind!r}{closest(kind, GEOMETRIES)}; known: {GEOMETRIES}")
    x = _sometimes(x.flip(-1), x)
    x = _sometimes(x.flip(-2), x)
    if kind == "dihedral":
        x = _sometimes(x.transpose(-1, -2), x)
    return _rotate(x) if kind == "rotate" else x


def cutmix(x: Tensor, labels: Tensor, probability: float) -> tuple[Tensor, Tensor, float]:
    """Paste a box of permuted samples into the batch (Yun et al., CutMix, ICCV 2019).

    Args:
        x: images (B, C, H, W).
        labels: (B,).
        probability: of doing it at all.

    Returns:
        The images, the labels of the pasted boxes, and the share of pixels that stayed (1 if nothing was pasted).
    """
    if torch.rand(()).item() >= probability:
        return x, labels, 1.0
    order = torch.randperm(len(x))
    height, width = x.shape[-2:]
    side = math.sqrt(1 - torch.rand(()).item())  # the area that stays is uniform, which is Beta(1, 1)
    rows, columns = int(height * side), int(width * side)
    top = int(torch.randint(height - rows + 1, ()).item())
    left = int(torch.randint(width - columns + 1, ()).item())
    mixed = x.clone()
    box = (..., slice(top, top + rows), slice(left, left + columns))
    mixed[box] = x[order][box]
    return mixed, labels[order], 1 - rows * columns / (height * width)


def _sometimes(changed: Tensor, x: Tensor) -> Tensor:
    """Take each sample from ``changed`` with probability one half."""
    return torch.where(torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5, changed, x)


def _rotate(x: Tensor) -> Tensor:
    angle = (2 * torch.rand(len(x), device=x.device) - 1) * _MAX_ROTATION
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    matrix = torch.stack([cos, -sin, zero, sin, cos, zero], dim=-1).view(-1, 2, 3)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
