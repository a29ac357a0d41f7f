"""The network of a run and the weights it starts from."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

import sarhub_models as sarhub

from .. import networks
from ..errors import CheckpointError, DownloadError, OptionError, UnknownNameError, closest
from ..models.dense import load_backbone
from ..weights import read_tensors
from ..weights.hub import hub_file
from ..zoo.description import read_description, weights_file
from .adapters import add_adapters
from .sections import Model


def build_network(model: Model, num_classes: int, size: int, seed: int, *, in_chans: int = 3) -> nn.Module:
    """Return the network of a recipe with its starting weights and a new head, on the CPU.

    Args:
        model: the recipe's section.
        num_classes: outputs.
        size: side of the input in pixels.
        seed: of the initial weights.
        in_chans: channels of the input; starting weights of another number of them are spread over these.

    Raises:
        UnknownNameError: ``init`` is neither a file nor a name.
        OptionError: the starting weights are of another network, or there are none; or the network cannot drop paths.
        DownloadError: the starting weights cannot be fetched.
        CheckpointError: the file does not hold a checkpoint of this network.
    """
    torch.manual_seed(seed)
    spec = networks.spec(model.network)
    options: dict[str, Any] = {"drop_rate": model.drop_rate}
    if spec.drops_paths:
        options["drop_path_rate"] = model.drop_path_rate  # also 0: the default of timm's Swin is not
    elif model.drop_path_rate:
        raise OptionError(f"{model.network} has no paths to drop: model.drop_path_rate=0, got {model.drop_path_rate}")
    if "img_size" in spec.timm_args:
        options["img_size"] = size
    network = networks.build(model.network, num_classes=num_classes, in_chans=in_chans, **options)
    if spec.torch_init:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    if tensors := starting_weights(model.network, model.init):
        _load(network, model.network, networks.fit_options(model.network, _spread(model, tensors, in_chans), options))
    return network if model.lora is None else add_adapters(network, model.network, model.lora)


def starting_weights(network: str, init: str) -> dict[str, Tensor]:
    """Return the tensors that ``init`` stands for, under this package's names.

    Args:
        network: architecture they must fit.
        init: one of :data:`INITIALIZATIONS`, a checkpoint, a run's folder, or a registered name; the errors are
            those of :func:`build_network`.

    Returns:
        The tensors; none for ``"none"``.
    """
    check_init(network, init)
    if init in INITIALIZATIONS:
        return INITIALIZATIONS[init](network)
    if (file := _own_file(init)) is not None:
        described = read_description(file)
        if described is not None and described.decoder is not None:
            raise OptionError(f"model.init={init} has a decoder for {described.task}: it starts such runs alone")
        tensors = networks.rename_checkpoint(network, read_tensors(file))
        found = networks.identify(tensors) if described is None else described.network
        if found != network:
            raise OptionError(f"model.init={init} holds a {found}, the recipe trains a {network}")
        return tensors
    return dict(sarhub.create_model(init, pretrained=True).state_dict())


def load_start(model: nn.Module, section: Model, size: int, *, in_chans: int = 3) -> None:
    """Fill the network below a decoder with its starting weights; errors as of :func:`build_network`.

    Args:
        model: of :func:`~sarhub_models.models.dense.build_dense`.
        section: the recipe's.
        size: side of the input in pixels.
        in_chans: channels of the input, as of :func:`build_network`.
    """
    file = None if section.init in INITIALIZATIONS else _own_file(section.init)
    described = None if file is None else read_description(file)
    if file is not None and described is not None and described.decoder is not None:
        if described.network != section.network:
            raise OptionError(
                f"model.init={section.init} holds a {described.network}, the recipe trains a {section.network}"
            )
        load_backbone(model, str(section.decoder), read_tensors(file))
    elif tensors := starting_weights(section.network, section.init):
        options = {"img_size": size} if "img_size" in networks.spec(section.network).timm_args else {}
        fitted = networks.fit_options(section.network, _spread(section, tensors, in_chans), options)
        load_backbone(model, str(section.decoder), fitted)


def check_init(network: str, init: str) -> None:
    """Check what can be said of ``init`` without reading or fetching weights; the errors are those of the name."""
    if init in INITIALIZATIONS or _own_file(init) is not None:
        return
    if init not in sarhub.list_models():
        known = (*INITIALIZATIONS, *sarhub.list_models())
        raise UnknownNameError(
            f"model.init={init}: expected {', '.join(INITIALIZATIONS)}, a file or run that is there, or a registered "
            f"name{closest(init, known)}"
        )
    if sarhub.model_info(init).network != network:
        raise OptionError(f"model.init={init} is a {sarhub.model_info(init).network}, the recipe trains a {network}")


def _own_file(init: str) -> Path | None:
    """Return the file of weights that ``init`` stands for, if it is one or the folder of a run."""
    path = Path(init).expanduser()
    return weights_file(path) if path.exists() and init not in sarhub.list_models() else None


def _imagenet(network: str) -> dict[str, Tensor]:
    entry = networks.spec(network)
    if (installed := entry.imagenet()) is not None:
        return networks.rename_checkpoint(network, read_tensors(installed))
    config = timm.get_pretrained_cfg(entry.timm_name)
    if config is None or config.hf_hub_id is None:
        raise OptionError(f"timm has no ImageNet weights for {network}; model.init=none, or a checkpoint")
    try:
        file = hub_file(config.hf_hub_id, "model.safetensors")
    except DownloadError as err:
        raise type(err)(
            f"{err}. Where there is a network, 'hf download {config.hf_hub_id} model.safetensors' puts the ImageNet "
            "weights into the folder HF_HOME, which may be copied"
        ) from err
    # timm fits the file to other windows and sizes
    model = timm.create_model(
        entry.timm_name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, **entry.timm_args
    )
    return dict(model.state_dict())


INITIALIZATIONS: dict[str, Callable[[str], dict[str, Tensor]]] = {"none": lambda network: {}, "imagenet": _imagenet}
"""Values of ``model.init`` beside files and registered names, with the function of a network that gives the tensors."""


def _spread(model: Model, tensors: dict[str, Tensor], in_chans: int) -> dict[str, Tensor]:
    """Return starting weights for a number of channels, and say so where it is not theirs."""
    there = networks.stem_channels(model.network, tensors)
    if there == in_chans:
        return tensors
    warnings.warn(
        f"the first layer of {model.init} takes {there} channels: its filters are spread over {in_chans}", stacklevel=4
    )
    return networks.fit_channels(model.network, tensors, in_chans)


def _load(model: nn.Module, network: str, tensors: dict[str, Tensor]) -> None:
    """Fill a network with all tensors but the head's."""
    head = f"{networks.spec(network).head}."
    own = model.state_dict()
    body = {key: tensor for key, tensor in tensors.items() if not key.startswith(head)}
    wrong = [key for key in body if key not in own or own[key].shape != body[key].shape]
    missing = [key for key in own if not key.startswith(head) and key not in body]
    if wrong or missing:
        raise CheckpointError(f"the starting weights do not fit {network}: {(wrong + missing)[0]} differs")
    model.load_state_dict(body, strict=False)
