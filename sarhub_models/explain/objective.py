"""Compute the objective of knowledge points: how far the feature moves under noise, against the noise's entropy.

After Q. Zhang et al., "Quantifying the knowledge in a DNN to explain knowledge distillation for classification"
(arXiv 2208.08741), with the constants of SAR-HUB (Remote Sensing 15(23), 5534, 2023). Each patch i of a chip x gets
Gaussian noise of its own standard deviation σ_i. A network's feature f stands still under noise on pixels that it
does not use, so there σ may grow; where it grows least, the network looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["HALF_LOG_2PIE", "distortion", "disturb", "entropy", "expand", "grid_shape", "loss", "standard_noise"]

HALF_LOG_2PIE = 0.5 * math.log(2 * math.pi * math.e)
"""Entropy of a Gaussian of standard deviation 1, in nats."""


def grid_shape(size: Sequence[int], patch: int) -> tuple[int, int]:
    """Return rows and columns of patches of a chip (H, W); the last are cut where ``patch`` does not divide it."""
    return -(-size[0] // patch), -(-size[1] // patch)


def entropy(sigma: Tensor) -> Tensor:
    """Return the entropy of each patch in nats a pixel, H = log σ + ½ log(2πe); any shape."""
    return sigma.log() + HALF_LOG_2PIE


def expand(sigma: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Return σ of every pixel: (B, R, C) becomes (B, 1, H, W), each patch constant."""
    pixels = sigma.repeat_interleave(patch, -2).repeat_interleave(patch, -1)
    return pixels[:, None, :height, :width]


def standard_noise(
    shape: Sequence[int], draws: int, generators: Sequence[torch.Generator], *, exact: bool = False
) -> Tensor:
    """Return the mean of ``draws`` independent draws of standard Gaussian noise.

    Args:
        shape: (B, C, H, W).
        draws: S, number of draws.
        generators: one for the batch, or one for each chip, which makes a chip's noise independent of the others.
            They say the device.
        exact: draw S times and take the mean, one draw in memory at a time. By default its closed form, a single draw
            of standard deviation 1/√S, which has the same distribution.

    Returns:
        float32 of that shape, of standard deviation 1/√S.
    """
    size = (*shape,) if len(generators) == 1 else (1, *shape[1:])

    def draw() -> Tensor:
        return torch.cat([torch.randn(size, generator=g, device=g.device) for g in generators])

    if not exact:
        return draw() / math.sqrt(draws)
    total = draw()
    for _ in range(draws - 1):
        total += draw()
    return total / draws


def disturb(x: Tensor, sigma: Tensor, patch: int, noise: Tensor) -> Tensor:
    """Return the disturbed chips, x' = x + σ↑·ε; as σ is common to all draws, ε may be the mean of them.

    Args:
        x: chips (B, C, H, W).
        sigma: standard deviation of each patch, (B, R, C).
        patch: side of a patch in pixels.
        noise: of :func:`standard_noise`, like ``x``.
    """
    return x + expand(sigma, patch, *x.shape[-2:]) * noise


def distortion(moved: Tensor, still: Tensor, variance: Tensor | float) -> Tensor:
    """Return ‖f(x') − f(x)‖² / Var(f(x)) of each chip, (B,).

    A feature without variance that does not move has no distortion.

    Args:
        moved: f(x'), (B, …).
        still: f(x), (B, …).
        variance: Var(f(x)), of all numbers of the features of a batch or of a set of chips.
    """
    squared = (moved - still).flatten(1).square().sum(dim=1)
    tiny = torch.finfo(squared.dtype).tiny
    return squared / torch.as_tensor(variance, dtype=squared.dtype, device=squared.device).clamp_min(tiny)


def loss(distortions: Tensor, sigma: Tensor, *, alpha: float = 0.25, batch: int | None = None) -> Tensor:
    """Return the loss, Σ_n ‖f(x'_n) − f(x_n)‖² / (B·Var f(x)) − α Σ_n Σ_i H_ni.

    Args:
        distortions: of :func:`distortion`, (B,).
        sigma: (B, R, C).
        alpha: weight of the entropy.
        batch: the B that the squared norm is divided by; by default the number of chips. The sum of the entropies is
            not divided, so that it weighs more in larger batches.

    Returns:
        A scalar.
    """
    return distortions.sum() / (len(distortions) if batch is None else batch) - alpha * entropy(sigma).sum()
