"""The backbone and the preprocessing for MMDetection, MMSegmentation and what else is built on MMEngine.

A configuration that says ``custom_imports = dict(imports=["sarhub_models.integrations.mm"])`` finds both in MMEngine's
root registries::

    backbone = dict(type="SARHubBackbone", name="resnet50_ben", pretrained=True, frozen_stages=1)
    pipeline = [dict(type="LoadImageFromFile"), dict(type="SARHubPreprocess", name="resnet50_ben"), ...]

The network is the one of pre-training, built by :func:`sarhub_models.create_model`, so its strides sit in the layers
that the weights were trained with, and Swin has its window of 4.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch.nn.functional as F
from timm.layers import SyncBatchNormAct
from timm.models import checkpoint_seq
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import ImageError, MissingDependencyError, OptionError
from ..models.choice import find_info
from ..models.create import create_model, create_transform
from ..networks import build, on_meta_device
from ..transforms import normalize_amplitude

try:
    from mmcv.transforms import BaseTransform
    from mmengine.model import BaseModule
    from mmengine.registry import MODELS, TRANSFORMS
except ImportError as err:
    raise MissingDependencyError(
        f"the MM plugin needs MMCV and MMEngine ({err}): see MMDetection and MMSegmentation in docs/integrations.md"
    ) from err

__all__ = ["STRIDES", "SARHubBackbone", "SARHubPreprocess", "backbone_channels"]

STRIDES = (4, 8, 16, 32)
"""Pixels of the image for one of the map, of stage 0, 1, 2 and 3 without dilation."""

_SMALLEST_SWIN = 128  # below it, the windows that were trained do not fit into the last stage


def backbone_channels(name: str, out_indices: Sequence[int] = (0, 1, 2, 3)) -> list[int]:
    """Return the channels of a backbone's maps: what a neck's ``in_channels`` must be.

    Args:
        name: a name of :func:`~sarhub_models.list_models`.
        out_indices: the stages, as for :class:`SARHubBackbone`.

    Raises:
        UnknownNameError: no model has that name.
        OptionError: the network has no such stages.

    >>> backbone_channels("resnet50_ben")
    [256, 512, 1024, 2048]
    """
    _check_stages(out_indices, frozen_stages=-1)
    _, channels = _stages(name)
    return [channels[index] for index in out_indices]


@MODELS.register_module()
class SARHubBackbone(BaseModule):
    """A network of :func:`~sarhub_models.create_model` as the backbone of a detector or segmenter.

    Input (B, in_channels, H, W) float32 of any size. Output a tuple of (B, C, h, w), one for each of ``out_indices``,
    with h = H / stride and w = W / stride, rounded up (down between the stages of DenseNet, as it was trained). They
    equal what ``create_model(name, features_only=True)`` gives for that size, to the bit; Swin's are brought to
    (B, C, h, w), and its images are filled up with zeros at the right and lower border to multiples of 4 pixels and at
    least 128.

    Weights are loaded when the module is built; ``init_weights`` leaves them as they are.

    Args:
        name: a name of :func:`~sarhub_models.list_models`, or ``hf-hub:org/repo`` for a published one; or a file that
            describes itself, or the folder of a run, whose weights are always loaded.
        pretrained: whether, or with which tag or file, as for :func:`~sarhub_models.create_model`; offline use and
            mirrors work as for that function.
        out_indices: stages whose maps are returned, of 0, 1, 2 and 3 with strides 4, 8, 16 and 32, in rising order.
            Later ones are not built.
        frozen_stages: how much of the network, from its input on, is not trained and stays in evaluation mode: -1
            nothing, 0 the stem, 1 the stem and the first stage, to 4, all of it. What halves the resolution belongs to
            the stage that it leads to. MMDetection's ResNet counts in the same way.
        norm_eval: keep all batch norms in evaluation mode, so that their statistics stay those of the weights.
        norm_requires_grad: train scale and shift of the batch norms. (Both are about batch norm, not layer norm.)
        output_stride: 32; with 16 or 8, the stages that would go beyond keep this stride and dilate their convolutions
            instead, weights unchanged. Swin has no such form.
        in_channels: channels of the image; ``None`` is what the weights were trained on, 3 equal ones for one band.
        with_cp: save memory: compute activations within blocks again in the backward pass (gradient checkpointing).
        drop_path_rate: share of the residual paths that are dropped in training; ``None`` is the network's own.

    Attributes:
        network: the network.
        channels: of the maps, in the order of ``out_indices``: the neck's ``in_channels``.
        strides: of the maps.

    Raises:
        UnknownNameError: no model has that name.
        DownloadError: the weights are not here and no source could deliver them.
        CheckpointError: a file of weights does not fit the network.
        OptionError: the network cannot do what an option asks for.
    """

    network: Any
    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __init__(
        self,
        name: str,
        pretrained: bool | str | os.PathLike[str] = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_requires_grad: bool = True,
        output_stride: int = 32,
        in_channels: int | None = None,
        with_cp: bool = False,
        drop_path_rate: float | None = None,
    ) -> None:
        super().__init__()
        _check_stages(out_indices, frozen_stages)
        if output_stride not in (32, 16, 8):
            raise OptionError(f"expected output_stride 32, 16 or 8, got {output_stride}")
        first, _ = _stages(name)
        options: dict[str, Any] = {} if drop_path_rate is None else {"drop_path_rate": drop_path_rate}
        if output_stride != STRIDES[-1]:
            options["output_stride"] = output_stride
        options["out_indices"] = tuple(first + index for index in out_indices)
        try:
            self.network = create_model(
                name, pretrained, num_classes=0, in_chans=in_channels, features_only=True, **options
            )
        except TypeError as err:  # the network's constructor has no such argument
            raise OptionError(f"{name} cannot be built with {', '.join(sorted(options))}: {err}") from err
        self.channels = tuple(self.network.feature_info.channels())
        self.strides = tuple(self.network.feature_info.reduction())
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self._size: tuple[int, int] | None = None  # of the images that Swin's masks are made for
        self._freeze(norm_requires_grad)
        if with_cp:
            _checkpoint_blocks(self.network)
        self.train()

    def init_weights(self) -> None:
        """Do nothing: the weights, or the network's own random numbers, are there since it was built."""
        self._is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of ``x``, (B, in_channels, H, W)."""
        windowed = hasattr(self.network, "patch_embed")
        maps = self.network(self._fit(x) if windowed else x)
        if self.network.output_fmt == "NHWC":
            maps = [m.permute(0, 3, 1, 2).contiguous() for m in maps]
        if windowed:
            sizes = [[-(-side // stride) for side in x.shape[-2:]] for stride in self.strides]
            maps = [m[..., :height, :width] for m, (height, width) in zip(maps, sizes, strict=True)]
        return tuple(maps)

    def train(self, mode: bool = True) -> SARHubBackbone:
        """Switch to training mode, but for what is frozen; or, with ``mode=False``, to evaluation mode."""
        for module in self.network.modules():
            if type(module) is nn.SyncBatchNorm and hasattr(module, "act"):
                # MMEngine's sync_bn has made it of timm's batch norm with activation, which it would no longer apply.
                module.__class__ = SyncBatchNormAct
        super().train(mode)
        for module in _parts(self.network, self.frozen_stages + 1):
            module.eval()
        if self.norm_eval:
            for norm in _batch_norms(self.network):
                norm.eval()
        return self

    def _freeze(self, norm_requires_grad: bool) -> None:
        for module in _parts(self.network, self.frozen_stages + 1):
            module.requires_grad_(False)
        if not norm_requires_grad:
            for norm in _batch_norms(self.network):
                norm.requires_grad_(False)

    def _fit(self, x: Tensor) -> Tensor:
        """Fill the image up to what Swin can divide into patches, and make its masks and shifts for that size."""
        height, width = (max(_SMALLEST_SWIN, side + -side % STRIDES[0]) for side in x.shape[-2:])
        if (height, width) != self._size:
            network = self.network
            network.patch_embed.set_input_size(img_size=(height, width))
            rows, columns = height // STRIDES[0], width // STRIDES[0]
            for stage in network.children():
                if stage is not network.patch_embed:
                    stage.set_input_size(feat_size=(rows, columns), window_size=stage.blocks[0].window_size)
                    rows, columns = stage.output_resolution
            self._size = (height, width)
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))


def _check_stages(out_indices: Sequence[int], frozen_stages: int) -> None:
    count = len(STRIDES)
    indices = list(out_indices)
    if not indices or indices != sorted(set(indices)) or not set(indices) <= set(range(count)):
        raise OptionError(f"expected out_indices of 0, 1, 2 and 3 in rising order, each once, got {tuple(indices)}")
    if not -1 <= frozen_stages <= count:
        raise OptionError(f"expected frozen_stages from -1 to {count}, got {frozen_stages}")


@lru_cache(maxsize=64)
def _stages(name: str) -> tuple[int, list[int]]:
    """Return timm's index of the map with stride 4, and the channels of that map and the next three."""
    info = find_info(name)
    with on_meta_device():
        network: Any = build(info.network, num_classes=0, features_only=True)
    maps = network.feature_info.info
    strides = [m["reduction"] for m in maps]
    first = strides.index(STRIDES[0]) if STRIDES[0] in strides else 0
    if tuple(strides[first:]) != STRIDES:
        raise OptionError(
            f"{name} has maps of the strides {strides}, and a neck expects 4, 8, 16 and 32: choose a ResNet, SENet, "
            "MobileNet, DenseNet or Swin"
        )
    return first, [m["num_chs"] for m in maps[first:]]


