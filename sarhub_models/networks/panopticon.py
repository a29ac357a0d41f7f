"""Panopticon (Waldmann et al., 2025) for Sentinel-1: a ViT-B/14 whose patches attend to their bands.

The network embeds each band alone, with one convolution for all, adds what it knows of the band (of radar: the
polarizations sent and received, and the orbit), and lets a query attend to the bands of a patch. The bands of a radar
are always the same, so what leads to the keys and values is one convolution a band here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ._spec import Tensors
from ._vit import SIDE, vit_spec

_PATCH = 14
_WIDTH, _HEADS = 2304, 16  # of the attention to the bands
_PARTS = ("transmit", "receive", "orbit")
_BANDS = ((0, 0), (0, 1))  # VV, VH: the polarizations sent and received, 0 for V
_PREFIX = "patch_embed."
_OFFSET = 0.1  # by which the authors' resampling of position embeddings is too large


class BandAttention(nn.Module):
    """Pixels become tokens, (B, C, H, W) to (B, width, H / 14, W / 14), by attention to the bands of each patch.

    Args:
        in_chans: bands.
        width: of the tokens.
    """

    def __init__(self, in_chans: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(_WIDTH + _HEADS, in_chans, _PATCH, _PATCH))
        self.bias = nn.Parameter(torch.zeros(_WIDTH + _HEADS, in_chans))
        self.out = nn.Linear(_WIDTH, width)
        nn.init.trunc_normal_(self.weight, std=_PATCH**-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map of tokens."""
        (outputs, bands), (batch, _, height, width) = self.bias.shape, x.shape
        kernels = self.weight.transpose(0, 1).reshape(bands * outputs, 1, _PATCH, _PATCH)
        x = F.conv2d(x, kernels, self.bias.t().reshape(-1), stride=_PATCH, groups=bands)
        height, width = height // _PATCH, width // _PATCH
        values, scores = x.view(batch, bands, outputs, height, width).split([_WIDTH, _HEADS], 2)
        shares = scores.softmax(1)[:, :, :, None]
        mixed = (values.reshape(batch, bands, _HEADS, -1, height, width) * shares).sum(1)
        return self.out(mixed.flatten(1, 2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PanopticonViT(VisionTransformer):
    """timm's vision transformer; its patches attend to their bands."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.patch_embed.proj = BandAttention(self.patch_embed.proj.in_channels, self.num_features)


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    if f"{_PREFIX}conv3d.conv3d.weight" not in tensors:
        return dict(tensors)
    renamed = {
        name: tensor for name, tensor in tensors.items() if not name.startswith(_PREFIX) and name != "mask_token"
    }
    embedding = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}
    renamed |= {f"{_PREFIX}proj.{leaf}": tensor for leaf, tensor in _fold(embedding).items()}
    renamed["pos_embed"] = _resample(tensors["pos_embed"])
    return renamed


def _fold(embedding: Tensors) -> Tensors:
    """Return the convolutions to values and scores, in double precision until they are rounded.

    Args:
        embedding: tensors of the patch embedding of a release, without their prefix.
    """
    conv, conv_bias = (embedding[f"conv3d.conv3d.{leaf}"].double() for leaf in ("weight", "bias"))
    sent, received, orbit = (embedding[f"chnfus.chnemb.embed_{part}"].double() for part in _PARTS)
    known = torch.stack([torch.cat([sent[s], received[r], orbit.mean(0)]) for s, r in _BANDS], 1)
    query = embedding["chnfus.query"].double().view(_HEADS, 1, -1) * (_WIDTH / _HEADS) ** -0.5
    keys, values = (embedding[f"chnfus.xattn.inproj_{part}.weight"].double() for part in "kv")
    layers = torch.cat([values, (query @ keys.view(_HEADS, -1, _WIDTH)).squeeze(1)])
    weight = (layers @ conv.flatten(1)).view(-1, 1, _PATCH, _PATCH)
    return {
        "weight": weight.float().repeat(1, len(_BANDS), 1, 1),
        "bias": (layers @ (conv_bias[:, None] + known)).float(),
        "out.weight": embedding["proj.weight"],
        "out.bias": embedding["proj.bias"],
    }


def _resample(table: torch.Tensor) -> torch.Tensor:
    """Return the position embeddings at the size of the pre-training's images, as the authors' code resamples them."""
    side, wanted = math.isqrt(table.shape[1] - 1), SIDE // _PATCH
    if side == wanted:
        return table
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2).float()
    found = F.interpolate(grid, scale_factor=(wanted + _OFFSET) / side, mode="bicubic")
    return torch.cat([table[:, :1], found.permute(0, 2, 3, 1).flatten(1, 2).to(table.dtype)], 1)


SPECS = {
    "panopticon_base": vit_spec(
        "sarhub_panopticon_base",
        _PATCH,
        settings={"init_values": 1e-5, "norm_layer": partial(LayerNorm, eps=1e-6)},
        rename=_rename,
        cls=PanopticonViT,
        by_band=(f"{_PREFIX}proj.bias",),
    )
}
