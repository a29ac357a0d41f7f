"""DenseNet-121: timm's own (Huang et al., CVPR 2017), which here can be dilated, too."""

from __future__ import annotations

from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from timm.models.densenet import DenseBlock
from torch import nn

from ..errors import OptionError
from ._spec import NetworkSpec

_NAME = "densenet121"
_STRIDES = (32, 16, 8)
_TRANSITIONS = (8, 16, 32)  # the stride behind each of them


class DilatedAveragePool(nn.Module):
    """Mean of 2x2 pixels that lie ``dilation`` apart, at every pixel; (B, C, H, W) in and out.

    Every ``dilation``-th value is what average pooling with stride 2 gives. Beyond the right and lower border the
    last row and column are repeated.
    """

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the local means of ``x``."""
        step = self.dilation
        padded = F.pad(x, (0, step, 0, step), mode="replicate")
        height, width = x.shape[-2:]
        rows = padded[..., :height, :] + padded[..., step : step + height, :]
        return (rows[..., :width] + rows[..., step : step + width]) / 4

    def extra_repr(self) -> str:
        """Return the arguments for ``repr``."""
        return f"dilation={self.dilation}"


def _create(output_stride: int = 32, **options: Any) -> nn.Module:
    if output_stride not in _STRIDES:
        raise OptionError(f"expected output_stride 32, 16 or 8, got {output_stride}")
    model = timm.create_model(_NAME, **options)
    if output_stride < _TRANSITIONS[-1]:
        _dilate(model, output_stride)
    return model


def _dilate(model: nn.Module, output_stride: int) -> None:
    """Let what would halve the map beyond ``output_stride`` look at pixels twice as far apart instead, in place.

    The trained tensors stay as they are, and every second, or fourth, value of a map is what the network without
    dilation gives there.
    """
    # timm's feature extractor joins the names of two levels by an underscore.
    modules = {name.replace(".", "_"): module for name, module in model.named_modules()}
    dilation = 1
    for index, stride in enumerate(_TRANSITIONS, start=1):
        if stride > output_stride and f"features_transition{index}" in modules:
            modules[f"features_transition{index}"].pool = DilatedAveragePool(dilation)
            dilation *= 2
            if block := modules.get(f"features_denseblock{index + 1}"):
                _dilate_block(block, dilation)
    for feature in cast(Any, model.feature_info):
        feature["reduction"] = min(feature["reduction"], output_stride)


def _dilate_block(block: nn.Module, dilation: int) -> None:
    assert isinstance(block, DenseBlock)
    for layer in block.values():
        layer.conv2.dilation = layer.conv2.padding = (dilation, dilation)


SPECS = {
    _NAME: NetworkSpec(timm_name=_NAME, stem="features.conv0", head="classifier", create=_create, drops_paths=False)
}
