"""Network, weights and preprocessing of one model: :func:`create_model`, :func:`create_transform`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from .. import networks
from ..errors import CheckpointError, OptionError
from ..transforms import Pipeline
from ..weights import CheckpointSpec, Store, fetch_hub_config, fetch_hub_model, load_checkpoint, read_tensors
from ..zoo.entries import SINGLE, ModelInfo
from ..zoo.manifest import model_info

__all__ = ["NO_HEAD", "create_model", "create_transform", "spec_of"]

_HUB = "hf-hub:"
NO_HEAD = 0  # number of classes of weights that were released without a head


def create_model(
    name: str,
    pretrained: bool | str | os.PathLike[str] = False,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    bands: Sequence[str] | None = None,
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
        num_classes: ``None`` keeps the trained head (weights that have none give features), 0 removes it, any other
            number puts an untrained one in its place (also if it is as large as the trained one).
        in_chans: channels of the input; ``None`` is what the weights were trained on: 3 equal channels for one band,
            or the bands. Weights of one band: the first convolution is folded so that the output for n equal channels
            is that of the chip repeated to 3. Weights of several bands: the first n of ``model_info(name).input.bands``
            are kept, in that order, so channel i is band i; the output is that of all bands where the others are 0
            after the preprocessing (of dB weights: at their mean).
        bands: the bands to keep, by name and in the order of the channels of the image, such as ``("VV",)``; for
            weights of several bands, in place of ``in_chans``.
        features_only: return the feature maps of the stages as a list, as timm does: (B, C, H, W), of Swin
            (B, H, W, C).
        checkpoint_path: load this file (released ``.pth`` or our ``.safetensors``) in place of the registered weights.
        cache_dir: folder of the weights; by default ``SARHUB_CACHE`` or the platform's cache folder.
        progress: show a progress bar while downloading.
        **options: passed to timm's network: ``img_size`` (Swin; ViT, whose position embeddings are resampled),
            ``drop_rate``, ``drop_path_rate``, ``out_indices``, …

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
    channels = _channels(info, in_chans, bands)
    if tensors is None:
        classes = info.num_classes if num_classes is None else num_classes
        if classes is None:
            raise OptionError(f"only the weights of {name} tell its number of classes: give num_classes")
        model = networks.build(
            info.network, num_classes=classes, in_chans=len(channels), features_only=features_only, **options
        )
    else:
        model = _assemble(info, tensors, num_classes, channels, features_only, options)
    _describe(model, info, channels, whole=num_classes is None)
    return model


def create_transform(
    name: str,
    training: bool = False,
    *,
    in_chans: int | None = None,
    bands: Sequence[str] | None = None,
    radiometry: str | None = None,
    full_scale: float | None = None,
    nodata: str = "refuse",
    variant: str | None = None,
) -> Pipeline:
    """Return the preprocessing that belongs to a set of weights: an image in physical units → input of the network.

    Args:
        name: as for :func:`create_model`.
        training: draw the operator's parameter anew for every chip (DRAA), flip and rotate.
        in_chans: channels of the network's input, by the rule of :func:`create_model`.
        bands: the bands of the image, by name and in their order, as for :func:`create_model`.
        radiometry: what the image holds, a name of :data:`~sarhub_models.transforms.RADIOMETRIES`: ``"amplitude"``,
            ``"intensity"`` (its square), ``"db"`` (10 log10 of the intensity), ``"dn"`` (digital numbers), … It is
            converted to what the weights expect; ``None`` is just that, amplitude in [0, 1] for weights of one band.
            Values that are plainly something else draw a :class:`~sarhub_models.errors.RadiometryWarning`, impossible
            ones are an error.
        full_scale: the digital number that stands for amplitude 1, to get from or to ``"dn"``; by default that of the
            weights, where it is known.
        nodata: what values without data do, masked ones of a NumPy masked array, NaN and infinity: ``"refuse"`` the
            image, ``"fill"`` them with the lower median of the others of the band, or ``"skip"``: fill, but refuse
            (:class:`~sarhub_models.errors.NodataError`) an image with more than a tenth of them.
        variant: another preparation that is in use for these weights, a name of ``model_info(name).variants``, such
            as ``"torchgeo"``.

    Returns:
        A module. Weights of one band: for chips of shape (H, W), (1, H, W) or (B, 1, H, W), real or complex, NumPy or
        torch, to (in_chans, S, S) or (B, in_chans, S, S) float32. Weights of several bands: for images (C, H, W) or
        (B, C, H, W), real, with the bands in the order of the weights (or of ``bands``), to the same with S x S pixels.

    Raises:
        UnknownNameError: no model or variant has that name; the message gives the closest.
        OptionError: the bands are not those of the weights, there is no such radiometry, or it cannot be
            converted.
    """
    info = _info(name)
    if variant is not None:
        info = info.prepared(variant)
    channels = _channels(info, in_chans, bands)
    fields = info.to_dict()
    fields["input"]["channels"] = len(channels)
    if len(info.input.bands) > 1:
        fields["input"]["bands"] = [info.input.bands[channel] for channel in channels]
        fields["preprocessing"] = asdict(info.preprocessing.of(channels))
    return Pipeline.from_dict(fields, radiometry=radiometry, full_scale=full_scale, training=training, nodata=nodata)


def _channels(info: ModelInfo, in_chans: int | None, bands: Sequence[str] | None) -> list[int]:
    """Return, for each channel of the input, which channel of the trained network it is.

    Weights of one band saw it repeated: their channels are all alike, and any number is possible.
    """
    known = info.input.bands
    names = (bands,) if isinstance(bands, str) else tuple(bands or ())
    if len(known) == 1:
        if bands is not None and not (names == known or (known == (SINGLE,) and len(names) == 1)):
            raise OptionError(f"{info.name} takes one band ({known[0]}), got bands={names}")
        return [0] * (info.input.channels if in_chans is None else in_chans)
    if bands is None:
        if in_chans is not None and in_chans > len(known):
            raise OptionError(
                f"{info.name} takes {len(known)} bands, {', '.join(known)}, and has no use for {in_chans} channels: "
                f"give in_chans up to {len(known)}, or bands by name"
            )
        return list(range(len(known) if in_chans is None else in_chans))
    if not names or len(set(names)) != len(names) or not set(names) <= set(known):
        raise OptionError(f"{info.name} takes {', '.join(known)}, each once at most; got bands={names}")
    if in_chans not in (None, len(names)):
        raise OptionError(f"in_chans={in_chans} contradicts the bands {', '.join(names)}: give one of both")
    return [known.index(name) for name in names]


def spec_of(info: ModelInfo, *, released: bool = True) -> CheckpointSpec:
    """Return how files of this model's network are renamed and what must be in them.

    The file tells the number of classes, unless it is the published one and the list of weights says it.

    Args:
        info: the model.
        released: the file is the published one. Then the head that some files of weights without one still carry is
            left out; in a file of the user's own it was trained.
    """
    head = f"{networks.spec(info.network).head}."
    known = released and info.num_classes is not None

    def rename(tensors: networks.Tensors) -> networks.Tensors:
        renamed = networks.rename_checkpoint(info.network, tensors)
        if released and info.num_classes == NO_HEAD:
            return {name: tensor for name, tensor in renamed.items() if not name.startswith(head)}
        return renamed

    def expected(tensors: networks.Tensors) -> Mapping[str, tuple[tuple[int, ...], torch.dtype]]:
        return networks.tensor_layout(
            info.network,
            num_classes=info.num_classes if known else networks.head_classes(info.network, tensors),
            in_chans=info.input.channels,
        )

    return CheckpointSpec(rename=rename, expected=expected)


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
        return info, load_checkpoint(Path(checkpoint_path).expanduser(), spec_of(info, released=False))
    if not pretrained:
        return info, None
    if name.startswith(_HUB):
        if cache_dir is not None:
            raise OptionError("published weights are kept in the Hugging Face cache: set HF_HOME, not cache_dir")
        return info, load_checkpoint(fetch_hub_model(name.removeprefix(_HUB), progress=progress)[1], spec_of(info))
    # What the store hands out was checked when it was converted, so here it is only mapped into memory.
    return info, read_tensors(Store(cache_dir).path(info, spec_of(info), progress=progress))


def _assemble(
    info: ModelInfo,
    tensors: networks.Tensors,
    num_classes: int | None,
    channels: list[int],
    features_only: bool,
    options: Mapping[str, Any],
) -> nn.Module:
    network, entry = info.network, networks.spec(info.network)
    keep_head = num_classes is None
    with networks.on_meta_device():
        model = networks.build(
            network,
            num_classes=networks.head_classes(network, tensors) if keep_head else 0,
            in_chans=len(channels),
            features_only=features_only,
            **options,
        )
    tensors = {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in tensors.items()
        if keep_head or not key.startswith(f"{entry.head}.")
    }
    tensors = networks.fit_options(network, tensors, options)
    _fit_channels(tensors, f"{entry.stem}.weight", info, channels)
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


def _fit_channels(tensors: networks.Tensors, stem: str, info: ModelInfo, channels: list[int]) -> None:
    """Fit the first convolution to the channels of the input, in place.

    Weights of one band saw it repeated, so only the sum of their channels has a meaning: it is spread evenly over the
    new ones. Of several bands, those that are wanted are picked.
    """
    weight = tensors[stem]
    if len(info.input.bands) > 1:
        if channels != list(range(weight.shape[1])):
            tensors[stem] = weight[:, channels].contiguous()
    elif weight.shape[1] != len(channels):
        folded = weight.double().sum(dim=1, keepdim=True) / len(channels)
        tensors[stem] = folded.to(weight.dtype).repeat(1, len(channels), 1, 1)


def _describe(model: nn.Module, info: ModelInfo, channels: list[int], whole: bool) -> None:
    """Put the model's tag, statistics and (with its ``whole`` head) classes where timm's tools look for them."""
    config = cast(dict[str, Any], model.pretrained_cfg)
    config["mean"], config["std"] = info.statistics(channels)
    config["tag"] = info.tag
    if whole and info.class_names is not None:
        config["label_names"] = list(info.class_names)
