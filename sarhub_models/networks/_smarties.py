"""The key map of SMARTIES' released files (Sumbul et al., ICCV 2025), for Sentinel-1 a plain vision transformer."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ._spec import Tensors

_PATCH = 16
_BANDS = (15, 16)  # VV, VH among the linear layers of the file, of which it has one for each band of many sensors
_SCALE = 12  # of the mean over the bands


def fold_spectrum(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors with one convolution for VV and VH in place of the linear layers; others as they are."""
    layers = [f"spectrum_projection.spectrum_embeds.{band}.proj." for band in _BANDS]
    if f"{layers[0]}weight" not in tensors:
        return dict(tensors)
    share = _SCALE / len(_BANDS)
    weights = [tensors[f"{layer}weight"].reshape(-1, _PATCH, _PATCH) for layer in layers]
    biases = [tensors[f"{layer}bias"] for layer in layers]
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("spectrum_projection.")}
    return {
        **rest,
        "patch_embed.proj.weight": torch.stack(weights, 1) * share,
        "patch_embed.proj.bias": torch.stack(biases).sum(0) * share,
    }
