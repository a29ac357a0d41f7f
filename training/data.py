"""Patches become tensors, and tensors become network inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sarhub_models.datasets.dsn import load_dsn
from sarhub_models.transforms import SarTransform, normalize_amplitude

from .augment import geometric
from .recipe import Recipe


@dataclass(frozen=True)
class Split:
    """One split in memory.

    Attributes:
        amplitude: float32 (N, 1, H, W) in [0, 1].
        labels: int64 (N,).
        class_names: name of each class.
    """

    amplitude: Tensor
    labels: Tensor
    class_names: tuple[str, ...]


def load_split(root: str | Path, recipe: Recipe, split: str) -> Split:
    """Read one split of the recipe's data, amplitude divided by its full scale."""
    patches = load_dsn(root, recipe.parts, split)
    amplitude = normalize_amplitude(torch.from_numpy(patches.images), recipe.full_scale)
    return Split(amplitude[:, None], torch.from_numpy(patches.labels), patches.class_names)


def measure_mean_std(amplitude: Tensor, recipe: Recipe) -> tuple[float, float]:
    """Return mean and standard deviation over all pixels after the operator with its evaluation parameter."""
    operator = SarTransform(recipe.operator, *_range(recipe), mean=0.0, std=1.0, size=None, channels=1)
    pixels = torch.cat([operator(chunk).flatten() for chunk in amplitude.split(256)]).double()
    return pixels.mean().item(), pixels.std().item()


def evaluation_transform(recipe: Recipe, mean: float, std: float) -> SarTransform:
    """Return the preprocessing that users of the weights get."""
    return SarTransform(recipe.operator, *_range(recipe), mean=mean, std=std, size=recipe.size)


class TrainingTransform(nn.Module):
    """The evaluation preprocessing with DRAA, after a random change of geometry; (B, 1, H, W) → (B, 3, S, S)."""

    def __init__(self, recipe: Recipe, mean: float, std: float) -> None:
        super().__init__()
        self.geometry = recipe.geometry
        # In evaluation mode SarTransform does everything but augment; DRAA alone is switched on.
        self.transform = SarTransform(recipe.operator, *_range(recipe), mean, std, recipe.size, validate=False)
        self.transform.dynamic_range.train(recipe.draa)

    def forward(self, amplitude: Tensor) -> Tensor:
        """Return network inputs."""
        return self.transform(geometric(amplitude, self.geometry))


def _range(recipe: Recipe) -> tuple[float, float, float]:
    return recipe.range.low, recipe.range.high, recipe.range.evaluation
