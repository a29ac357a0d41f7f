"""DOFA (Xiong et al., 2024) and Copernicus-FM (Wang et al., ICCV 2025) for Sentinel-1, as plain vision transformers.

Both make their first convolution from the wavelengths of the bands, and pad it by a pixel. Copernicus-FM also adds what
it knows of place, date and size of a pixel to the position embeddings: here nothing is known of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer

from ._spec import Tensors
from ._spectral import patch_convolution
from ._vit import vit_spec

_PATCH = 16
_CODE = 128  # width of the encoding of a wavelength
_DOFA_WAVELENGTH = 3.75  # of both bands: what DOFA's authors call Sentinel-1 in the release of these weights
_COPERNICUS_WAVELENGTH, _COPERNICUS_BANDWIDTH = 5e7, 1e9  # nm
_UNKNOWN = ("coord", "scale", "time")
_OF_TRAINING = ("mask_token", "norm.", "projector.", "patch_embed_variable.", "decoder_")


class PaddedViT(VisionTransformer):
    """timm's vision transformer; the convolution of its patches has a border of one pixel."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.patch_embed.proj.padding = (1, 1)


def _dofa_code() -> torch.Tensor:
    steps = torch.arange(_CODE // 2, dtype=torch.float32, device="cpu") / (_CODE / 2)
    angles = torch.full((2, 1), _DOFA_WAVELENGTH * 1000, device="cpu") * (1.0 / 10000**steps)
    return torch.cat([angles.sin(), angles.cos()], 1)


def _copernicus_code() -> torch.Tensor:
    code = torch.zeros(2, _CODE, device="cpu")
    for value, lowest in ((_COPERNICUS_WAVELENGTH, 100), (_COPERNICUS_BANDWIDTH, 1)):
        waves = torch.logspace(math.log10(lowest), 9, _CODE // 2, dtype=torch.float64, device="cpu")
        angles = torch.full((2, 1), value, dtype=torch.float64, device="cpu") * (2 * math.pi / waves)
        code += torch.cat([angles.sin(), angles.cos()], 1).float()
    return code


def _rename(prefix: str, code: Callable[[], torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Make the convolution, and position embeddings that hold what is not known of an image.

    The norm of the pooled features, which pre-training has not, gets its initial values.
    """
    if f"{prefix}weight_generator.fc_weight.weight" not in tensors:
        return dict(tensors)
    embedding = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    of_training = (*_OF_TRAINING, "head.") if "mask_token" in tensors else _OF_TRAINING  # whose head is none of classes
    left_out = (prefix, "patch_embed", *of_training)
    renamed = {name: tensor for name, tensor in tensors.items() if not name.startswith(left_out)}
    for leaf, tensor in patch_convolution(embedding, code(), _PATCH).items():
        renamed[f"patch_embed.proj.{leaf}"] = tensor
    for kind in _UNKNOWN:
        if f"{kind}_token" in renamed:
            token, weight, bias = (renamed.pop(f"{kind}_{part}") for part in ("token", "fc.weight", "fc.bias"))
            renamed["pos_embed"] = renamed["pos_embed"] + F.linear(token, weight, bias)
    width = tensors["cls_token"][0, 0]
    renamed.setdefault("fc_norm.weight", torch.ones_like(width))
    renamed.setdefault("fc_norm.bias", torch.zeros_like(width))
    return renamed


def _settings(width: int, depth: int, heads: int, eps: float) -> dict[str, Any]:
    return {
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "global_pool": "avg",
        "norm_layer": partial(LayerNorm, eps=eps),
    }


_DOFA = partial(_rename, "patch_embed.", _dofa_code)
_COPERNICUS = partial(_rename, "patch_embed_spectral.", _copernicus_code)
SPECS = {
    name: replace(
        vit_spec(f"sarhub_{name}", _PATCH, settings=_settings(*numbers), rename=rename, cls=PaddedViT),
        shared_names=True,
    )
    for name, numbers, rename in (
        ("dofa_base", (768, 12, 12, 1e-6), _DOFA),
        ("dofa_large", (1024, 24, 16, 1e-6), _DOFA),
        ("copernicusfm_base", (768, 12, 12, 1e-5), _COPERNICUS),
    )
}
