"""Swin-T and Swin-B with window 4 for 128x128 chips: timm's Swin (Liu et al., ICCV 2021)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from ..errors import OptionError
from ._spec import NetworkSpec, Tensors

_WINDOW = 4
_PATCH = 4
_SMALLEST = _WINDOW * _PATCH * 2**3  # three halvings lead to the last stage


def _check(options: Mapping[str, Any]) -> None:
    if "output_stride" in options:
        raise OptionError("Swin merges patches between its stages and cannot be dilated: leave output_stride out")
    size = options["img_size"]
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < _SMALLEST:
        # Below it timm would shrink the windows of the last stages, and resize their trained bias tables.
        raise OptionError(
            f"img_size {height}x{width} is too small: the trained windows need at least {_SMALLEST}x{_SMALLEST} "
            "pixels; resize the chips"
        )
    if options["window_size"] != _WINDOW:
        raise OptionError(f"window_size {options['window_size']}: the attention windows were trained at {_WINDOW}")
    if height % _PATCH or width % _PATCH:
        raise OptionError(f"img_size {height}x{width}: both sides must be multiples of {_PATCH}")


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Released files downsample at the end of a stage, timm at the start of the next; index tables are recomputed."""
    if "layers.0.downsample.reduction.weight" not in tensors:
        return dict(tensors)
    renamed = {}
    for name, tensor in tensors.items():
        if name.endswith(("relative_position_index", "attn_mask")):
            continue
        name = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", name)
        renamed[re.sub(r"^head\.(weight|bias)$", r"head.fc.\1", name)] = tensor
    return renamed


def _spec(timm_name: str) -> NetworkSpec:
    return NetworkSpec(
        timm_name=timm_name,
        stem="patch_embed.proj",
        head="head.fc",
        timm_args={"img_size": 128, "window_size": _WINDOW},
        rename=_rename,
        check=_check,
    )


SPECS = {"swin_t": _spec("swin_tiny_patch4_window7_224"), "swin_b": _spec("swin_base_patch4_window7_224")}
