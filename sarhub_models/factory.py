"""Where network, weights and preprocessing meet: :func:`create_model`, :func:`create_transform`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from . import networks
from .errors import CheckpointError, OptionError
from .registry import ModelInfo, list_datasets, list_models, model_info
from .transforms import SarTransform
from .weights import Layout, Store, fetch_hub_config, fetch_hub_model, load_checkpoint, read_tensors

__all__ = ["Imported", "create_model", "create_transform", "import_checkpoint", "layout_of"]

_HUB = "hf-hub:"


def create_model(
    name: str,
    pretrained: bool | str | os.PathLike[str] = False,
    *,
    num_classes: int | None = None,
    in_chans: int = 3,
    features_only: bool = False,
    checkpoint_path: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **options: Any,
) -> nn.Module:
    """Build a network, by default without and on request with its SAR-pretrained weights.

    Args:
        name: a name of :func:`~sarhub_models.list_models`, or ``hf-hub:org/repo`` for a published one.
        pretrained: ``True`` for the weights of that name; a tag for others of the same network and data, as a short
            form of their full name (``"grsl2020"`` for ``resnet18_tsx.grsl2020``, which is the name to give to
            :func:`create_transform`); or the path of a checkpoint.
        num_classes: ``None`` keeps the trained head, 0 removes it, any other number puts an untrained one in its place
            (also if it is as large as the trained one).
        in_chans: channels of the input. The first convolution is folded so that the output for n equal channels is
            that of the chip repeated to 3, which the weights were trained on.
        features_only: return the feature maps of the stages as a list, as timm does: (B, C, H, W), of Swin
            (B, H, W, C).
        checkpoint_path: load this file (released ``.pth`` or our ``.safetensors``) in place of the registered weights.
        cache_dir: folder of the weights; by default ``SARHUB_CACHE`` or the platform's cache folder.
        progress: show a progress bar while downloading.
        **options: passed to timm's network: ``img_size`` (Swin), ``drop_rate``, ``drop_path_rate``, ``out_indices``, …

    Returns:
        The network in training mode, on the CPU. Input (B, in_chans, H, W) float32 as made by
        :func:`create_transform`; output (B, num_classes) logits.

    Raises:
        UnknownNameError: no model has that name; the message gives the closest.
        DownloadError: the weights are not here and no source could deliver them (``OfflineError``,
            ``IntegrityError``: why).
        CheckpointError: the file does not fit the network.
        FileNotFoundError: there is no file ``checkpoint_path``.
        OptionError: an option contradicts the weights.

    >>> import sarhub_models as sarhub
    >>> model = sarhub.create_model("mobilenetv3_dsn", pretrained=True, num_classes=5, in_chans=1)
    >>> model(torch.zeros(2, 1, 128, 128)).shape
    torch.Size([2, 5])
    """
    if isinstance(pretrained, (str, os.PathLike)):
        name, checkpoint_path = _tag_or_path(name, pretrained, checkpoint_path)
    info, tensors = _locate(name, bool(pretrained), checkpoint_path, cache_dir, progress)
    if tensors is None:
        classes = info.num_classes if num_classes is None else num_classes
        if classes is None:
            raise OptionError(f"only the weights of {name} tell its number of classes: give num_classes")
        model = networks.build(
            info.network, num_classes=classes, in_chans=in_chans, features_only=features_only, **options
        )
    else:
        model = _assemble(info.network, tensors, num_classes, in_chans, features_only, options)
    _describe(model, info, whole=num_classes is None)
    return model


def create_transform(name: str, training: bool = False, *, in_chans: int = 3) -> SarTransform:
    """Return the preprocessing that belongs to a set of weights: amplitude in [0, 1] → input of the network.

    Args:
        name: as for :func:`create_model`.
        training: draw the operator's parameter anew for every chip (DRAA), flip and rotate.
        in_chans: channels of the network's input.

    Returns:
        A module for chips of shape (H, W), (1, H, W) or (B, 1, H, W), real amplitude in [0, 1] or complex, NumPy or
        torch; it returns (in_chans, S, S) or (B, in_chans, S, S) float32.

    Raises:
        UnknownNameError: no model has that name; the message gives the closest.
    """
    p = _info(name).preprocessing
    return SarTransform(
        operator=p.operator,
        low=p.low,
        high=p.high,
        evaluation=p.evaluation,
        mean=p.mean,
        std=p.std,
        size=p.size,
        channels=in_chans,
        training=training,
    )


@dataclass(frozen=True)
class Imported:
    """What :func:`import_checkpoint` decided and did.

    Attributes:
        info: the model that the file was taken for.
        path: the converted file in the cache.
        reasons: why it was taken for that model, one sentence each.
    """

    info: ModelInfo
    path: Path
    reasons: tuple[str, ...]


def import_checkpoint(
    path: str | os.PathLike[str], name: str | None = None, *, cache_dir: str | os.PathLike[str] | None = None
) -> Imported:
    """Check a released file that was fetched by hand, convert it and put it into the cache.

    Args:
        path: the file, ``.pth`` or ``.safetensors``; it is left as it is.
        name: the model it holds; by default the tensors tell the network, and the file's name together with the size
            of the head the data set.
        cache_dir: as for :func:`create_model`.

    Returns:
        The decision; from now on ``create_model(decision.info.name, pretrained=True)`` finds the weights.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, unsafe or of no known network, or fits no or several models.
        IntegrityError: the file is not the published one, or not the one that was imported before.
        UnknownNameError: no model has that name.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder; expected a file of weights")
    tensors = read_tensors(file)
    network = networks.identify(tensors)
    classes = networks.head_classes(network, networks.rename_checkpoint(network, tensors))
    reasons = [f"its tensors are those of {network}", f"its head has {classes} classes"]
    if name is None:
        info = _guess(file, network, classes, reasons)
    else:
        info = model_info(name)
        if info.network != network or info.num_classes not in (None, classes):
            raise CheckpointError(
                f"{file.name} is not {name}, a {info.network} with {info.num_classes} classes: {' and '.join(reasons)}"
            )
        reasons.append(f"it was imported as {name}")
    return Imported(info, Store(cache_dir).import_file(file, info, layout_of(info)), tuple(reasons))


