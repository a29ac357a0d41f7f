"""A network of this package's own, with the methods of timm's: head, pooled features, feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.models import build_model_with_cfg
from torch import nn

from ..errors import OptionError


class Headed(nn.Module):
    """A network whose features a linear layer turns into logits; input (B, C, H, W) float, output (B, num_classes).

    Subclasses define :meth:`forward_features`, :meth:`pool` and :meth:`maps`, and call :meth:`add_head` at the end of
    their constructor.

    Attributes:
        num_features: width of the pooled features.
        feature_info: channels, reduction and name of each map of :meth:`maps`, as timm has it.
    """

    num_features: int
    feature_info: list[dict[str, Any]]
    output_fmt = "NCHW"

    def add_head(self, num_classes: int, width: int, drop_rate: float = 0.0, global_pool: str = "avg") -> None:
        """Add dropout and a linear layer for features of that width; 0 classes add none."""
        if global_pool != "avg":
            raise OptionError(f"{type(self).__name__} pools in its own way, got global_pool={global_pool!r}")
        self.num_features = self.head_hidden_size = width
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put an untrained head in place of the one there; 0 classes remove it."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what :meth:`pool` takes."""
        raise NotImplementedError

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, num_features)."""
        raise NotImplementedError

    def maps(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the feature maps of ``feature_info``, each (B, C, H, W)."""
        raise NotImplementedError

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Pool features and, unless ``pre_logits``, apply the head."""
        pooled = self.pool(x)
        return pooled if pre_logits else self.head(self.head_drop(pooled))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, or the pooled features where there is no head."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self, x: torch.Tensor, indices: int | Sequence[int] | None = None, **_: Any
    ) -> list[torch.Tensor]:
        """Return the feature maps of these indices, for timm's ``features_only``."""
        found = self.maps(x)
        chosen = range(len(found)) if indices is None else indices
        if isinstance(chosen, int):
            chosen = range(len(found) - chosen, len(found))
        return [found[index] for index in chosen]


def create(
    cls: type[nn.Module],
    name: str,
    pretrained: bool = False,
    *,
    out_indices: int | Sequence[int] = (0, 1, 2, 3),
    **options: Any,
) -> nn.Module:
    """Build a network of this package as timm builds its own.

    Args:
        cls: its class.
        name: what timm's configuration calls it.
        pretrained: for timm.
        out_indices: the maps that ``features_only`` returns.
        **options: for the class.
    """
    features = {"feature_cls": "getter", "out_indices": out_indices}  # timm empties what it is given
    return build_model_with_cfg(cls, name, pretrained, feature_cfg=features, **options)
