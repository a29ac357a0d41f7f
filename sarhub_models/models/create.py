"""Network, weights and preprocessing of one model: :func:`create_model`, :func:`create_transform`."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, cast

from torch import nn

from .. import networks
from ..errors import CheckpointError, OptionError
from ..transforms import Pipeline
from ..zoo.description import weights_file
from ..zoo.entries import SINGLE, ModelInfo
from ..zoo.manifest import load_manifest, own_file
from .choice import Choice, choose, find_info, image_values
from .dense import build_dense
from .loading import NO_HEAD, dense_options, image_size, load_tensors

__all__ = [
    "build_model",
    "create_model",
    "create_transform",
    "input_channels",
    "open_model",
    "select_channels",
]


def create_model(
    name: str | os.PathLike[str],
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
    """Build a network: of a name without or with its SAR-pretrained weights, of a file with the weights in it.

    Args:
        name: a name of :func:`~sarhub_models.list_models`, or ``hf-hub:org/repo`` for a published one; or weights that
            describe themselves: a file that this package wrote, or the folder of a run. These are always loaded.
        pretrained: ``True`` for the weights of that name; a tag for others of the same network and data, as a short
            form of their full name (``"grsl2020"`` for ``resnet18_tsx.grsl2020``, which is the name to give to
            :func:`create_transform`); or the path of a checkpoint.
        num_classes: ``None`` keeps the trained head (weights that have none give features), and so does the number of
            its classes; 0 removes it; any other number puts an untrained one in its place (of a file of one's own, a
            warning says so).
        in_chans: channels of the input; ``None`` is what the weights were trained on: 3 equal channels for one band,
            or the bands. Weights of one band: the first convolution is folded so that the output for n equal channels
            is that of the chip repeated to 3. Weights of several bands: the first n of ``model_info(name).input.bands``
            are kept, in that order, so channel i is band i; the output is that of all bands where the others are 0
            after the preprocessing (Panopticon does without them).
        bands: the bands to keep, by name and in the order of the channels of the image, such as ``("VV",)``; for
            weights of several bands, in place of ``in_chans``.
        features_only: return the feature maps of the stages as a list, as timm does: (B, C, H, W), of Swin
            (B, H, W, C).
        checkpoint_path: load this file, or the best weights of this run's folder, in place of the registered weights.
            What the file says of itself (classes, mean, std) comes before what is registered under the name; a file of
            other programs, which says nothing, was trained with the preprocessing of the name.
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
        CheckpointError: the file does not fit the network, says that it is of another one or for other bands, or is
            given alone and does not describe itself.
        FileNotFoundError: there is no such file.
        OptionError: an option contradicts the weights.

    Warns:
        UserWarning: the trained head of the file was replaced, or the file was trained with another preprocessing than
            the name says.

    >>> import torch
    >>> import sarhub_models as sarhub
    >>> model = sarhub.create_model("mobilenetv3_dsn", pretrained=True, num_classes=5, in_chans=1)
    >>> model(torch.zeros(2, 1, 128, 128)).shape
    torch.Size([2, 5])
    """
    for number, least in ((num_classes, 0), (in_chans, 1)):
        if number is not None and not (isinstance(number, Integral) and number >= least):
            raise OptionError(
                f"expected num_classes >= 0 and in_chans >= 1, whole numbers, got {num_classes!r} and {in_chans!r}"
            )
    if isinstance(pretrained, (str, os.PathLike)):
        name, checkpoint_path = _tag_or_path(name, pretrained, checkpoint_path)
    choice = choose(name, checkpoint_path=checkpoint_path, by_name=True)
    wanted = choice.file is not None or pretrained
    tensors = load_tensors(choice, cache_dir=cache_dir, progress=progress) if wanted else None
    return build_model(
        choice, tensors, num_classes=num_classes, in_chans=in_chans, bands=bands, features_only=features_only, **options
    )


def build_model(
    choice: Choice,
    tensors: networks.Tensors | None,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    bands: Sequence[str] | None = None,
    features_only: bool = False,
    **options: Any,
) -> nn.Module:
    """Build the network of weights from their tensors, or untrained where there are none.

    Options and errors are those of :func:`create_model`. Networks that are made for one size of the image get that of
    the preprocessing.
    """
    info = choice.info
    channels = input_channels(info, in_chans=in_chans, bands=bands)
    if info.decoder is not None:
        whole = num_classes in (None, info.num_classes) and len(channels) == info.input.channels
        if not whole or features_only or options or bands not in (None, info.input.bands):
            raise OptionError(
                f"{choice.name} is a {info.network} with the decoder {info.decoder} for {info.task}: it is loaded as "
                "it is, without other classes, bands, features or options ('sarhub predict' applies it)"
            )
        return _with_decoder(info, tensors)
    options = {**image_size(info), **options}
    if tensors is None:
        classes = info.num_classes if num_classes is None else num_classes
        if classes is None:
            raise OptionError(f"only the weights of {info.name} tell its number of classes: give num_classes")
        model = networks.build(
            info.network, num_classes=classes, in_chans=len(channels), features_only=features_only, **options
        )
    else:
        trained = networks.head_classes(info.network, tensors)
        if choice.file is not None and trained and num_classes not in (None, NO_HEAD, trained) and not features_only:
            warnings.warn(
                f"the trained head of {choice.file} ({trained} classes) is replaced by an untrained one of "
                f"{num_classes}: num_classes={trained}, or None, keeps it",
                stacklevel=3,
            )
        model = _assemble(
            info, tensors, trained if num_classes is None else num_classes, channels, features_only, options
        )
    _describe(model, info, channels, whole=num_classes in (None, info.num_classes))
    return model


def _with_decoder(info: ModelInfo, tensors: networks.Tensors | None) -> nn.Module:
    model = build_dense(info.network, str(info.decoder), **dense_options(info))
    if tensors is not None:
        model.load_state_dict(tensors)
    return model


def open_model(
    name: str | os.PathLike[str],
    *,
    checkpoint_path: str | os.PathLike[str] | None = None,
    preprocessing: str | None = None,
    radiometry: str | None = None,
    full_scale: float | None = None,
) -> tuple[nn.Module, Pipeline, ModelInfo]:
    """Return a network with its weights, the preprocessing that belongs to them, and their entry.

    Args:
        name: as for :func:`create_model`.
        checkpoint_path: as for :func:`create_model`, but a file that does not describe itself needs ``preprocessing``.
        preprocessing: for such a file, the registered name of weights with the preprocessing that it was trained with.
        radiometry: as for :func:`create_transform`; by default that of the images of a fine-tuning, if any.
        full_scale: likewise.

    Raises:
        SarHubError: as :func:`create_model` and :func:`create_transform` say.
    """
    choice = choose(name, checkpoint_path=checkpoint_path, preprocessing=preprocessing)
    model = build_model(choice, load_tensors(choice))
    radiometry, full_scale = image_values(choice.info, radiometry=radiometry, full_scale=full_scale)
    transform = Pipeline.from_dict(choice.info.to_dict(), radiometry=radiometry, full_scale=full_scale)
    return model, transform, choice.info


def create_transform(
    name: str | os.PathLike[str],
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
        CheckpointError: a file that does not describe itself: name the weights whose preprocessing it was trained with.
        FileNotFoundError: there is no such file.
        OptionError: the bands are not those of the weights, there is no such radiometry, or it cannot be
            converted.
    """
    info = find_info(name)
    if variant is not None:
        info = info.prepared(variant)
    fields = select_channels(info, input_channels(info, in_chans=in_chans, bands=bands)).to_dict()
    return Pipeline.from_dict(fields, radiometry=radiometry, full_scale=full_scale, training=training, nodata=nodata)