def _guess(file: Path, network: str, classes: int, reasons: list[str]) -> ModelInfo:
    infos = [model_info(name) for name in list_models(network=network)]
    fits = [i for i in infos if i.num_classes == classes] or [i for i in infos if i.num_classes is None]
    named = {data for data in list_datasets() if re.search(rf"(?i)(?<![a-z]){data}(?![a-z])", file.stem)}
    if named and not named & {info.dataset.name for info in fits}:
        raise CheckpointError(
            f"{file.name} names the data set {' and '.join(sorted(named))}, but {' and '.join(reasons)}, which fits "
            f"{_names(fits)}: rename the file, or give the name of the model"
        )
    if named:
        reasons.append(f"its name says {' and '.join(sorted(named))}")
    # The number of classes alone proves nothing (MSTAR has as many as OpenSARUrban); a checksum does, and is verified.
    fits = [info for info in fits if info.dataset.name in named or (not named and info.checksum is not None)]
    if len(fits) != 1:
        raise CheckpointError(
            f"cannot tell which model {file.name} is: {' and '.join(reasons)}, and its name has no data set that fits; "
            "give the name of the model, or use the file as it is with create_model(name, checkpoint_path=…)"
        )
    return fits[0]


def _names(infos: list[ModelInfo]) -> str:
    return " and ".join(info.name for info in infos) or "no registered model"


def layout_of(info: ModelInfo) -> Layout:
    """Return how files of this model's network are renamed and what must be in them.

    The file tells the number of classes.
    """

    def expected(tensors: networks.Tensors) -> Mapping[str, tuple[tuple[int, ...], torch.dtype]]:
        return networks.tensor_layout(info.network, networks.head_classes(info.network, tensors))

    return Layout(rename=lambda tensors: networks.rename_checkpoint(info.network, tensors), expected=expected)


