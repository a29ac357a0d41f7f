"""Detectors of torchvision over a network whose stages form a pyramid."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelP6P7

from .. import networks

__all__ = ["build_detector"]

_CHANNELS = 256  # of the pyramid, as in both papers
_SCORE, _MOST = 0.05, 300  # boxes with a lower score are left out, and so are more of an image
_STRIDES = (8, 16, 32)
_SIZES = (16, 32, 64, 128, 256)  # of RetinaNet's anchors; ships are smaller than what photographs show


class Backbone(nn.Module):
    """A network with a feature pyramid, as torchvision's detectors take it.

    Args:
        network: one of ``list_networks()``.
        in_chans: channels of the input.
        options: of the network.
    """

    def __init__(self, network: str, in_chans: int, options: Mapping[str, Any]) -> None:
        super().__init__()
        body: Any = networks.build(network, num_classes=0, in_chans=in_chans, features_only=True, **options)
        scales, channels = list(body.feature_info.reduction()), list(body.feature_info.channels())
        self.body = body
        self.levels = [scales.index(stride) for stride in _STRIDES]
        self.channels_last = getattr(body, "output_fmt", None) == "NHWC"
        widths = [channels[level] for level in self.levels]
        self.fpn = FeaturePyramidNetwork(widths, _CHANNELS, LastLevelP6P7(_CHANNELS, _CHANNELS))
        self.out_channels = _CHANNELS

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return maps (B, 256, H / s, W / s) for the strides s from 8 to 128."""
        maps = self.body(x)
        chosen = [maps[level].permute(0, 3, 1, 2) if self.channels_last else maps[level] for level in self.levels]
        found: dict[str, Tensor] = self.fpn(OrderedDict((str(index), one) for index, one in enumerate(chosen)))
        return found


def build_detector(
    network: str, decoder: str, *, num_classes: int, in_chans: int, side: int, options: Mapping[str, Any]
) -> nn.Module:
    """Build a detector without weights: FCOS (Tian et al., ICCV 2019) or RetinaNet (Lin et al., ICCV 2017).

    Its images are prepared already, all of one size: it neither normalizes nor resizes them.

    Args:
        network: one of ``list_networks()``.
        decoder: ``"fcos"`` or ``"retinanet"``.
        num_classes: of boxes; labels count from 0.
        in_chans: channels of the input.
        side: of the input in pixels.
        options: of the network.
    """
    backbone = Backbone(network, in_chans, options)
    plain: dict[str, Any] = {
        "min_size": side,
        "max_size": side,
        "image_mean": [0.0] * in_chans,
        "image_std": [1.0] * in_chans,
        "_skip_resize": True,
        "score_thresh": _SCORE,
        "detections_per_img": _MOST,
    }
    if decoder == "fcos":
        return FCOS(backbone, num_classes, **plain)
    sizes = tuple((size, int(size * 2 ** (1 / 3)), int(size * 2 ** (2 / 3))) for size in _SIZES)
    anchors = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    return RetinaNet(backbone, num_classes, anchor_generator=anchors, **plain)
