"""ResNet-18, -50 and -101: timm's own (He et al., CVPR 2016; stride in the 3x3 convolution of the bottleneck)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from ._spec import NetworkSpec, Tensors

# How the library transformers names the same network.
_TRANSFORMERS = (
    (r"^resnet\.", ""),
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.", lambda m: f"layer{int(m[1]) + 1}.{m[2]}."),
    (r"\.layer\.(\d+)\.convolution\.", lambda m: f".conv{int(m[1]) + 1}."),
    (r"\.layer\.(\d+)\.normalization\.", lambda m: f".bn{int(m[1]) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"^classifier\.1\.", "fc."),
)


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    if not any(".convolution." in name for name in tensors):
        return dict(tensors)
    renamed = {}
    for name, tensor in tensors.items():
        for pattern, replacement in _TRANSFORMERS:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


SPECS = {
    name: NetworkSpec(timm_name=name, stem="conv1", head="fc", rename=_rename)
    for name in ("resnet18", "resnet50", "resnet101")
}
