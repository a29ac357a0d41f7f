"""MobileNetV3-Small as SAR-HUB trained it: timm's MobileNetV3 with the activation behind squeeze-and-excitation.

timm (and torchvision) put the activation before the gate; the released weights were trained with the gate between the
depthwise batch norm and the activation (Howard et al., Searching for MobileNetV3, ICCV 2019, leave the order open).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from timm.layers import create_act_layer
from timm.models import build_model_with_cfg
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from timm.models._efficientnet_builder import decode_arch_def, resolve_act_layer, round_channels
from timm.models.mobilenetv3 import MobileNetV3
from torch import nn

from ..errors import OptionError
from ._spec import NetworkSpec, Tensors

# One row a stage, in timm's notation: r repeats, k kernel, s stride, e expansion, c channels, se gate, nre = ReLU.
_STAGES = [
    ["ds_r1_k3_s2_e1_c16_se0.25_nre"],
    ["ir_r1_k3_s2_e4.5_c24_nre", "ir_r1_k3_s1_e3.67_c24_nre"],
    ["ir_r1_k5_s2_e4_c40_se0.25", "ir_r2_k5_s1_e6_c40_se0.25"],
    ["ir_r2_k5_s1_e3_c48_se0.25"],
    ["ir_r3_k5_s2_e6_c96_se0.25"],
    ["cn_r1_k1_s1_c576"],
]
# Released block i (features.i) is our block …
_BLOCKS = {
    1: "0.0",
    2: "1.0",
    3: "1.1",
    4: "2.0",
    5: "2.1",
    6: "2.2",
    7: "3.0",
    8: "3.1",
    9: "4.0",
    10: "4.1",
    11: "4.2",
}


class GatedActivation(SqueezeExcite):
    """Squeeze-and-excitation, then the block's activation; (B, C, H, W) in and out."""

    def __init__(self, in_chs: int, act_layer: type[nn.Module], **kwargs: Any) -> None:
        super().__init__(
            in_chs,
            act_layer=act_layer,
            gate_layer="hard_sigmoid",
            force_act_layer=nn.ReLU,
            rd_round_fn=round_channels,
            **kwargs,
        )
        self.act2 = create_act_layer(act_layer, inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Gate the channels of ``x`` and activate."""
        return self.act2(super().forward(x))


class MobileNetV3Small(MobileNetV3):
    """MobileNetV3-Small; input (B, in_chans, H, W) float, output (B, num_classes) logits.

    ``forward_features`` gives (B, 576, H/32, W/32), the pre-logits are 1024 wide.

    Args:
        output_stride: 32; with 16 or 8 the maps get no smaller than this, and the depthwise convolutions are dilated.
        **kwargs: timm's.
    """

    def __init__(self, output_stride: int = 32, **kwargs: Any) -> None:
        if output_stride not in (32, 16, 8):
            raise OptionError(f"expected output_stride 32, 16 or 8, got {output_stride}")
        kwargs.setdefault("drop_rate", 0.2)
        super().__init__(
            block_args=decode_arch_def(_STAGES),
            num_features=1024,
            stem_size=16,
            act_layer=resolve_act_layer({}, "hard_swish"),
            se_layer=GatedActivation,
            **kwargs,
        )
        for module in self.modules():
            # The gated blocks activate behind the gate only. (The first, depthwise-separable block activates before it
            # too, as released: its activation is a ReLU, which a second time changes nothing.)
            if isinstance(module, InvertedResidual) and isinstance(module.se, GatedActivation):
                module.bn2.act = nn.Identity()
        self._dilate(output_stride)

    def _dilate(self, output_stride: int) -> None:
        """Let the depthwise convolutions that would stride beyond ``output_stride`` not do so, and dilate the next."""
        stride, dilation = 2, 1  # behind the stem
        for conv in (module for name, module in self.blocks.named_modules() if name.endswith("conv_dw")):
            step = conv.stride[0]
            conv.dilation = (dilation, dilation)
            conv.padding = (dilation * (conv.kernel_size[0] // 2),) * 2
            if stride * step > output_stride:
                conv.stride, dilation = (1, 1), dilation * step
            else:
                stride *= step
        for feature in self.feature_info:
            feature["reduction"] = min(feature["reduction"], output_stride)


def _create(pretrained: bool = False, **options: Any) -> nn.Module:
    # The features of a stage are the outputs of its blocks, which timm reads off through forward_intermediates.
    return build_model_with_cfg(
        MobileNetV3Small,
        "sarhub_mobilenetv3",
        pretrained,
        feature_cfg={"feature_cls": "getter"},
        **options,
    )


# … and its layers are, in the first (depthwise-separable) block and in the others (inverted residuals):
_FIRST = {
    "0": "conv_dw",
    "1": "bn1",
    "3.fc.0": "se.conv_reduce",
    "3.fc.2": "se.conv_expand",
    "4": "conv_pw",
    "5": "bn2",
}
_LATER = {
    "0": "conv_pw",
    "1": "bn1",
    "3": "conv_dw",
    "4": "bn2",
    "5.fc.0": "se.conv_reduce",
    "5.fc.2": "se.conv_expand",
    "7": "conv_pwl",
    "8": "bn3",
}
_OTHERS = {
    "features.0.0": "conv_stem",
    "features.0.1": "bn1",
    "conv.0": "blocks.5.0.conv",
    "conv.1": "blocks.5.0.bn1",
    "classifier.0": "conv_head",
    "classifier.3": "classifier",
}


def _new_name(module: str) -> str:
    if block := re.fullmatch(r"features\.(\d+)\.conv\.(.+)", module):
        layers = _FIRST if block[1] == "1" else _LATER
        if int(block[1]) in _BLOCKS and block[2] in layers:
            return f"blocks.{_BLOCKS[int(block[1])]}.{layers[block[2]]}"
    return _OTHERS.get(module, module)


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """The linear layers of the gates and of the head become the 1x1 convolutions they are equal to."""
    if "features.0.0.weight" not in tensors:
        return dict(tensors)
    renamed = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        linear = leaf == "weight" and tensor.ndim == 2 and module != "classifier.3"
        renamed[f"{_new_name(module)}.{leaf}"] = tensor[:, :, None, None] if linear else tensor
    return renamed


SPECS = {
    "mobilenetv3": NetworkSpec(
        timm_name="sarhub_mobilenetv3",
        stem="conv_stem",
        head="classifier",
        rename=_rename,
        create=_create,
        # timm's draws a classifier for a thousand classes: with a dozen, the first logits are so large that training on
        # a few thousand patches is erratic.
        torch_init=True,
        lookalike="timm's mobilenetv3_small_100",  # which activates behind the gate of a block, not before it
    )
}
