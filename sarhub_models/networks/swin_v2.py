"""Swin Transformer v2 B as torchvision builds it (Liu et al., CVPR 2022), with the methods of timm's networks.

timm has Swin v2, too, but pads and shifts other windows where the feature map is no multiple of 8; weights that were
trained with torchvision's network are right only there.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import build_model_with_cfg
from torch import nn
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

from ..errors import OptionError
from ._spec import NetworkSpec

_WIDTH = 128
_DEPTHS = (2, 2, 18, 2)
_STAGES = (1, 3, 5, 7)  # of torchvision's list of layers; between them are the ones that halve the resolution


class SwinV2B(SwinTransformer):
    """Swin v2 B; input (B, in_chans, H, W) float of any size, output (B, num_classes) logits.

    ``forward_features`` gives (B, H/32, W/32, 1024), the pre-logits are 1024 wide.

    Args:
        num_classes: outputs of the head; 0 leaves it out.
        in_chans: channels of the input.
        drop_rate: dropout in the blocks.
        drop_path_rate: share of residual paths that are dropped in training, growing with depth; torchvision's 0.5.
        depths: blocks of each stage.
        global_pool: ``"avg"``, the only one.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.5,
        depths: tuple[int, ...] = _DEPTHS,
        global_pool: str = "avg",
    ) -> None:
        if global_pool != "avg":
            raise OptionError(f"swin_v2_b pools by the average, got global_pool={global_pool!r}")
        super().__init__(
            patch_size=[4, 4],
            embed_dim=_WIDTH,
            depths=list(depths),
            num_heads=[4, 8, 16, 32],
            window_size=[8, 8],
            dropout=drop_rate,
            stochastic_depth_prob=drop_path_rate,
            num_classes=max(num_classes, 1),  # torchvision has no network without a head
            block=SwinTransformerBlockV2,
            downsample_layer=PatchMergingV2,
        )
        if in_chans != 3:
            self.features[0][0] = nn.Conv2d(in_chans, _WIDTH, kernel_size=4, stride=4)
        self.output_fmt = "NHWC"  # of the maps, for what timm makes of them
        self.num_features = self.head_hidden_size = _WIDTH * 2 ** (len(depths) - 1)
        self.feature_info = [
            {"num_chs": _WIDTH * 2**stage, "reduction": 4 * 2**stage, "module": f"features.{layer}"}
            for stage, layer in enumerate(_STAGES)
        ]
        self.num_classes = num_classes
        if num_classes == 0:
            self.head = nn.Identity()

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str = "avg") -> None:
        """Put an untrained head in place of the one there; 0 classes remove it."""
        self.num_classes = num_classes
        head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        if isinstance(head, nn.Linear):
            nn.init.trunc_normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)
        self.head = head  # type: ignore[assignment]

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalized feature map, (B, H/32, W/32, 1024)."""
        return self.norm(self.features(x))

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Pool a feature map and, unless ``pre_logits``, apply the head."""
        pooled = self.flatten(self.avgpool(self.permute(x)))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, or the pooled features where there is no head."""
        return self.forward_head(self.forward_features(x))


def _create(pretrained: bool = False, **options: Any) -> nn.Module:
    if "img_size" in options:
        raise OptionError("swin_v2_b takes images of any size: leave img_size out")
    return build_model_with_cfg(
        SwinV2B,
        "sarhub_swin_v2_b",
        pretrained,
        feature_cfg={"flatten_sequential": True, "out_indices": tuple(range(len(_STAGES)))},
        **options,
    )


SPECS = {
    "swin_v2_b": NetworkSpec(timm_name="sarhub_swin_v2_b", stem="features.0.0", head="head", create=_create),
}
