"""Prepare chips as explanations take them: after the dynamic-range operator and the resizing, before mean and std."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ImageError, NodataError, OptionError
from ..io.images import read_image
from ..io.limits import check_scene
from ..transforms import Pipeline, normalize_amplitude

__all__ = ["ChipBatch", "check_chips", "prepare", "prepare_chips", "read_chips"]


@dataclass(frozen=True)
class ChipBatch:
    """Chips that are ready to be explained and to be shown.

    Attributes:
        names: one for each chip.
        values: as the network sees them but for mean and standard deviation, float32 (N, C, S, S) in [0, 1].
        amplitude: as they were before the dynamic-range operator, resized alike, float32 (N, S, S) in [0, 1].
    """

    names: tuple[str, ...]
    values: Tensor
    amplitude: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


def prepare(transform: Pipeline, amplitude: np.ndarray | Tensor) -> Tensor:
    """Return a chip as the network sees it but for mean and standard deviation.

    Args:
        transform: the network's preprocessing; its ``mean`` and ``std`` are what the explanation then needs.
        amplitude: as ``transform`` takes it, in [0, 1].

    Returns:
        float32 in [0, 1], (C, S, S) for one chip and (B, C, S, S) for a batch.
    """
    return transform.without("normalize")(amplitude)


def prepare_chips(
    images: Iterable[np.ndarray], names: Sequence[str], transform: Pipeline, *, full_scale: float | None = None
) -> ChipBatch:
    """Prepare images.

    Args:
        images: (H, W) each, as :func:`~sarhub_models.transforms.normalize_amplitude` takes them; they may be read one
            by one.
        names: one for each image, for messages, too.
        transform: the network's preprocessing, in evaluation mode.
        full_scale: amplitude that becomes 1.

    Raises:
        ImageError: there is no image, or one holds NaN, is constant, or becomes another shape than the first; the
            message names it.
    """
    values: list[Tensor] = []
    shown: list[Tensor] = []
    for name, image in zip(names, images, strict=True):
        try:
            check_scene(image.shape, transform.size)
            given = normalize_amplitude(image, full_scale=full_scale, trained=transform.trained_full_scale)
            amplitude = np.asarray(given, dtype=np.float32)
            if (amplitude == amplitude[0, 0]).all():
                raise ImageError("all pixels are equal, so there is nothing to look at")
            chip = prepare(transform, amplitude)
        except ImageError as err:
            raise ImageError(f"{name}: {err}") from err
        if values and chip.shape != values[0].shape:
            raise ImageError(f"{name}: expected a chip that becomes {tuple(values[0].shape)}, got {tuple(chip.shape)}")
        values.append(chip)
        size = tuple(chip.shape[-2:])
        shown.append(
            F.interpolate(torch.from_numpy(amplitude)[None, None], size, mode="bilinear", antialias=True)[0, 0]
        )
    if not values:
        raise ImageError("expected at least one image, got none")
    return ChipBatch(tuple(names), torch.stack(values), torch.stack(shown).numpy())


def read_chips(
    files: Sequence[str | os.PathLike[str]],
    transform: Pipeline,
    *,
    names: Sequence[str] | None = None,
    full_scale: float | None = None,
    band: int | str | None = None,
    nodata: str = "refuse",
) -> ChipBatch:
    """Read and prepare images, of which all are in memory then.

    Args:
        files: what :func:`~sarhub_models.io.images.read_image` reads.
        transform: the network's preprocessing, in evaluation mode.
        names: of the chips; by default the files' paths as given.
        full_scale: amplitude that becomes 1 (:func:`~sarhub_models.transforms.normalize_amplitude`).
        band: band to read, counted from 1 or by the name that the files give it.
        nodata: what pixels without data do (:func:`~sarhub_models.io.images.read_image`); ``"skip"`` leaves out chips
            with more than a tenth of them, and a warning says how many.

    Raises:
        ImageError: an image cannot be read, holds NaN, is constant, or becomes another shape than the first; the
            message names it.
    """
    labels = [os.fspath(file) for file in files] if names is None else list(names)
    images: list[np.ndarray] = []
    kept: list[str] = []
    left_out: list[str] = []
    for file, label in zip(files, labels, strict=True):
        image = _read_or_skip(file, band, nodata)
        (left_out if image is None else kept).append(label)
        if image is not None:
            images.append(image)
    if left_out:
        warnings.warn(f"{len(left_out)} chips without data were left out, {left_out[0]} first", stacklevel=2)
    return prepare_chips(images, kept, transform, full_scale=full_scale)


def _read_or_skip(file: str | os.PathLike[str], band: int | str | None, nodata: str) -> np.ndarray | None:
    try:
        return read_image(file, band=band, nodata=nodata)
    except NodataError:
        if nodata != "skip":
            raise
        return None


def check_chips(chips: np.ndarray | Tensor, names: Sequence[str] | None = None) -> Tensor:
    """Return chips as a float32 tensor.

    Args:
        chips: (N, C, H, W).
        names: of the chips, for messages; by default their numbers.

    Raises:
        ImageError: another shape, or a chip with NaN, infinity, or equal pixels; it is named.
        OptionError: not one name for each chip.
    """
    tensor = torch.as_tensor(chips)
    if tensor.ndim != 4 or tensor.numel() == 0:
        raise ImageError(f"expected chips of shape (N, C, H, W), got {tuple(tensor.shape)}")
    if names is not None and len(names) != len(tensor):
        raise OptionError(f"expected {len(tensor)} names, one for each chip, got {len(names)}")
    tensor = tensor.detach().float()
    pixels = tensor.flatten(1)
    for reason, bad in (
        ("has pixels that are NaN or infinite; mask or replace them first", ~pixels.isfinite().all(dim=1)),
        ("is constant: there is nothing to look at", (pixels == pixels[:, :1]).all(dim=1)),
    ):
        if bad.any():
            index = int(bad.nonzero()[0, 0])
            raise ImageError(f"chip {index if names is None else names[index]} {reason}")
    return tensor
