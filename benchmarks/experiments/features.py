"""Features of a frozen network, which the classifiers of several benchmarks learn from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from sarhub_models.engine.scoring import Outputs, collect

__all__ = ["pooled_features"]


def pooled_features(
    network: nn.Module, loaders: Iterable[Iterable[Any]], transform: nn.Module, crop: int | None
) -> list[Outputs]:
    """Return the pooled features of all samples of each loader, computed on the GPU where there is one.

    Args:
        network: of timm's interface.
        loaders: of batches of amplitude.
        transform: the preprocessing that belongs to the weights.
        crop: side in pixels of the middle of an image that is looked at, where the data set has one: chips of MSTAR are
            larger for some classes, and a whole chip that is resized tells the class by its scale. ``None``: all.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = network.to(device).eval()
    chain = transform if crop is None else nn.Sequential(_Center(crop), transform)

    def pooled(x: Tensor) -> Tensor:
        found: Tensor = model.forward_head(model.forward_features(x), pre_logits=True)
        return found

    return [collect(pooled, loader, chain, device=device) for loader in loaders]


class _Center(nn.Module):
    """A square from the middle of each image; what is missing is 0."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor | list[Tensor]) -> Tensor:
        """Return (B, 1, side, side)."""
        if isinstance(images, Tensor):
            return F.center_crop(images, [self.side, self.side])
        return torch.stack([F.center_crop(image, [self.side, self.side]) for image in images])