def select_channels(info: ModelInfo, channels: Sequence[int]) -> ModelInfo:
    """Return the entry for a network that was built with these channels of the trained one."""
    given, p = dataclasses.replace(info.input, channels=len(channels)), info.preprocessing
    if len(given.bands) > 1:
        given = dataclasses.replace(given, bands=tuple(info.input.bands[channel] for channel in channels))
        p = p.of(channels)
    return dataclasses.replace(info, input=given, preprocessing=p)


def input_channels(info: ModelInfo, *, in_chans: int | None = None, bands: Sequence[str] | None = None) -> list[int]:
    """Return, for each channel of the input, which channel of the trained network it is.

    Weights of one band saw it repeated: their channels are all alike, and any number is possible.
    """
    known = info.input.bands
    names = (bands,) if isinstance(bands, str) else tuple(bands or ())
    if len(known) == 1:
        if bands is not None and not (names == known or (known == (SINGLE,) and len(names) == 1)):
            raise OptionError(f"{info.name} takes one band ({known[0]}), got bands={names}")
        if len(info.preprocessing.mean) > 1:
            if in_chans not in (None, info.input.channels):
                raise OptionError(
                    f"{info.name} takes {info.input.channels} copies of one band, each normalized by its own numbers: "
                    f"in_chans={in_chans} is impossible, leave it out"
                )
            return list(range(info.input.channels))
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


