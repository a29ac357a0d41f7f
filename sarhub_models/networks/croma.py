"""CROMA's radar encoder (Fuller et al., NeurIPS 2023): a vision transformer that knows where its patches are by ALiBi.

A released file also holds an encoder of Sentinel-2 and one that joins both: they need optical images and are not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import LayerNorm, Mlp
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn

from ._spec import NetworkSpec, Tensors
from ._vit import check_patches, create_vit

_PATCH, _SIDE = 8, 120
_HEADS = 16
_NORM = partial(LayerNorm, eps=1e-5)
_SIZES = {"base": (768, 6), "large": (1024, 12)}  # width, depth
_ENCODER, _POOLING = "s1_encoder.", "s1_GAP_FFN."
_LAYER = re.compile(r"s1_encoder\.transformer\.layers\.(\d+)\.([01]\..+)\.(weight|bias)")
_IN_LAYER = {
    "0.input_norm": "norm1",
    "0.to_qkv": "attn.qkv",
    "0.to_out": "attn.proj",
    "1.input_norm": "norm2",
    "1.net.0": "mlp.fc1",
    "1.net.3": "mlp.fc2",
}
_ELSEWHERE = {
    f"{_ENCODER}linear_input": "patch_embed.proj",
    f"{_ENCODER}transformer.norm_out": "norm",
    f"{_POOLING}0": "fc_norm.0",
    f"{_POOLING}1": "fc_norm.1.fc1",
    f"{_POOLING}3": "fc_norm.1.fc2",
}


class DistanceBias(nn.Module):
    """The attention's bias for two patches: their distance, times a number of the head (ALiBi in two dimensions).

    Args:
        grid: rows and columns of patches.
        heads: of the attention.
    """

    bias: torch.Tensor

    def __init__(self, grid: tuple[int, int], heads: int) -> None:
        super().__init__()
        self.grid, count = grid, grid[0] * grid[1]
        self.register_buffer("bias", torch.empty(heads, count, count), persistent=False)
        self.init_non_persistent_buffers()

    def init_non_persistent_buffers(self) -> None:
        """Compute the bias; called after a build without numbers, too."""
        if self.bias.is_meta:
            return
        places = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float64) for side in self.grid))
        heads = len(self.bias)
        slopes = 2.0 ** (-8 / heads * torch.arange(1, heads + 1, dtype=torch.float64))
        distance = (places[:, None] - places[None]).square().sum(-1).sqrt()
        self.bias.copy_(-slopes[:, None, None] * distance)


class DistanceBlock(Block):
    """timm's block; its attention is biased by the distances of the patches."""

    distances: DistanceBias

    def forward(self, x: torch.Tensor, **_: Any) -> torch.Tensor:
        """Return the tokens changed."""
        return super().forward(x, attn_mask=self.distances.bias.to(x.dtype))


class CromaViT(VisionTransformer):
    """CROMA's radar encoder; pooled are the mean of the tokens and two linear layers behind it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, block_fn=DistanceBlock, **options)
        distances = DistanceBias(self.patch_embed.grid_size, _HEADS)
        for block in self.blocks:
            block.distances = distances
        width = self.num_features
        self.fc_norm = nn.Sequential(_NORM(width), Mlp(width, 4 * width))


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Keep the radar encoder; its linear layer over (bands, rows, columns) of a patch becomes a convolution."""
    if f"{_ENCODER}linear_input.weight" not in tensors:
        return dict(tensors)
    renamed = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        if layer := _LAYER.fullmatch(name):
            renamed[f"blocks.{layer[1]}.{_IN_LAYER[layer[2]]}.{leaf}"] = tensor
        elif name.startswith((_ENCODER, _POOLING)):
            renamed[f"{_ELSEWHERE[module]}.{leaf}"] = tensor
    weight = renamed["patch_embed.proj.weight"]
    renamed["patch_embed.proj.weight"] = weight.reshape(len(weight), -1, _PATCH, _PATCH)
    return renamed


def _spec(size: str, width: int, depth: int) -> NetworkSpec:
    name = f"sarhub_croma_{size}"
    settings = {
        "patch_size": _PATCH,
        "embed_dim": width,
        "depth": depth,
        "num_heads": _HEADS,
        "qkv_bias": False,
        "class_token": False,
        "pos_embed": "none",
        "global_pool": "avg",
        "fc_norm": False,  # the norm comes before the mean
        "norm_layer": _NORM,
    }
    return NetworkSpec(
        timm_name=name,
        stem="patch_embed.proj",
        head="head",
        timm_args={"img_size": _SIDE},
        rename=_rename,
        create=partial(create_vit, name, settings, cls=CromaViT),
        check=partial(check_patches, _PATCH),
    )


SPECS = {f"croma_{size}": _spec(size, *numbers) for size, numbers in _SIZES.items()}
