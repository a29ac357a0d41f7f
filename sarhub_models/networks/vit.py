"""Vision transformers: timm's own (Dosovitskiy et al., ICLR 2021), for 224x224 pixels, patches of 16 or 14.

The two with layer scale are those of DINOv2, at the image size that radar weights for them were trained at; the one
with patches of 8 is for the 120x120 pixels of BigEarthNet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from ._smarties import fold_spectrum
from ._spec import Tensors
from ._vit import vit_spec

# What the pre-training of masked auto-encoders leaves in a file, beside the encoder.
_OF_AUTOENCODER = re.compile(r"mask_token$|decoder_|optical_encoder\.|sar_alignment_ffn\.")
_RADAR = "sar_encoder."  # of two encoders in one file (SARMAE's training), the one for radar


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Keep the encoder of an auto-encoder's file.

    One that was released without the final norm gets its initial values: it then only standardizes.
    """
    renamed = {
        name.removeprefix(_RADAR): tensor
        for name, tensor in fold_spectrum(tensors).items()
        if not _OF_AUTOENCODER.match(name.removeprefix(_RADAR))
    }
    width = renamed.get("blocks.0.norm1.weight")
    mean_pooled = "fc_norm.weight" in renamed  # a network without this norm, which these files must not be taken for
    if width is not None and not mean_pooled and "norm.weight" not in renamed and "norm.bias" not in renamed:
        renamed["norm.weight"], renamed["norm.bias"] = torch.ones_like(width), torch.zeros_like(width)
    return renamed


SPECS = {
    "vit_small_patch16": vit_spec("vit_small_patch16_224", 16, rename=_rename),
    "vit_base_patch16": vit_spec("vit_base_patch16_224", 16, rename=_rename),
    "vit_large_patch16": vit_spec("vit_large_patch16_224", 16, rename=_rename),
    "vit_huge_patch14": vit_spec("vit_huge_patch14_224", 14, rename=_rename),
    "vit_small_patch14_dinov2": vit_spec("vit_small_patch14_dinov2", 14, rename=_rename),
    "vit_base_patch14_dinov2": vit_spec("vit_base_patch14_dinov2", 14, rename=_rename),
    "vit_base_patch8": vit_spec("vit_base_patch8_224", 8, side=120, rename=_rename),
}
