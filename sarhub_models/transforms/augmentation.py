"""Augmentations of radar images: windows at native resolution, and speckle that is multiplied."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError
from .steps import Step

__all__ = ["Speckle", "Window"]

_SEEDS = 1 << 24  # float32 numbers in [0, 1) are that fine
_RANGE = 16  # most looks of a sample, as a multiple of the fewest


class Window(Step):
    """In training mode a square is cut from each sample at a random place; nothing in evaluation mode.

    The square has ``size`` pixels a side, or as many as the image has, times a number drawn from [``scale``, 1]; it is
    then resized to ``size``, bilinear. With ``scale=1`` large images keep their resolution.

    Args:
        size: side of the output in pixels.
        scale: smallest share of a side, above 0 and up to 1.

    Raises:
        OptionError: an argument is out of its range.
    """

    step = "window"
    draws = 3  # share of the side, column, row

    def __init__(self, size: int, *, scale: float = 1.0) -> None:
        super().__init__()
        if size < 1 or not 0 < scale <= 1:
            raise OptionError(f"expected a size of at least 1 and a scale in (0, 1], got {size} and {scale}")
        self.size, self.scale = size, scale

    def forward(self, x: Tensor, generator: torch.Generator | None = None, numbers: Tensor | None = None) -> Tensor:
        """Cut a square from each sample.

        Args:
            x: (B, C, H, W), floating point.
            generator: random numbers, on the device of ``x``; by default torch's own.
            numbers: (3, B), uniform in [0, 1), in place of drawn ones.

        Returns:
            (B, C, size, size) in training mode, else ``x``.
        """
        if not self.training:
            return x
        if numbers is None:
            numbers = torch.rand(self.draws, len(x), generator=generator, device=x.device)
        return torch.cat([self._cut(image[None], *row) for image, row in zip(x, numbers.T.tolist(), strict=True)])

    def _cut(self, image: Tensor, share: float, column: float, row: float) -> Tensor:
        height, width = image.shape[-2:]
        side = max(1, round(min(self.size, height, width) * (self.scale + (1 - self.scale) * share)))
        top, left = int(row * (height - side + 1)), int(column * (width - side + 1))
        cut = image[..., top : top + side, left : left + side]
        if side == self.size:
            return cut
        return F.interpolate(cut, (self.size, self.size), mode="bilinear", antialias=side > self.size)


class Speckle(Step):
    """In training mode amplitudes are multiplied by speckle; nothing in evaluation mode.

    The intensity of fully developed speckle of L looks is gamma-distributed with mean 1 and variance 1/L (Goodman,
    Some fundamental properties of speckle, JOSA 66, 1976). L is drawn for each sample, log-uniform in [``looks``,
    16 ``looks``]; the variable is Wilson and Hilferty's cube of a normal one, and its root multiplies the amplitude.

    Args:
        looks: fewest looks, above 0; 1 is the speckle of a single-look image.

    Raises:
        OptionError: ``looks`` is out of its range.
    """

    step = "speckle"
    draws = 2  # looks, seed of the pixels

    def __init__(self, looks: float) -> None:
        super().__init__()
        if not 0 < looks < math.inf:
            raise OptionError(f"expected a finite number of looks above 0, got {looks}")
        self.looks = looks

    def forward(self, x: Tensor, generator: torch.Generator | None = None, numbers: Tensor | None = None) -> Tensor:
        """Multiply each sample by speckle, and hold it to [0, 1].

        Args:
            x: amplitude in [0, 1], (B, C, H, W), floating point.
            generator: random numbers, on the device of ``x``; by default torch's own.
            numbers: (2, B), uniform in [0, 1), in place of drawn ones.
        """
        if not self.training:
            return x
        if numbers is None:
            numbers = torch.rand(self.draws, len(x), generator=generator, device=x.device)
        looks = self.looks * _RANGE ** numbers[0].to(x.device)[:, None, None, None]
        # a seed of its own makes the speckle of a sample that of any batch it is in
        seeds = (numbers[1] * _SEEDS).long().tolist()
        normal = [torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        cube = 1 - 1 / (9 * looks) + torch.stack(normal).to(x) / (3 * looks.sqrt())
        return (x * cube.clamp_min(0) ** 1.5).clamp(0, 1)
