"""The tensors of weights: from a file, the cache, or a source, each checked against its network."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

import torch

from .. import networks
from ..errors import OptionError
from ..weights import CheckpointSpec, Store, fetch_hub_model, load_checkpoint, read_tensors
from ..zoo.entries import ModelInfo
from .choice import HUB, Choice
from .dense import STRIDE, dense_layout

__all__ = ["NO_HEAD", "dense_options", "image_size", "load_tensors", "spec_of"]

NO_HEAD = 0  # number of classes of weights that were released without a head


def load_tensors(
    choice: Choice, *, cache_dir: str | os.PathLike[str] | None = None, progress: bool = True
) -> networks.Tensors:
    """Return the tensors of weights by the network's names: from their file, the cache, or downloaded now.

    Options and errors are those of :func:`create_model`.
    """
    info = choice.info
    if choice.file is not None:
        spec = spec_of(info, released=choice.described)
        return load_checkpoint(choice.file, spec, tensors_only=info.tensors_only)
    if choice.name.startswith(HUB):
        if cache_dir is not None:
            raise OptionError("published weights are kept in the Hugging Face cache: set HF_HOME, not cache_dir")
        file = fetch_hub_model(choice.name.removeprefix(HUB), progress=progress)[1]
        return load_checkpoint(file, spec_of(info))
    # What the store hands out was checked when it was converted, so here it is only mapped into memory.
    return read_tensors(Store(cache_dir).path(info, spec_of(info), progress=progress))


def spec_of(info: ModelInfo, *, released: bool = True) -> CheckpointSpec:
    """Return how files of this model's network are renamed and what must be in them.

    The file tells the number of classes, unless the entry is of the file and says it.

    Args:
        info: the model.
        released: the entry is of the file: the published one, or one that describes itself. Then the head that some
            files of weights without one still carry is left out; in another file of the user's own it was trained.
    """
    if info.decoder is not None:
        return CheckpointSpec(
            rename=dict, expected=lambda tensors: dense_layout(info.network, str(info.decoder), **dense_options(info))
        )
    head = f"{networks.spec(info.network).head}."
    known = released and info.num_classes is not None
    size = image_size(info) if released else {}

    def rename(tensors: networks.Tensors) -> networks.Tensors:
        renamed = networks.rename_checkpoint(info.network, tensors)
        if not released and (other := networks.spec(info.network).lookalike) and tensors.keys() >= renamed.keys():
            warnings.warn(
                f"these tensors are taken for this package's {info.network}; {other} has the same names and shapes, "
                "but computes something else: if they are of it, the answers will be wrong",
                stacklevel=5,
            )
        if not released and len(info.input.bands) == 1 and networks.stem_channels(info.network, renamed) == 1:
            return networks.fit_channels(info.network, renamed, info.input.channels)  # exact where one band is repeated
        if released and info.num_classes == NO_HEAD:
            return {name: tensor for name, tensor in renamed.items() if not name.startswith(head)}
        return renamed

    def expected(tensors: networks.Tensors) -> Mapping[str, tuple[tuple[int, ...], torch.dtype]]:
        return networks.tensor_layout(
            info.network,
            num_classes=info.num_classes if known else networks.head_classes(info.network, tensors),
            in_chans=info.input.channels,
            **size,
        )

    return CheckpointSpec(rename=rename, expected=expected)


def dense_options(info: ModelInfo) -> dict[str, int]:
    """Return the options of :func:`~sarhub_models.models.dense.build_dense` for weights with a decoder."""
    return {
        "num_classes": info.num_classes or 0,
        "in_chans": info.input.channels,
        "side": info.preprocessing.side or STRIDE,
    }


def image_size(info: ModelInfo) -> dict[str, int]:
    """Return the option of networks that are made for one size of the image: the size that they were trained with."""
    side = info.preprocessing.side
    return {} if side is None or "img_size" not in networks.spec(info.network).timm_args else {"img_size": side}
