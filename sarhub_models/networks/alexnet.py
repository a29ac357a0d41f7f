"""The AlexNet with batch norm and grouped convolutions of Huang, Pan and Lei (IEEE TGRS 2020), for 128x128 chips."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from ..errors import OptionError
from ._head import Headed, create
from ._spec import NetworkSpec, Tensors

_SIDE = 128
_NAME = "sarhub_alexnet"
_WIDTH = 512
_STAGES = (3, 7, 17)  # layers whose outputs are the feature maps


class AlexNet(Headed):
    """AlexNet; input (B, in_chans, 128, 128) float, output (B, num_classes) logits.

    Args:
        num_classes: outputs of the head; 0 leaves it out.
        in_chans: channels of the input; the release has 1.
        drop_rate: dropout before the head.
        global_pool: ``"avg"``, though nothing is pooled.
    """

    def __init__(
        self, num_classes: int = 10, in_chans: int = 1, drop_rate: float = 0.5, global_pool: str = "avg"
    ) -> None:
        super().__init__()
        pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
        self.features = nn.Sequential(
            *_unit(in_chans, 96, kernel_size=11, stride=4),
            pool(),
            *_unit(96, 256, kernel_size=5, padding=2, groups=2),
            pool(),
            *_unit(256, 384, kernel_size=3, padding=1),
            *_unit(384, 384, kernel_size=3, padding=1, groups=2),
            *_unit(384, 256, kernel_size=3, padding=1, groups=2),
            pool(),
        )
        self.fc = nn.Linear(256 * 3 * 3, _WIDTH)
        self.act = nn.LeakyReLU()
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": f"features.{layer}"}
            for channels, reduction, layer in ((96, 8, 3), (256, 16, 7), (256, 32, 17))
        ]
        self.add_head(num_classes, _WIDTH, drop_rate, global_pool)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last feature map, (B, 256, 3, 3)."""
        return self.features(x)

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output of the first linear layer, (B, 512)."""
        return self.act(self.fc(x.flatten(1)))

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps behind the three poolings."""
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            found += [x] if index in _STAGES else []
        return found


def _unit(channels: int, width: int, **options: Any) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, **options), nn.BatchNorm2d(width), nn.LeakyReLU()


def _check(options: Mapping[str, Any]) -> None:
    if "img_size" in options:
        raise OptionError(f"alexnet takes images of {_SIDE}x{_SIDE} only: leave img_size out")


def _rename(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    places = {"classifier.0.": "fc.", "classifier.3.": "head."}
    renamed = {}
    for name, tensor in tensors.items():
        for released, ours in places.items():
            name = ours + name.removeprefix(released) if name.startswith(released) else name
        renamed[name] = tensor
    return renamed


SPECS = {
    "alexnet": NetworkSpec(
        timm_name=_NAME,
        stem="features.0",
        head="head",
        rename=_rename,
        create=partial(create, AlexNet, _NAME, out_indices=(0, 1, 2)),
        check=_check,
        drops_paths=False,
    )
}
