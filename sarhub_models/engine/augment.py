"""From amplitude to the input of a network: DRAA, size and geometry, each sample with its own random numbers.

The numbers are handed in, uniform in [0, 1): see :mod:`sarhub_models.engine.seeds`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..transforms import OPERATORS, SarTransform, flip_and_rotate
from .recipe import Preprocess
from .seeds import generator

DRAWS = 4  # numbers for each sample: operator's parameter, two flips, transposition or angle


def draw(seed: int, step: int, batch_size: int, rank: int, world: int) -> Tensor:
    """Return the random numbers of one process's samples in one step, float32 (DRAWS, batch_size)."""
    numbers = torch.rand(DRAWS, batch_size * world, generator=generator(seed, "augment", step))
    return numbers[:, rank * batch_size : (rank + 1) * batch_size]


def evaluation_transform(preprocess: Preprocess, mean: float, std: float) -> SarTransform:
    """Return the preprocessing that users of the weights get."""
    limits = preprocess.range
    return SarTransform(
        *(preprocess.operator, limits.low, limits.high, limits.evaluation, mean, std, preprocess.size),
        validate=False,
        crop=preprocess.crop,
    )


class TrainingTransform:
    """Crop → operator → normalization → resizing → geometry → three channels, as :class:`SarTransform` in training.

    Args:
        preprocess: crop, operator, its range, and the size.
        geometry: ``"none"``; ``"flip"``, along either axis; ``"dihedral"``, all eight symmetries of the square; or
            ``"flip_rotate"``, SAR-HUB's horizontal flip and rotation by up to 10 degrees.
        mean: subtracted after the operator.
        std: divided by.
    """

    def __init__(self, preprocess: Preprocess, geometry: str, mean: float, std: float) -> None:
        self.preprocess, self.geometry, self.mean, self.std = preprocess, geometry, mean, std
        self.cropped = evaluation_transform(preprocess, mean, std).cropped

    def __call__(self, images: Tensor | list[Tensor], numbers: Tensor) -> Tensor:
        """Return network inputs (B, 3, S, S).

        Args:
            images: amplitude in [0, 1], (B, 1, H, W), or a list of (1, H, W).
            numbers: of :func:`draw`, on the CPU or the device of the images.
        """
        x = by_size(images, numbers[0], self._prepare)
        numbers = numbers.to(x.device, non_blocking=True)
        return geometric(x, self.geometry, numbers[1:]).expand(-1, 3, -1, -1)

    def _prepare(self, x: Tensor, numbers: Tensor) -> Tensor:
        p, x = self.preprocess, self.cropped(x)
        operator: Any = OPERATORS[p.operator]
        limits = p.range
        parameter = limits.low + (limits.high - limits.low) * numbers if p.draa else limits.evaluation
        x = (operator(x, parameter if isinstance(parameter, float) else parameter[:, None]) - self.mean) / self.std
        if x.shape[-2:] != (p.size, p.size):
            x = F.interpolate(x, (p.size, p.size), mode="bilinear", antialias=True)
        return x


def by_size(images: Tensor | list[Tensor], numbers: Tensor, function: Any) -> Tensor:
    """Apply a function of batches (b, 1, H, W) and numbers (b,) to images of several sizes, and join the results."""
    if isinstance(images, Tensor):
        return function(images, numbers)
    results: list[Tensor] = [images[0]] * len(images)
    for shape in {image.shape for image in images}:
        chosen = [index for index, image in enumerate(images) if image.shape == shape]
        batch = function(torch.stack([images[index] for index in chosen]), numbers[chosen])
        for index, result in zip(chosen, batch, strict=True):
            results[index] = result
    return torch.stack(results)


def geometric(x: Tensor, kind: str, numbers: Tensor) -> Tensor:
    """Flip, turn or rotate each sample of a batch (B, C, S, S).

    Args:
        x: square images.
        kind: as for :class:`TrainingTransform`.
        numbers: (3, B).
    """
    if kind == "none":
        return x
    if kind == "flip_rotate":
        return flip_and_rotate(x, numbers[2], numbers[0])
    x = _sometimes(x.flip(-1), x, numbers[0])
    x = _sometimes(x.flip(-2), x, numbers[1])
    return _sometimes(x.transpose(-1, -2), x, numbers[2]) if kind == "dihedral" else x


def cutmix(x: Tensor, labels: Tensor, probability: float, rng: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Paste a box of permuted samples into the batch (Yun et al., CutMix, ICCV 2019).

    Args:
        x: images (B, C, H, W).
        labels: (B,) or (B, C).
        probability: of doing it at all.
        rng: source of the random numbers, on the CPU.

    Returns:
        The images, the labels of the pasted boxes, and the share of pixels that stayed (1 if nothing was pasted).
    """
    if torch.rand((), generator=rng).item() >= probability:
        return x, labels, 1.0
    order = torch.randperm(len(x), generator=rng).to(x.device)
    height, width = x.shape[-2:]
    side = math.sqrt(1 - torch.rand((), generator=rng).item())  # the area that stays is uniform, which is Beta(1, 1)
    rows, columns = int(height * side), int(width * side)
    top = int(torch.randint(height - rows + 1, (), generator=rng).item())
    left = int(torch.randint(width - columns + 1, (), generator=rng).item())
    mixed = x.clone()
    box = (..., slice(top, top + rows), slice(left, left + columns))
    mixed[box] = x[order][box]
    return mixed, labels[order], 1 - rows * columns / (height * width)


def _sometimes(changed: Tensor, x: Tensor, numbers: Tensor) -> Tensor:
    """Take each sample from ``changed`` with probability one half."""
    return torch.where(numbers[:, None, None, None] < 0.5, changed, x)
