"""The U-Net that gives the σ of every patch of a chip in one pass."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .objective import grid_shape

__all__ = ["SigmaUNet"]

_PATCH = 8  # pixels a patch that the three poolings before the last level leave over


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class SigmaUNet(nn.Module):
    """Chips to a map of σ, one for each patch.

    An encoder of five levels, of which the fourth has one pixel a patch; one step up from the fifth, joined with the
    fourth; then a convolution, batch norm without scale and offset, exp(½·) and the mean over channels. The batch norm
    holds the mean of log σ near 0, so it is a map of differences more than of scale. Chips whose patches are not 8
    pixels wide are resized so that they are.

    Args:
        channels: of the chips.
        patch: side of a patch in pixels.
        width: channels of the first level; SAR-HUB's is 64.
    """

    def __init__(self, channels: int = 3, *, patch: int = 8, width: int = 64) -> None:
        super().__init__()
        self.patch = patch
        widths = [width * 2**level for level in range(5)]
        self.encoder = nn.ModuleList(_double(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.up = nn.ConvTranspose2d(widths[4], widths[3], 2, stride=2)
        self.decoder = _double(2 * widths[3], widths[3])
        self.head = nn.Conv2d(widths[3], widths[3], 3, padding=1)
        self.norm = nn.BatchNorm2d(widths[3], eps=1e-3, affine=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Return σ above 0, (B, ceil(H / patch), ceil(W / patch)), of chips (B, C, H, W)."""
        rows, columns = grid_shape(chips.shape[-2:], self.patch)
        size = (rows * _PATCH, columns * _PATCH)
        x = chips if chips.shape[-2:] == size else F.interpolate(chips, size, mode="bilinear", antialias=True)
        levels: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else F.max_pool2d(x, 2, ceil_mode=True))
            levels.append(x)
        up = self.up(levels[4])[..., :rows, :columns]
        x = self.head(self.decoder(torch.cat([levels[3], up], dim=1)))
        return (0.5 * self.norm(x)).exp().mean(dim=1)
