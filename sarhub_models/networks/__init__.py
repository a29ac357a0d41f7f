"""The architectures: build one, or fit a checkpoint to one.

A new network is one file here that defines ``SPECS``, and its title in the list of weights.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from ..errors import CheckpointError, OptionError, SarHubError, UnknownNameError, closest
from ._adapt import adapt
from ._meta import assign, on_meta_device, select_for_features
from ._spec import NetworkSpec, Tensors

__all__ = [
    "NetworkSpec",
    "Tensors",
    "assign",
    "build",
    "explain_renaming",
    "fit_channels",
    "fit_options",
    "head_classes",
    "identify",
    "misfits",
    "names",
    "on_meta_device",
    "rename_checkpoint",
    "select_for_features",
    "spec",
    "stem_channels",
    "tensor_layout",
]

_SPECS: dict[str, NetworkSpec] = {}
for _file in sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")):
    _SPECS |= import_module(f"{__name__}.{_file}").SPECS

Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]


def names() -> tuple[str, ...]:
    """Return the sorted names of the architectures that have a file here."""
    return tuple(sorted(_SPECS))


def spec(network: str) -> NetworkSpec:
    """Return the description of an architecture.

    Raises:
        UnknownNameError: there is no such network.
    """
    if network not in _SPECS:
        raise UnknownNameError(
            f"no network is called {network!r}{closest(network, _SPECS)}; known: {', '.join(sorted(_SPECS))}"
        )
    return _SPECS[network]


def build(
    network: str, *, num_classes: int, in_chans: int = 3, features_only: bool = False, **options: Any
) -> nn.Module:
    """Build an architecture with timm's initialization.

    Args:
        network: one of ``list_networks()``.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the input.
        features_only: return the feature maps of the stages (a list) instead of logits, as timm does.
        **options: passed to timm's model: ``img_size`` (Swin, ViT), ``drop_rate``, ``drop_path_rate``, ``global_pool``,
            ``out_indices``, ``output_stride`` (ResNets, SENet), …

    Returns:
        The module; input (B, in_chans, H, W) float, output (B, num_classes) logits.

    Raises:
        UnknownNameError: there is no such network.
        OptionError: the network does not take an option, or the trained weights do not fit it (Swin's windows or ViT's
            patches an ``img_size``), or a number is impossible.
    """
    entry = spec(network)
    if num_classes < 0 or in_chans < 1:
        raise OptionError(f"expected num_classes >= 0 and in_chans >= 1, got {num_classes} and {in_chans}")
    size = options.get("img_size", entry.timm_args.get("img_size", 128))
    config = {
        "architecture": entry.timm_name,
        "num_classes": num_classes,
        "input_size": (in_chans, *((size, size) if isinstance(size, int) else size)),
        "fixed_input_size": "img_size" in entry.timm_args,
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "first_conv": entry.stem,
        "classifier": entry.head,
    }
    try:
        return entry.build(
            num_classes=num_classes,
            in_chans=in_chans,
            features_only=features_only,
            pretrained_cfg=config,
            **options,
        )
    except SarHubError:
        raise
    except (TypeError, ValueError, AssertionError, IndexError) as err:  # whatever timm raises of an option
        if not options:
            raise
        raise OptionError(f"{network} does not take the options {options}: {str(err) or type(err).__name__}") from err


def rename_checkpoint(network: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors of a checkpoint under this package's names; ours are returned as they are.

    A released file is renamed. So is one of a training program, with a prefix, another name of the head or the tensors
    of a loss; what fits this network in neither way comes back for its caller to refuse.
    """
    return explain_renaming(network, tensors)[0]


def explain_renaming(network: str, tensors: Mapping[str, torch.Tensor]) -> tuple[Tensors, tuple[str, ...]]:
    """Return the tensors as :func:`rename_checkpoint` does, and what was done beyond renaming, step by step."""
    entry = spec(network)

    def layout_of(found: Tensors) -> Layout:
        return tensor_layout(network, num_classes=head_classes(network, found), in_chans=stem_channels(network, found))

    renamed = entry.rename(tensors)
    if renamed.keys() == layout_of(renamed).keys():
        return renamed, ()
    return adapt(entry, layout_of, tensors) or (renamed, ())


def fit_options(network: str, tensors: Mapping[str, torch.Tensor], options: Mapping[str, Any]) -> Tensors:
    """Return trained tensors as :func:`build` with these options needs them: position embeddings of another size."""
    entry = spec(network)
    return entry.fit(tensors, {**entry.timm_args, **options})


def fit_channels(network: str, tensors: Mapping[str, torch.Tensor], in_chans: int) -> Tensors:
    """Return trained tensors for another number of channels: each gets the same part of what all together had.

    An image that is alike in all channels has the response that it had in the trained network.
    """
    name = f"{spec(network).stem}.weight"
    weight = tensors.get(name)
    if weight is None or weight.ndim != 4 or weight.shape[1] == in_chans:
        return dict(tensors)
    shared = weight.double().sum(1, keepdim=True) / in_chans
    return {**tensors, name: shared.to(weight.dtype).repeat(1, in_chans, 1, 1)}


@lru_cache(maxsize=128)
def tensor_layout(network: str, *, num_classes: int, in_chans: int = 3, **options: Any) -> Layout:
    """Return ``{name: (shape, dtype)}`` of every tensor that the network with that head and input stores."""
    with on_meta_device():
        model = build(network, num_classes=num_classes, in_chans=in_chans, **options)
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()}


def head_classes(network: str, tensors: Mapping[str, torch.Tensor]) -> int:
    """Return the number of classes of the classifier among ``tensors`` (under our names); 0 where there is none."""
    weight = tensors.get(f"{spec(network).head}.weight")
    return weight.shape[0] if weight is not None and weight.ndim == 2 else 0


def stem_channels(network: str, tensors: Mapping[str, torch.Tensor]) -> int:
    """Return the channels of the input by the first convolution among ``tensors`` (under our names); 3 without it."""
    weight = tensors.get(f"{spec(network).stem}.weight")
    return weight.shape[1] if weight is not None and weight.ndim == 4 else 3


def identify(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the network whose tensors these are, by names and shapes, whatever the size of head and input.

    A network that shares its names with a plain one is only found in released files.

    Args:
        tensors: a checkpoint, under released or our names.

    Raises:
        CheckpointError: they fit no network; the message names the nearest and what differs.
    """
    nearest, fewest, example = "", None, ""
    # Cheap first: the networks whose first convolution is there. Building the others takes most of the time.
    by_stem = sorted(
        _SPECS, key=lambda network: f"{_SPECS[network].stem}.weight" not in _SPECS[network].rename(tensors)
    )
    for network in by_stem:
        if _SPECS[network].shared_names and _SPECS[network].rename(tensors).keys() == tensors.keys():
            continue
        wrong = misfits(network, tensors)
        if not wrong:
            return network
        if fewest is None or len(wrong) < fewest:
            nearest, fewest, example = network, len(wrong), wrong[0]
    raise CheckpointError(
        f"these {len(tensors)} tensors are of no known network; nearest is {nearest}, where "
        f"{fewest} tensors are missing, unexpected or of another shape (first: {example})"
    )


def misfits(network: str, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the tensors that are missing, unexpected or of another shape in a checkpoint; none where it fits."""
    renamed = rename_checkpoint(network, tensors)
    layout = tensor_layout(
        network, num_classes=head_classes(network, renamed), in_chans=stem_channels(network, renamed)
    )
    return sorted(
        name
        for name in layout.keys() | renamed.keys()
        if name not in layout or name not in renamed or tuple(renamed[name].shape) != layout[name][0]
    )
