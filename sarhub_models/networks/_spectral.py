"""Convolutions that a network makes from the wavelengths of its input, made once for the bands of Sentinel-1.

DOFA and Copernicus-FM hold no weights for a band: a small transformer turns an encoding of each wavelength into them.
The bands of a radar are always the same, so what it returns for them is the weight of a plain convolution.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ._spec import Tensors

_WIDTH, _HEADS, _HIDDEN, _TOKENS = 128, 4, 2048, 128
_SCALE = 0.01
_GENERATOR = "weight_generator."


def patch_convolution(tensors: Mapping[str, torch.Tensor], encoding: torch.Tensor, patch: int) -> Tensors:
    """Return weight (D, C, patch, patch) and bias (D,) that the transformer makes.

    Args:
        tensors: of the patch embedding of a release, without their prefix.
        encoding: of the wavelength of each band, (C, 128).
        patch: pixels a side of a patch.
    """
    generator = {name.removeprefix(_GENERATOR): t for name, t in tensors.items() if name.startswith(_GENERATOR)}
    prefix = "transformer_encoder.layers.0."
    layer = {name.removeprefix(prefix): t for name, t in generator.items() if name.startswith(prefix)}
    encoder = nn.TransformerEncoderLayer(_WIDTH, _HEADS, _HIDDEN, dropout=0.0, activation="gelu", device="meta")
    encoder.load_state_dict(layer, assign=True)
    with torch.no_grad():
        encoding = encoding.to(layer["linear1.weight"].device)
        hidden = F.relu(F.linear(encoding, tensors["fclayer.w1.weight"], tensors["fclayer.w1.bias"]))
        waves = encoding + F.relu(F.linear(hidden, tensors["fclayer.w2.weight"], tensors["fclayer.w2.bias"]))
        tokens = encoder(torch.cat([generator["weight_tokens"], waves, generator["bias_token"]]))
        made = F.linear(tokens[_TOKENS:-1] + waves, generator["fc_weight.weight"], generator["fc_weight.bias"])
        bias = F.linear(tokens[-1], generator["fc_bias.weight"], generator["fc_bias.bias"])
        weight = made.view(len(encoding), patch, patch, -1).permute(3, 0, 1, 2).contiguous()
    return {"weight": weight * _SCALE, "bias": bias * _SCALE}
