"""OlmoEarth v1 (Ai2, 2025) for one Sentinel-1 image, as a plain vision transformer.

The network adds to each token what it knows of it: sensor, date, and place in the image. Of one radar image all of that
is fixed but the month. With other sensors or dates beside it, OlmoEarth reads all tokens together: that is not here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..errors import OptionError
from ._spec import NetworkSpec, Tensors
from ._vit import check_patches, create_vit

_PATCH, _SIDE = 8, 128
_MONTHS = 12
_SIZES = {
    "nano": (128, 4, 8),
    "tiny": (192, 12, 3),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}  # width depth heads
_EMBEDDING = "encoder.patch_embeddings.per_modality_embeddings.sentinel1.sentinel1__0.proj."
_SENSOR = "encoder.composite_encodings.per_modality_channel_embeddings.sentinel1"
_BLOCK = re.compile(r"encoder\.(blocks\.\d+\.(?:norm\d|mlp\.fc\d|attn\.proj)\.(?:weight|bias)|norm\.(?:weight|bias))")
_ATTENTION = re.compile(r"encoder\.(blocks\.\d+\.attn\.)q\.(weight|bias)")


class ResizedConv(nn.Conv2d):
    """The convolution of the patches; patches of fewer than 8 pixels are enlarged to 8 before it.

    Args:
        in_chans: channels of the image.
        width: of the tokens.
        patch: pixels a side of a patch.
    """

    def __init__(self, in_chans: int, width: int, patch: int) -> None:
        super().__init__(in_chans, width, _PATCH, _PATCH)
        self.patch = patch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map of tokens."""
        if self.patch != _PATCH:
            height, width = (side // self.patch * _PATCH for side in x.shape[-2:])
            # In float32: for shorter numbers torch has no such kernel on every device.
            x = F.interpolate(x.float(), (height, width), mode="bicubic", antialias=True).to(x.dtype)
        return super().forward(x)


class OlmoEarthViT(VisionTransformer):
    """OlmoEarth's encoder of one Sentinel-1 image with pixels of 10 m; pooled is the mean of the tokens.

    Args:
        *args: for timm's class.
        patch_size: pixels a side of a patch, 1 to 8; 8 is what the convolution was made for. Smaller ones take longer
            and, as the authors say, generally do better.
        month: of the image, 1 to 12.
        **options: for timm's class.
    """

    encoding: torch.Tensor

    def __init__(self, *args: Any, patch_size: int = _PATCH, month: int = 1, **options: Any) -> None:
        super().__init__(*args, patch_size=patch_size, **options)
        self.patch, self.month = patch_size, month
        self.patch_embed.proj = ResizedConv(self.patch_embed.proj.in_channels, self.num_features, patch_size)
        shape = (1, self.patch_embed.num_patches, self.num_features)
        self.register_buffer("encoding", torch.empty(shape), persistent=False)
        self.init_non_persistent_buffers()

    def init_non_persistent_buffers(self) -> None:
        """Compute what is added for month and place; called after a build without numbers, too."""
        if self.encoding.is_meta:
            return
        quarter = self.num_features // 4
        angle = torch.full((quarter // 2,), (self.month - 1) * 2 * math.pi / _MONTHS)
        rows, columns = (torch.arange(side) for side in self.patch_embed.grid_size)
        places = torch.cartesian_prod(rows, columns) * self.patch
        self.encoding.zero_()
        self.encoding[..., 2 * quarter : 3 * quarter] = torch.cat([angle.sin(), angle.cos()])
        self.encoding[0, :, 3 * quarter :] = torch.cat([_waves(places[:, axis], quarter // 2) for axis in (1, 0)], 1)

    def _pos_embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.pos_drop(x + self.encoding)


def _waves(places: torch.Tensor, width: int) -> torch.Tensor:
    """Return sines and cosines of places, (N, width); the frequencies fall from 1 to a tenth."""
    frequencies = 1.0 / 10000 ** (torch.arange(width // 2) / width / 2.0)
    angles = places[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Keep the encoder's part for Sentinel-1; what it adds for the sensor and the first date goes to the bias."""
    if f"{_EMBEDDING}weight" not in tensors:
        return dict(tensors)
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        if plain := _BLOCK.fullmatch(name):
            renamed[plain[1]] = tensor
        elif first := _ATTENTION.fullmatch(name):
            parts = [tensors[f"encoder.{first[1]}{part}.{first[2]}"] for part in "qkv"]
            renamed[f"{first[1]}qkv.{first[2]}"] = torch.cat(parts)
    sensor, bias = tensors[_SENSOR][0], tensors[f"{_EMBEDDING}bias"].clone()
    quarter = len(sensor)
    bias[:quarter] += sensor
    bias[quarter + quarter // 2 : 2 * quarter] += 1  # the cosines of date 0, whose sines are 0
    renamed |= {"patch_embed.proj.weight": tensors[f"{_EMBEDDING}weight"], "patch_embed.proj.bias": bias}
    return renamed


def _check(options: Mapping[str, Any]) -> None:
    patch, month = options.get("patch_size", _PATCH), options.get("month", 1)
    if patch not in range(1, _PATCH + 1):
        raise OptionError(f"patch_size must be 1 to {_PATCH}, got {patch!r}")
    if month not in range(1, _MONTHS + 1):
        raise OptionError(f"month must be 1 to {_MONTHS}, got {month!r}")
    check_patches(patch, options)


def _spec(size: str, width: int, depth: int, heads: int) -> NetworkSpec:
    name = f"sarhub_olmoearth_{size}"
    settings = {
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "class_token": False,
        "pos_embed": "none",
        "global_pool": "avg",
        "fc_norm": False,  # the norm comes before the mean
        "norm_layer": partial(LayerNorm, eps=1e-5),
    }
    return NetworkSpec(
        timm_name=name,
        stem="patch_embed.proj",
        head="head",
        timm_args={"img_size": _SIDE},
        rename=_rename,
        create=partial(create_vit, name, settings, cls=OlmoEarthViT),
        check=_check,
    )


SPECS = {f"olmoearth_{size}": _spec(size, *numbers) for size, numbers in _SIZES.items()}
