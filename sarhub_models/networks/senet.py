"""SENet-50 as SAR-HUB trained it: timm's ResNet with squeeze-and-excitation and an early stride.

timm's ``legacy_seresnet50`` pools differently after the stem and its ``seresnet50`` strides in the 3x3 convolution;
neither computes what the released weights were trained for (Hu et al., Squeeze-and-Excitation Networks, CVPR 2018).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from timm.models import build_model_with_cfg
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

from ._spec import NetworkSpec, Tensors


class SEBottleneck(Bottleneck):
    """timm's bottleneck with squeeze-and-excitation (reduction 16) and the stride in the first 1x1 convolution."""

    def __init__(self, *args: Any, first_dilation: int | None = None, **kwargs: Any) -> None:
        # timm's first_dilation is for a stride in or behind the 3x3 convolution. Here it comes before: where it became
        # dilation, the 3x3 convolution of the first block is dilated like the others.
        super().__init__(*args, attn_layer="se", **kwargs)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


class SENet(ResNet):
    """ResNet of :class:`SEBottleneck`; input (B, in_chans, H, W) float, output (B, num_classes) logits."""

    def __init__(self, layers: tuple[int, ...] = (3, 4, 6, 3), **kwargs: Any) -> None:
        super().__init__(SEBottleneck, layers, **kwargs)


def _create(pretrained: bool = False, **options: Any) -> nn.Module:
    return build_model_with_cfg(SENet, "sarhub_senet50", pretrained, **options)


_RENAMES = (
    (r"^conv1\.0\.", "conv1."),
    (r"^conv1\.1\.", "bn1."),
    (r"^conv([2-5])\.(\d+)\.", lambda m: f"layer{int(m[1]) - 1}.{m[2]}."),
    (r"\.conv([1-3])\.0\.", r".conv\1."),
    (r"\.conv([1-3])\.1\.", r".bn\1."),
    (r"\.shortcut\.", ".downsample."),
    (r"\.se\.1\.", ".se.fc1."),
    (r"\.se\.3\.", ".se.fc2."),
)


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


SPECS = {"senet50": NetworkSpec(timm_name="sarhub_senet50", stem="conv1", head="fc", rename=_rename, create=_create)}
