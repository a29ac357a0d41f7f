"""A network with its preprocessing in front and its scores behind, in operations that other runtimes have."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError
from ..transforms import DRAA, Crop, Pipeline, Resize, ToRadiometry
from ..transforms.operators import ptls_sorted
from ..transforms.radiometry import RADIOMETRIES
from ..transforms.steps import INTERPOLATIONS
from ..zoo.entries import ModelInfo

__all__ = ["SCORES", "Whole", "check_whole", "made_up_pixels", "scores"]

SCORES = "probabilities"
"""Output of a file that the preprocessing is in, as its description says it."""

_SIDE, _DARK = 128, 1e-3


class Whole(nn.Module):
    """Pixels of one radiometry → scores.

    It computes what the chain, the network and :class:`~sarhub_models.Predictor` do one after the other, but looks at
    no value and refuses none: where a pixel is NaN, so are the scores.

    Args:
        chain: in evaluation mode.
        network: likewise.
        multilabel: a sigmoid of each logit in place of the softmax; ``None`` gives what the network gives.
        temperature: the logits are divided by it.
    """

    def __init__(
        self, chain: Pipeline, network: nn.Module, *, multilabel: bool | None = None, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(_traceable(step) for step in chain.steps.values())
        self.network, self.multilabel, self.temperature = network, multilabel, temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, classes) of pixels (B, bands, H, W), float32."""
        x = pixels
        for step in self.steps:
            x = step(x)
        return scores(self.network(x), multilabel=self.multilabel, temperature=self.temperature)


def scores(logits: Tensor, *, multilabel: bool | None, temperature: float = 1.0) -> Tensor:
    """Return the probabilities of logits; ``multilabel=None`` gives them as they are."""
    if multilabel is None:
        return logits
    scaled = logits / temperature
    return scaled.sigmoid() if multilabel else scaled.softmax(dim=1)


def check_whole(format: str, info: ModelInfo, image_size: int | None) -> None:
    """Refuse a format, or a size of the network's input, with which the preprocessing cannot be in a file.

    Raises:
        OptionError: it cannot.
    """
    if format == "safetensors":
        raise OptionError("a file of weights holds no operations: the preprocessing is for onnx and pt2")
    side = info.preprocessing.side
    if side is not None and image_size not in (None, side):
        raise OptionError(
            f"the preprocessing makes images of {side} pixels a side, got image_size={image_size}: leave it out"
        )


def made_up_pixels(chain: Pipeline, *, side: int | None = None) -> list[Tensor]:
    """Return batches (B, bands, H, W) of speckle in the radiometry that a chain is given, to compare with.

    Args:
        chain: where it makes images of one size, those here have several, a side above and below it among them.
        side: of the images of another chain.
    """
    first, generator = chain.steps["radiometry"], torch.Generator().manual_seed(0)
    side = chain.size or side or _SIDE
    sizes = [(side + 9, side + 7), (side // 2 + 1, side), (side, side), (side + 1, side + 3)]
    row, found = RADIOMETRIES.get(first.given or ""), []
    for batch, size in zip((2, 1, 3, 1), sizes if chain.size is not None else [(side, side)] * 3, strict=False):
        noise = torch.randn(batch, len(chain.bands), *size, generator=generator)
        if row is not None:
            amplitude = (_DARK + 0.2 * noise.abs()).clamp(max=1)
            noise = row.scale.from_amplitude(amplitude, float(first.full_scale or (255 if row.scale.scaled else 1)))
        found.append(noise)
    return found


def _traceable(step: nn.Module) -> nn.Module:
    """Return a step that does the same without a look at sizes and values."""
    if isinstance(step, Resize):
        return _Resize(step)
    if isinstance(step, Crop):
        return _Crop(step)
    if isinstance(step, DRAA) and step.operator == "ptls":
        return _Stretch(step)
    if isinstance(step, ToRadiometry):
        plain = copy.deepcopy(step)
        plain.validate, plain.nodata = False, "refuse"  # it would look for NaN in NumPy
        return plain
    return step


class _Resize(nn.Module):
    def __init__(self, step: Resize) -> None:
        super().__init__()
        self.size, self.how = step.size, INTERPOLATIONS[step.interpolation]

    def forward(self, x: Tensor) -> Tensor:
        """Interpolate even where the size is right already: that changes nothing."""
        return F.interpolate(x, (self.size, self.size), **self.how)


class _Crop(nn.Module):
    def __init__(self, step: Any) -> None:
        super().__init__()
        self.size = int(step.size)

    def forward(self, x: Tensor) -> Tensor:
        """Cut as torchvision's ``center_crop`` does, which rounds halves to even numbers and fills up with zeros."""
        for axis in (-2, -1):
            side = torch.scalar_tensor(x.shape[axis], dtype=torch.float64)
            spare = side - self.size
            start = torch.where(spare >= 0, (spare / 2).round(), (spare / 2).ceil()).long()
            places = torch.arange(self.size) + start
            inside = (places >= 0) & (places < side)
            x = x.index_select(axis, places.clamp(min=0).minimum((side - 1).long()))
            x = x * (inside[:, None] if axis == -2 else inside)
        return x


class _Stretch(nn.Module):
    def __init__(self, step: DRAA) -> None:
        super().__init__()
        self.percent = step.eval_value

    def forward(self, x: Tensor) -> Tensor:
        """Sort, where the operator itself selects in NumPy."""
        return ptls_sorted(x, torch.full((), self.percent, dtype=torch.float64))
