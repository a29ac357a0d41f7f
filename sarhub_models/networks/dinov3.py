"""Vision transformers of DINOv3 with register tokens and a rotary embedding, as DINOSAR trained them for radar.

timm's own, but for the number that its layer norms add to the variance (1e-6 here): timm's 1e-5 shows in the features.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import timm
import torch
from timm.layers import LayerNorm
from torch import nn

from ._spec import NetworkSpec, Tensors
from ._vit import SIDE, check_patches

_PATCH = 16
_COMPUTED = (".periods", ".bias_mask", "mask_token")  # by the network itself, or for the training alone


def _create(timm_name: str, pretrained: bool = False, **options: Any) -> nn.Module:
    settings = {"global_pool": "token", "norm_layer": partial(LayerNorm, eps=1e-6)}
    return timm.create_model(timm_name, pretrained, **{**settings, **options})


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Keys have no bias in this network: what the file holds for them is left out."""
    if "storage_tokens" not in tensors:
        return dict(tensors)
    renamed = {}
    for name, tensor in tensors.items():
        if name.endswith(_COMPUTED) or name.startswith("local_cls_norm."):
            continue
        if name.endswith("qkv.bias"):
            query, _, value = tensor.chunk(3)
            renamed[name.replace("qkv.bias", "q_bias")], renamed[name.replace("qkv.bias", "v_bias")] = query, value
            continue
        name = name.replace("storage_tokens", "reg_token")
        renamed[name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2")] = tensor
    return renamed


SPECS = {
    f"vit_{size}_patch16_dinov3": NetworkSpec(
        timm_name=f"sarhub_vit_{size}_patch16_dinov3",
        stem="patch_embed.proj",
        head="head",
        timm_args={"img_size": SIDE},
        rename=_rename,
        create=partial(_create, f"vit_{size}_patch16_dinov3_qkvb"),
        check=partial(check_patches, _PATCH),
    )
    for size in ("small", "base")
}
