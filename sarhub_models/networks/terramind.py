"""TerraMind's encoder for one kind of image, as a plain vision transformer (Jakubik et al., 2025).

A released file holds embeddings for many sensors; those of one of them are folded into the convolution and the position
embeddings of timm's network. With other sensors beside radar, TerraMind reads their tokens together: that is not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import LayerNorm, SwiGLU
from torch import nn

from ._spec import Tensors
from ._vit import vit_spec

_PATCH = 16
_KINDS = {"s1grd": "untok_sen1grd@224", "s1rtc": "untok_sen1rtc@224"}
# Width, depth, heads, and whether the layers are gated ones without biases.
_SIZES = {
    "tiny": (192, 12, 3, False),
    "small": (384, 12, 6, False),
    "base": (768, 12, 12, True),
    "large": (1024, 24, 16, True),
}


def _settings(width: int, depth: int, heads: int, gated: bool) -> dict[str, Any]:
    plain = {
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "class_token": False,
        "global_pool": "avg",
        "fc_norm": False,  # the norm comes before the mean
        "norm_layer": partial(LayerNorm, eps=1e-6),
    }
    if not gated:
        return plain
    hidden = int(2 * (4 * width) / 3)
    return {
        **plain,
        "qkv_bias": False,
        "proj_bias": False,
        "mlp_ratio": (hidden + 0.5) / width,  # timm rounds down
        "mlp_layer": partial(SwiGLU, bias=False),
        "act_layer": nn.SiLU,
    }


def _rename(kind: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """The linear layer over (rows, columns, bands) of a patch becomes a convolution; its bias is what marks the sensor.

    Norms have no bias in the release: theirs is 0.
    """
    embedding = f"encoder_embeddings.{kind}."
    if f"{embedding}proj.weight" not in tensors:
        return dict(tensors)
    weight = tensors[f"{embedding}proj.weight"]
    renamed = {
        "patch_embed.proj.weight": weight.reshape(len(weight), _PATCH, _PATCH, -1).permute(0, 3, 1, 2).contiguous(),
        "patch_embed.proj.bias": tensors[f"{embedding}mod_emb"].flatten(),
        "pos_embed": tensors[f"{embedding}pos_emb"],
    }
    for name, tensor in tensors.items():
        if layer := re.fullmatch(r"encoder(\.\d+\..+)", name):
            renamed[f"blocks{layer[1]}"] = tensor
        elif name.startswith("encoder_norm."):
            renamed[name.removeprefix("encoder_")] = tensor
    if any(".mlp.fc3." in name for name in renamed):
        gates = {".mlp.fc1.": ".mlp.fc1_g.", ".mlp.fc3.": ".mlp.fc1_x."}
        for name in [name for name in renamed if re.search(r"\.mlp\.fc[13]\.", name)]:
            tensor = renamed.pop(name)
            renamed[re.sub(r"\.mlp\.fc[13]\.", lambda m: gates[m[0]], name)] = tensor
    for name in [name for name in renamed if re.search(r"norm\d?\.weight$", name)]:
        renamed.setdefault(name.replace("weight", "bias"), torch.zeros_like(renamed[name]))
    return renamed


SPECS = {
    f"terramind_{size}_{kind}": vit_spec(
        f"sarhub_terramind_{size}_{kind}",
        _PATCH,
        settings=_settings(*numbers),
        prefix=0,
        rename=partial(_rename, embedding),
    )
    for size, numbers in _SIZES.items()
    for kind, embedding in _KINDS.items()
}