def _tag_or_path(
    name: str | os.PathLike[str],
    pretrained: str | os.PathLike[str],
    checkpoint_path: str | os.PathLike[str] | None,
) -> tuple[str | os.PathLike[str], str | os.PathLike[str] | None]:
    text = os.fspath(pretrained)
    tagged = f"{str(name).partition('.')[0]}.{text}"
    if tagged not in load_manifest().models and weights_file(pretrained) is not None:
        if checkpoint_path is not None:
            raise OptionError("give the checkpoint once: as pretrained or as checkpoint_path")
        return name, text
    if own_file(name) is not None:
        raise OptionError(f"{name} is a file of weights and has no others called {text!r}")
    return tagged, checkpoint_path


def _assemble(
    info: ModelInfo,
    tensors: networks.Tensors,
    num_classes: int,
    channels: list[int],
    features_only: bool,
    options: Mapping[str, Any],
) -> nn.Module:
    network, entry = info.network, networks.spec(info.network)
    keep_head = num_classes == networks.head_classes(network, tensors)
    with networks.on_meta_device():
        model = networks.build(
            network,
            num_classes=num_classes if keep_head else 0,
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
    _fit_channels(tensors, entry, info, channels)
    if features_only:
        tensors = networks.select_for_features(model, tensors)
    try:
        networks.assign(model, tensors)
    except RuntimeError as err:
        if options:
            raise OptionError(f"the trained {network} does not fit the options {dict(options)}: {err}") from err
        raise CheckpointError(f"these weights do not fit {network}: {err}") from err
    if not keep_head and num_classes and not features_only:
        pooling = {"global_pool": options["global_pool"]} if "global_pool" in options else {}
        model.reset_classifier(num_classes, **pooling)  # type: ignore[operator]
    return model


def _fit_channels(tensors: networks.Tensors, entry: networks.NetworkSpec, info: ModelInfo, channels: list[int]) -> None:
    """Fit the first convolution to the channels of the input, in place.

    Weights of one band saw it repeated, so only the sum of their channels has a meaning: it is spread evenly over the
    new ones. Of several bands, those that are wanted are picked.
    """
    stem = f"{entry.stem}.weight"
    weight = tensors[stem]
    if len(info.input.bands) > 1:
        if channels != list(range(weight.shape[1])):
            for name in (stem, *entry.by_band):
                tensors[name] = tensors[name][:, channels].contiguous()
    else:
        tensors.update(networks.fit_channels(info.network, tensors, len(channels)))


def _describe(model: nn.Module, info: ModelInfo, channels: list[int], whole: bool) -> None:
    """Put the model's tag, statistics and (with its ``whole`` head) classes where timm's tools look for them."""
    config = cast(dict[str, Any], model.pretrained_cfg)
    config["mean"], config["std"] = info.statistics(channels)
    config["tag"] = info.tag
    if whole and info.class_names is not None:
        config["label_names"] = list(info.class_names)