def _tag_or_path(
    name: str, pretrained: str | os.PathLike[str], checkpoint_path: str | os.PathLike[str] | None
) -> tuple[str, str | os.PathLike[str] | None]:
    text = os.fspath(pretrained)
    if isinstance(pretrained, os.PathLike) or re.search(r"[/\\]|\.(pth|pt|safetensors)$", text) or Path(text).is_file():
        if checkpoint_path is not None:
            raise OptionError("give the checkpoint once: as pretrained or as checkpoint_path")
        return name, text
    return f"{name.partition('.')[0]}.{text}", checkpoint_path


def _info(name: str) -> ModelInfo:
    if not name.startswith(_HUB):
        return model_info(name)
    config = fetch_hub_config(name.removeprefix(_HUB))
    if "sarhub" not in config:
        raise CheckpointError(
            f"config.json of {name} has no 'sarhub' part, so it was not published by sarhub-models: "
            "load it with timm.create_model"
        )
    return ModelInfo.from_dict(config["sarhub"])


def _locate(
    name: str,
    pretrained: bool,
    checkpoint_path: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
    progress: bool,
) -> tuple[ModelInfo, networks.Tensors | None]:
    """Return the description of a model and, where weights were asked for, its tensors."""
    info = _info(name)
    if checkpoint_path is not None:
        return info, load_checkpoint(Path(checkpoint_path).expanduser(), layout_of(info))
    if not pretrained:
        return info, None
    if name.startswith(_HUB):
        if cache_dir is not None:
            raise OptionError("published weights are kept in the Hugging Face cache: set HF_HOME, not cache_dir")
        return info, load_checkpoint(fetch_hub_model(name.removeprefix(_HUB), progress=progress)[1], layout_of(info))
    # What the store hands out was checked when it was converted, so here it is only mapped into memory.
    return info, read_tensors(Store(cache_dir).path(info, layout_of(info), progress=progress))


def _assemble(
    network: str,
    tensors: networks.Tensors,
    num_classes: int | None,
    in_chans: int,
    features_only: bool,
    options: Mapping[str, Any],
) -> nn.Module:
    entry = networks.spec(network)
    keep_head = num_classes is None
    with networks.without_numbers():
        model = networks.build(
            network,
            num_classes=networks.head_classes(network, tensors) if keep_head else 0,
            in_chans=in_chans,
            features_only=features_only,
            **options,
        )
    tensors = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in tensors.items()
        if keep_head or not key.startswith(f"{entry.head}.")
    }
    _fold_channels(tensors, f"{entry.stem}.weight", in_chans)
    if features_only:
        tensors = networks.select_for_features(model, tensors)
    try:
        networks.assign(model, tensors)
    except RuntimeError as err:
        if options:
            raise OptionError(f"the trained {network} does not fit the options {dict(options)}: {err}") from err
        raise CheckpointError(f"these weights do not fit {network}: {err}") from err
    if num_classes and not features_only:
        pooling = {"global_pool": options["global_pool"]} if "global_pool" in options else {}
        model.reset_classifier(num_classes, **pooling)  # type: ignore[operator]
    return model


def _fold_channels(tensors: networks.Tensors, stem: str, in_chans: int) -> None:
    """Fit the first convolution to ``in_chans`` channels, in place.

    The weights saw three equal channels, so only their sum has a meaning: it is spread evenly over the new ones.
    """
    weight = tensors[stem]
    if weight.shape[1] != in_chans:
        folded = weight.double().sum(dim=1, keepdim=True) / in_chans
        tensors[stem] = folded.to(weight.dtype).repeat(1, in_chans, 1, 1)


def _describe(model: nn.Module, info: ModelInfo, whole: bool) -> None:
    """Put the model's tag, statistics and (with its ``whole`` head) classes where timm's tools look for them."""
    config = cast(dict[str, Any], model.pretrained_cfg)
    channels = config["input_size"][0]
    config["mean"] = (info.preprocessing.mean,) * channels
    config["std"] = (info.preprocessing.std,) * channels
    config["tag"] = info.tag
    if whole and info.class_names is not None:
        config["label_names"] = list(info.class_names)
