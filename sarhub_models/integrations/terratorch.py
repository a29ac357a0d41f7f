"""Every name of the list of weights as a backbone of TerraTorch.

``import sarhub_models.integrations.terratorch`` puts them into its registry, where its model factories look for the
``backbone`` of a configuration::

    from terratorch.registry import BACKBONE_REGISTRY

    backbone = BACKBONE_REGISTRY.build("resnet50_ssl4eo.moco", pretrained=True, out_indices=[1, 2, 3, 4])
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MissingDependencyError, OptionError
from ..models.create import create_model
from ..networks import build, on_meta_device
from ..zoo.manifest import list_models, model_info

_PRECISION = torch.get_float32_matmul_precision()
try:
    from terratorch.registry import TERRATORCH_BACKBONE_REGISTRY
except ImportError as err:
    raise MissingDependencyError(
        f"TerraTorch's backbones need TerraTorch ({err}): pip install 'sarhub-models[terratorch]'"
    ) from err
finally:
    # Importing TerraTorch lowers the precision of every float32 matrix product of the process to bfloat16's.
    torch.set_float32_matmul_precision(_PRECISION)

__all__ = ["TerraTorchBackbone"]


class TerraTorchBackbone(nn.Module):
    """A network of :func:`~sarhub_models.create_model` as TerraTorch's necks and decoders take it.

    Input (B, C, H, W) float32, as the preprocessing of the weights gives it. Output a list of maps (B, D, h, w), from
    the first stage on. A transformer, whose maps have one size, gives one a block, without the tokens of no place:
    ``SelectIndices`` and ``LearnedInterpolateToPyramidal`` make a pyramid of them.

    Args:
        name: a name of :func:`~sarhub_models.list_models`.
        pretrained: whether, or with which tag or file, as for :func:`~sarhub_models.create_model`.
        out_indices: which maps to return; ``None``: all.
        bands: the bands of the image, by name or as TerraTorch's enumeration has them, as for
            :func:`~sarhub_models.create_model`.
        **options: as for :func:`~sarhub_models.create_model`: ``in_chans``, ``img_size``, ``drop_path_rate``, …

    Attributes:
        network: the network.
        out_channels: channels of the maps.

    Raises:
        UnknownNameError: no model has that name.
        DownloadError: the weights are not here and no source could deliver them.
        CheckpointError: a file of weights does not fit the network.
        OptionError: the network cannot do what an option asks for.
    """

    network: Any

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool | str | os.PathLike[str] = False,
        out_indices: Sequence[int] | None = None,
        bands: Sequence[str | Enum] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        count = _count_maps(name)
        chosen = range(count) if out_indices is None else out_indices
        if not set(chosen) <= set(range(count)):
            raise OptionError(f"expected out_indices of 0 to {count - 1} for {name}, got {list(chosen)}")
        if bands is not None:
            options["bands"] = tuple(band.value if isinstance(band, Enum) else band for band in bands)
        self.network = create_model(
            name, pretrained, num_classes=0, features_only=True, out_indices=tuple(chosen), **options
        )
        self.out_channels: list[int] = self.network.feature_info.channels()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of images."""
        maps = self.network(x)
        if getattr(self.network, "output_fmt", "NCHW") == "NHWC":
            return [found.permute(0, 3, 1, 2).contiguous() for found in maps]
        return list(maps)


def _count_maps(name: str) -> int:
    with on_meta_device():
        network: Any = build(model_info(name).network, num_classes=0, features_only=True)
    return len(network.feature_info.info)


def _constructor(name: str) -> Callable[..., TerraTorchBackbone]:
    def create(**options: Any) -> TerraTorchBackbone:
        return TerraTorchBackbone(name, **options)

    create.__name__ = name  # which TerraTorch registers it under
    create.__doc__ = f"{name} of sarhub_models, with the options of :class:`TerraTorchBackbone`."
    return create


for _name in list_models():
    TERRATORCH_BACKBONE_REGISTRY.register(_constructor(_name))
