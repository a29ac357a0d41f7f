"""Outputs that the authors of weights published for given images, against those of the network here."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np

from ..errors import CheckpointError, ManifestError, OfflineError, OptionError
from ..io.images import read_pixels
from ..weights.http import download
from ..weights.hub import offline
from ..zoo.manifest import list_models, model_info
from .create import create_model, create_transform

__all__ = ["Answers", "check_answers", "with_answers"]

# float32 on other machines: what the authors allow counts, but never less than this.
_LEAST = 1e-6


@dataclass(frozen=True)
class Answers:
    """The outputs here beside the published ones.

    Attributes:
        name: of the weights.
        images: how many were compared.
        difference: the largest difference of a number.
        share: the largest difference as a share of what the authors allow for that number; up to 1 is right.
    """

    name: str
    images: int
    difference: float
    share: float

    @property
    def ok(self) -> bool:
        """Return True where every number is within what the authors allow."""
        return self.share <= 1


def with_answers() -> list[str]:
    """Return the weights whose authors published outputs."""
    return [name for name in list_models() if model_info(name).answers]


def check_answers(name: str) -> Answers:
    """Download the images and outputs that the authors of weights published, and compare.

    The weights are downloaded unless they are there. Each image takes the way of any image: it is read, prepared with
    :func:`~sarhub_models.models.create.create_transform`, and sent through the network without a head. Images and
    outputs are not kept.

    Args:
        name: of the weights.

    Raises:
        UnknownNameError: there are no such weights.
        OptionError: their authors published no outputs.
        OfflineError: the network must not be used.
        DownloadError: an image, the outputs or the weights could not be had.
        CheckpointError: what was downloaded are no outputs of these images.
    """
    import torch

    info = model_info(name)
    if info.answers is None:
        raise OptionError(f"the authors of {name} published no outputs; known: {', '.join(with_answers()) or 'none'}")
    inputs, outputs = info.answers.get("inputs"), info.answers.get("outputs")
    if not isinstance(inputs, (list, tuple)) or not inputs or not isinstance(outputs, str):
        raise ManifestError(f"the answers of {name} must name inputs and outputs")
    if offline():
        raise OfflineError(
            f"the published outputs of {name} need the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids"
        )
    model, transform = create_model(name, pretrained=True, num_classes=0).eval(), create_transform(name)
    bands = info.input.bands
    with tempfile.TemporaryDirectory() as folder:
        expected = _published(outputs, Path(folder), len(inputs))
        found = []
        for number, url in enumerate(inputs):
            file = Path(folder) / f"{number}{PurePosixPath(urlsplit(url).path).suffix}"
            download(url, file)
            image = transform(read_pixels(file, wanted=bands if len(bands) > 1 else ()))
            with torch.inference_mode():
                found.append(model(image[None])[0].numpy())
    array = np.stack(found).astype(np.float64)
    if array.shape != expected.shape:
        raise CheckpointError(f"the published outputs of {name} have shape {expected.shape}, expected {array.shape}")
    rtol, atol = (max(float(info.answers.get(key, 0)), _LEAST) for key in ("rtol", "atol"))
    difference = np.abs(array - expected)
    return Answers(
        name, len(inputs), float(difference.max()), float((difference / (atol + rtol * abs(expected))).max())
    )


def _published(url: str, folder: Path, count: int) -> np.ndarray:
    file = folder / "outputs.npy"
    download(url, file)
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as err:
        raise CheckpointError(f"the published outputs are no .npy file of numbers: {err}") from err
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim < 2 or not np.isfinite(array).all():
        raise CheckpointError("the published outputs are no finite floating-point numbers, one row an image")
    return array.reshape(count, -1).astype(np.float64) if array.size % count == 0 else array.astype(np.float64)
