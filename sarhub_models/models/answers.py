"""Outputs that others published for given images, against those of the network here."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ..errors import CheckpointError, ManifestError, OfflineError, OptionError
from ..io.images import read_pixels
from ..weights.http import download, without_credentials
from ..weights.hub import offline
from ..zoo.manifest import list_models, model_info
from .create import create_model, create_transform

__all__ = ["Answers", "check_answers", "with_answers"]

# float32 on other machines: the tolerance of the entry counts, but never less than this.
_LEAST = 1e-6


@dataclass(frozen=True)
class Answers:
    """The outputs here beside the published ones.

    Attributes:
        name: of the weights.
        images: how many were compared.
        difference: the largest difference of a number.
        share: the largest difference as a share of the tolerance for that number; up to 1 is right.
        published_by: who published them: ``"authors"``, or ``"peer"``, another project that uses the weights.
    """

    name: str
    images: int
    difference: float
    share: float
    published_by: str

    @property
    def ok(self) -> bool:
        """Return True where every number is within the tolerance."""
        return self.share <= 1


def with_answers() -> list[str]:
    """Return the weights for which outputs were published."""
    return [name for name in list_models() if model_info(name).answers]


def check_answers(name: str) -> Answers:
    """Download the images and outputs that were published for weights, and compare.

    The weights are downloaded unless they are there. Each image takes the way of any image: it is read, prepared with
    :func:`~sarhub_models.models.create.create_transform`, and sent through the network: without a head where features
    were published, with it where scores of classes were. Images and outputs are not kept.

    Args:
        name: of the weights.

    Raises:
        UnknownNameError: there are no such weights.
        OptionError: nobody published outputs.
        OfflineError: the network must not be used.
        DownloadError: an image, the outputs or the weights could not be had.
        CheckpointError: what was downloaded are no outputs of these images.
    """
    import torch

    info = model_info(name)
    if info.answers is None:
        raise OptionError(f"nobody published outputs of {name}; known: {', '.join(with_answers()) or 'none'}")
    inputs, outputs = info.answers.get("inputs"), info.answers.get("outputs")
    if not isinstance(inputs, (list, tuple)) or not inputs or not isinstance(outputs, (str, Mapping)):
        raise ManifestError(f"the answers of {name} must name inputs and outputs")
    if offline():
        raise OfflineError(
            f"the published outputs of {name} need the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids"
        )
    scores = isinstance(outputs, Mapping)
    model = create_model(name, pretrained=True, num_classes=None if scores else 0).eval()
    transform, found = create_transform(name), []
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(outputs, Mapping):
            expected = _scores(info.class_names or (), outputs, Path(folder), len(inputs))
        else:
            expected = _features(outputs, Path(folder), len(inputs))
        for entry in inputs:
            image = transform(_image(entry, Path(folder), info.input.bands))
            with torch.inference_mode():
                output = model(image[None])
                if scores:
                    output = output.sigmoid() if info.dataset.multilabel else output.softmax(1)
            found.append(output[0].numpy())
    array = np.stack(found).astype(np.float64)
    if array.shape != expected.shape:
        raise CheckpointError(f"the published outputs of {name} have shape {expected.shape}, expected {array.shape}")
    rtol, atol = (max(float(info.answers.get(key, 0)), _LEAST) for key in ("rtol", "atol"))
    difference = np.abs(array - expected)
    share = difference / (atol + rtol * abs(expected))
    by = str(info.answers.get("published_by", "authors"))
    return Answers(name, len(inputs), float(difference.max()), float(share.max()), by)


def _image(entry: Any, folder: Path, bands: tuple[str, ...]) -> np.ndarray:
    """Download an image: an address, or the place of a ``.safetensors`` with one tensor a band in a larger file."""
    url = entry["url"] if isinstance(entry, Mapping) else entry
    file = folder / f"image{PurePosixPath(urlsplit(url).path).suffix}"
    download(url, file)
    if not isinstance(entry, Mapping):
        return read_pixels(file, wanted=bands if len(bands) > 1 else ())
    from safetensors.numpy import load

    with file.open("rb") as opened:
        opened.seek(entry["offset"])
        piece = opened.read(entry["size"])
    if hashlib.sha256(piece).hexdigest() != entry["sha256"]:
        raise CheckpointError(f"{without_credentials(url)} does not hold the image that the outputs are of")
    named = load(piece)
    return np.stack([named[band] for band in bands])


def _features(url: str, folder: Path, count: int) -> np.ndarray:
    """Download a ``.npy`` file with a row for each image."""
    file = folder / "outputs.npy"
    download(url, file)
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as err:
        raise CheckpointError(f"the published outputs are no .npy file of numbers: {err}") from err
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim < 2 or not np.isfinite(array).all():
        raise CheckpointError("the published outputs are no finite floating-point numbers, one row an image")
    return array.reshape(count, -1).astype(np.float64) if array.size % count == 0 else array.astype(np.float64)


def _scores(names: Sequence[str], place: Mapping[str, Any], folder: Path, count: int) -> np.ndarray:
    """Download a JSON file that has the scores of one image by the names of the classes, under given keys."""
    file = folder / "outputs.json"
    download(place["url"], file)
    try:
        found = json.loads(file.read_bytes())
        for key in place["keys"]:
            found = found[key]
        array = np.array([[float(found[name]) for name in names]])
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise CheckpointError(f"the published outputs are no scores of its classes: {err!r}") from err
    if count != 1 or len(found) != array.size or not np.isfinite(array).all():
        raise CheckpointError("the published outputs are no finite scores of its classes for one image")
    return array