def _batch_norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def _parts(network: Any, count: int) -> list[nn.Module]:
    """Return the modules of the first ``count`` parts of a network, which are the stem and the stages."""
    ends = {info["module"].replace(".", "_") for info in network.feature_info.info}
    parts: list[list[nn.Module]] = [[]]
    for name, module in _layers(getattr(network, "model", network), ends):
        parts[-1].append(module)
        # A map of stride 2 ends the stem; where there is none, the stem is one module, which makes patches.
        if name in ends or (len(ends) == len(STRIDES) and len(parts) == 1):
            parts.append([])
    return [module for part in parts[:count] for module in part]


def _layers(model: nn.Module, ends: set[str]) -> Iterator[tuple[str, nn.Module]]:
    """Give the modules in the order of their work, down to those in ``ends``, named as timm's feature extractors do."""
    for name, module in model.named_children():
        if any(end.startswith(f"{name}_") for end in ends - {name}):
            yield from ((f"{name}_{inner}", child) for inner, child in module.named_children())
        else:
            yield name, module


class _Checkpointed(nn.Sequential):
    """Blocks of a stage whose inner activations are computed again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint_seq(self, x) if self.training else super().forward(x)


def _checkpoint_blocks(network: Any) -> None:
    """Turn gradient checkpointing on, block by block, in place.

    timm's switch is in the whole network, which a feature extractor takes apart, or in the stages of Swin and the
    layers of DenseNet, which it keeps.
    """
    switches = [m for m in network.modules() if m is not network and hasattr(m, "grad_checkpointing")]
    for module in switches:
        module.grad_checkpointing = True
    if not switches:
        for name, module in network.items():
            if type(module) is nn.Sequential:
                network[name] = _Checkpointed(OrderedDict(module.named_children()))


@TRANSFORMS.register_module()
class SARHubPreprocess(BaseTransform):
    """The preprocessing that belongs to a set of weights, as a step of an MM pipeline.

    It takes the place of the usual mean and standard deviation: dynamic-range operator, then ``(y - mean) / std``, then
    repetition to the channels of the network; the size stays. Put it behind the loading of the image, before anything
    that fills up or cuts, so that the operator sees the whole image and later zeros are the mean; and give the data
    preprocessor no mean and std.

    Required key ``img``: (H, W) or (H, W, C), as an image loader gives it. Of weights for one band all C channels must
    be equal; integers of 8 or 16 bits are divided by the largest value of their type, floating point is amplitude in
    [0, 1]. Weights of several bands take these, in their order and radiometry. Modified key ``img``: (H, W, channels),
    float32.

    Args:
        name: as for :class:`SARHubBackbone`; where only the initialization is another, that of the
            weights one compares with.
        training: draw the operator's parameter anew for every image (DRAA), from torch's random numbers.
        in_channels: as for :class:`SARHubBackbone`.
        radiometry: what the image holds, as for :func:`~sarhub_models.create_transform`; by default what the weights
            expect.
        full_scale: the digital number that stands for amplitude 1, for images that do not use the range of their type.

    Raises:
        UnknownNameError: no model has that name.
        OptionError: an option is impossible for these weights.
        ImageError: in the pipeline: the image is in color, has other bands, or holds NaN or values out of range.
    """

    def __init__(
        self,
        name: str,
        training: bool = False,
        in_channels: int | None = None,
        radiometry: str | None = None,
        full_scale: float | None = None,
    ) -> None:
        self.name, self.training = name, training
        self.full_scale = full_scale
        chain = create_transform(name, in_chans=in_channels, radiometry=radiometry, full_scale=full_scale)
        self.chain = chain.without("resize", "crop", "augment").train(training)  # they are the MM pipeline's work

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Prepare the image of a sample, in place."""
        image = results["img"]
        where = results.get("img_path", "image")
        try:
            bands = np.atleast_3d(image)
            prepared = self.chain(self._amplitude(bands) if self.chain.takes_amplitude else self._values(bands))
        except ImageError as err:
            raise ImageError(f"{where}: {err}") from err
        results["img"] = np.ascontiguousarray(prepared.permute(1, 2, 0).numpy())
        return results

    def _amplitude(self, image: np.ndarray) -> np.ndarray:
        trained = self.chain.trained_full_scale
        return normalize_amplitude(self._values(image), full_scale=self.full_scale, trained=trained)

    def _values(self, image: np.ndarray) -> np.ndarray:
        """Return (H, W) of weights for one band, else (C, H, W)."""
        if len(self.chain.bands) > 1:
            return np.moveaxis(image, -1, 0)
        if not (image == image[..., :1]).all():
            raise ImageError("expected one band, got a color picture: load it with color_type='grayscale'")
        return image[..., 0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, training={self.training})"
