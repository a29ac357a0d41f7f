"""Vision transformers: timm's own (Dosovitskiy et al., ICLR 2021), for 224x224 pixels, patches of 16 or 14.

The two with layer scale are those of DINOv2, at the image size that radar weights for them were trained at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed

from ..errors import OptionError
from ._spec import NetworkSpec, Tensors

_SIZE = 224
_CLASS_TOKENS = 1


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Give encoders that were released without the final norm its initial values: it then only standardizes."""
    renamed = dict(tensors)
    width = tensors.get("blocks.0.norm1.weight")
    if width is not None and "norm.weight" not in tensors and "norm.bias" not in tensors:
        renamed["norm.weight"], renamed["norm.bias"] = torch.ones_like(width), torch.zeros_like(width)
    return renamed


def _check(patch: int, options: Mapping[str, Any]) -> None:
    size = options["img_size"]
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < patch or height % patch or width % patch:
        raise OptionError(f"img_size {height}x{width}: both sides must be multiples of {patch}, the size of a patch")


def _fit(patch: int, tensors: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> Tensors:
    """Resample the position embeddings to the image size that the network is built for."""
    size = options["img_size"]
    height, width = (size, size) if isinstance(size, int) else size
    grid = [height // patch, width // patch]
    embedding = tensors["pos_embed"]
    if embedding.shape[1] == grid[0] * grid[1] + _CLASS_TOKENS:
        return dict(tensors)
    return {**tensors, "pos_embed": resample_abs_pos_embed(embedding, grid, num_prefix_tokens=_CLASS_TOKENS)}


def _spec(timm_name: str, patch: int) -> NetworkSpec:
    return NetworkSpec(
        timm_name=timm_name,
        stem="patch_embed.proj",
        head="head",
        timm_args={"img_size": _SIZE},
        rename=_rename,
        check=lambda options: _check(patch, options),
        fit=lambda tensors, options: _fit(patch, tensors, options),
    )


SPECS = {
    "vit_small_patch16": _spec("vit_small_patch16_224", 16),
    "vit_base_patch16": _spec("vit_base_patch16_224", 16),
    "vit_large_patch16": _spec("vit_large_patch16_224", 16),
    "vit_huge_patch14": _spec("vit_huge_patch14_224", 14),
    "vit_small_patch14_dinov2": _spec("vit_small_patch14_dinov2", 14),
    "vit_base_patch14_dinov2": _spec("vit_base_patch14_dinov2", 14),
}
