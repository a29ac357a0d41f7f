"""Networks that answer for each pixel or give boxes: a decoder over a network whose stages form a pyramid.

Masks through segmentation_models_pytorch, boxes through torchvision's detectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from .. import networks
from ..errors import MissingDependencyError, OptionError
from ..zoo.tasks import DECODERS
from .detectors import build_detector

__all__ = ["BACKBONE", "STRIDE", "build_dense", "dense_layout", "load_backbone"]

STRIDE = 32
"""Sides of the input are multiples of it."""

BACKBONE = {"segmentation": "encoder.model.", "detection": "backbone.body."}
"""Beginning of the names of the network's own parameters, by task."""

_PYRAMIDS = ([2, 4, 8, 16, 32], [4, 8, 16, 32])


def build_dense(network: str, decoder: str, *, num_classes: int, in_chans: int, side: int) -> nn.Module:
    """Build a network with a decoder, with the initialization of their libraries.

    Args:
        network: one of ``list_networks()``.
        decoder: a name of :data:`~sarhub_models.zoo.tasks.DECODERS`.
        num_classes: of pixels, or of boxes.
        in_chans: channels of the input.
        side: of the input in pixels, a multiple of 32; networks that are made for one size get it.

    Returns:
        For masks: input (B, in_chans, H, W), output logits (B, num_classes, H, W). For boxes: torchvision's detector,
        whose labels count from 0.

    Raises:
        OptionError: the network has no pyramid, the decoder does not fit it, or the side is impossible.
        MissingDependencyError: segmentation_models_pytorch is not installed.
    """
    _check(network, side)
    options = {"img_size": side} if "img_size" in networks.spec(network).timm_args else {}
    if DECODERS[decoder] == "detection":
        return build_detector(network, decoder, num_classes=num_classes, in_chans=in_chans, side=side, options=options)
    return _segmenter(network, decoder, num_classes, in_chans, options)


def _check(network: str, side: int) -> None:
    if side % STRIDE:
        raise OptionError(f"expected a side of the windows that is a multiple of {STRIDE} pixels, got {side}")
    name = f"sarhub_{network}"
    try:
        with networks.on_meta_device():
            scales = list(timm.create_model(name, features_only=True).feature_info.reduction())
    except (IndexError, AssertionError, AttributeError, RuntimeError, TypeError):
        scales = []
    if scales not in _PYRAMIDS:
        raise OptionError(
            f"{network} gives no pyramid of resolutions, which masks and boxes need: take a ResNet, DenseNet, "
            "EfficientNet, MobileNet, SENet, ConvNeXt or Swin"
        )


def _segmenter(network: str, decoder: str, num_classes: int, in_chans: int, options: Mapping[str, Any]) -> nn.Module:
    try:
        import segmentation_models_pytorch as smp
    except ImportError as err:
        raise MissingDependencyError(
            "masks need segmentation_models_pytorch: pip install 'sarhub-models[segmentation]'"
        ) from err
    kinds = {"unet": smp.Unet, "fpn": smp.FPN, "deeplabv3plus": smp.DeepLabV3Plus}
    try:
        model: nn.Module = kinds[decoder](
            f"tu-sarhub_{network}", encoder_weights=None, in_channels=in_chans, classes=num_classes, **options
        )
    except TypeError as err:  # of a network that cannot be dilated
        raise OptionError(f"{network} does not fit the decoder {decoder} ({err}): take unet or fpn") from err
    return model


def dense_layout(
    network: str, decoder: str, *, num_classes: int, in_chans: int, side: int
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Return ``{name: (shape, dtype)}`` of every tensor that a network of :func:`build_dense` stores."""
    with networks.on_meta_device():
        model = build_dense(network, decoder, num_classes=num_classes, in_chans=in_chans, side=side)
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()}


def load_backbone(model: nn.Module, decoder: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Fill the network below a decoder.

    Args:
        model: of :func:`build_dense`.
        decoder: its decoder.
        tensors: all tensors of the network itself, or of a network with a decoder of the same task.
    """
    prefix = BACKBONE[DECODERS[decoder]]
    body = model.get_submodule(prefix.rstrip("."))
    for other in BACKBONE.values():
        if any(name.startswith(other) for name in tensors):
            own = {name.removeprefix(other): t for name, t in tensors.items() if name.startswith(other)}
            body.load_state_dict(own)
            return
    body.load_state_dict(networks.select_for_features(body, tensors))
