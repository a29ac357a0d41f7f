"""Class-activation maps of classifiers, through the package grad-cam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError, MissingDependencyError, OptionError, UnknownNameError, closest
from ..io.progress import progress_bar
from .inputs import check_chips
from .layers import Feature, device_of, frozen

__all__ = ["CAM_METHODS", "class_activation_maps"]

CAM_METHODS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
    "eigencam": "EigenCAM",
}
"""Methods, and what the package grad-cam calls them."""


def class_activation_maps(
    model: nn.Module,
    chips: np.ndarray | Tensor,
    *,
    method: str = "gradcam",
    layer: str | None = None,
    classes: Sequence[int] | None = None,
    mean: float = 0.0,
    std: float = 1.0,
    chunk: int = 16,
    names: Sequence[str] | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Return where the evidence for a class lies, after a method of :data:`CAM_METHODS`.

    The network is in evaluation mode meanwhile, and afterwards as it was before.

    Args:
        model: classifier, (B, C, H, W) to logits (B, K). The layer may put out maps (B, C, h, w) or, as timm's Swin
            says of itself, (B, h, w, C).
        chips: before mean and standard deviation, (N, C, H, W) as :func:`~sarhub_models.explain.prepare` makes them.
        method: Grad-CAM (Selvaraju et al., ICCV 2017) or one of its kin.
        layer: as for :class:`~sarhub_models.explain.KnowledgePoints`.
        classes: of each chip; by default the one that the network gives it.
        mean: subtracted from the chips before the network sees them.
        std: divided by after the mean.
        chunk: chips at once.
        names: of the chips, for messages.
        progress: draw a bar on stderr where that is a terminal.

    Returns:
        float32 (N, H, W) in [0, 1], each map stretched to its own minimum and maximum; 0 throughout where nothing
        speaks for the class.

    Raises:
        UnknownNameError: there is no such method or layer.
        OptionError: the layer's output or the network's is of another kind.
        InputError: not one class for each chip, or one that the network does not have.
        ImageError: a chip is not finite, constant or of the wrong shape; it is named.
        MissingDependencyError: the package grad-cam is missing.
    """
    if method not in CAM_METHODS:
        raise UnknownNameError(
            f"no method is called {method!r}{closest(method, CAM_METHODS)}; known: {', '.join(CAM_METHODS)}"
        )
    tensor = check_chips(chips, names)
    feature = Feature(model, layer=layer, mean=mean, std=std)
    if classes is not None and len(classes) != len(tensor):
        raise InputError(f"expected {len(tensor)} classes, one for each chip, got {len(classes)}")
    parts = []
    with (
        frozen(model),
        _explainer(feature, method, tensor[:1].to(device_of(model))) as explain,
        progress_bar("chips", len(tensor), show=progress) as advance,
    ):
        for first in range(0, len(tensor), chunk):
            part = tensor[first : first + chunk].to(device_of(model))
            wanted = None if classes is None else classes[first : first + chunk]
            parts.append(explain((part - mean) / std, wanted))
            advance(len(part))
    return np.concatenate(parts).astype(np.float32)


@contextmanager
def _explainer(feature: Feature, method: str, example: Tensor) -> Iterator[Any]:
    """Return the function from prepared inputs and classes to maps."""
    try:
        import pytorch_grad_cam as library
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    except ImportError as err:
        raise MissingDependencyError(
            f"class-activation maps need the package grad-cam: pip install 'sarhub-models[explain]' ({err})"
        ) from err
    count = _check(feature, example)
    last = getattr(feature.model, "output_fmt", "NCHW") == "NHWC"
    module = dict(feature.model.named_modules())[feature.layer]
    to_maps = (lambda maps: maps.permute(0, 3, 1, 2)) if last else None
    cam = getattr(library, CAM_METHODS[method])(feature.model, [module], reshape_transform=to_maps)
    # What follows the layer may work in place; the library keeps the layer's own output.
    copy = module.register_forward_hook(lambda module, inputs, output: output.clone())

    def explain(inputs: Tensor, classes: Sequence[int] | None) -> np.ndarray:
        if classes is not None and not all(0 <= label < count for label in classes):
            raise InputError(f"expected classes from 0 to {count - 1}, got {list(classes)}")
        targets = None if classes is None else [ClassifierOutputTarget(int(label)) for label in classes]
        with torch.enable_grad():  # all parameters are frozen, so it is the input that asks for gradients
            return np.nan_to_num(cam(inputs.detach().requires_grad_(), targets))

    try:
        yield explain
    finally:
        copy.remove()
        cam.activations_and_grads.release()


@torch.no_grad()
def _check(feature: Feature, example: Tensor) -> int:
    """Return the number of classes of a network whose layer and output fit."""
    maps = feature(example)
    if maps.ndim != 4:
        raise OptionError(
            f"class-activation maps need a layer with maps, four axes; {feature.layer!r} has {maps.ndim}; "
            "choose another layer"
        )
    logits = feature.model((example - feature.mean) / feature.std)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] == 0:
        raise OptionError("class-activation maps need a classifier that puts out logits (B, K)")
    return logits.shape[1]
