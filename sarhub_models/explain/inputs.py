"""Prepare chips as explanations disturb them, and the pictures of them that are shown."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError, NodataError, OptionError, UnknownNameError
from ..io.images import read_image, read_pixels
from ..io.limits import check_scene
from ..transforms import Pipeline, convert_radiometry, normalize_amplitude

__all__ = ["ChipBatch", "band_index", "check_chips", "prepare", "prepare_chips", "read_chips"]


@dataclass(frozen=True)
class ChipBatch:
    """Chips that are ready to be explained and to be shown.

    Attributes:
        names: one for each chip.
        values: as noise disturbs them (:func:`prepare`), float32 (N, C, S, S).
        amplitude: of the band that is shown, before the dynamic-range operator, cut and resized alike, float32
            (N, S, S) in [0, 1].
        mean: what is still to be subtracted from the values before the network sees them.
        std: what they are still to be divided by after that.
        channel: of the values, the band that is shown.
    """

    names: tuple[str, ...]
    values: Tensor
    amplitude: np.ndarray
    mean: float = 0.0
    std: float = 1.0
    channel: int = 0

    def __len__(self) -> int:
        return len(self.names)


def _has_one_scale(transform: Pipeline) -> bool:
    """Return ``True`` for amplitude behind an operator, where one mean and one deviation remain: SAR-HUB's chain."""
    return "operator" in transform.steps and transform.takes_amplitude and len(transform.bands) == 1


def prepare(transform: Pipeline, image: np.ndarray | Tensor) -> Tensor:
    """Return a chip as noise disturbs it.

    Args:
        transform: the network's preprocessing.
        image: as ``transform`` takes it.

    Returns:
        float32, (C, S, S) for one chip and (B, C, S, S) for a batch. Amplitude behind a dynamic-range operator stays
        in [0, 1], as in SAR-HUB, and the transform's ``mean`` and ``std`` are what the explanation then needs. All
        else, several bands among it, is what the network sees: so a σ means as much in one band as in another.
    """
    return transform.without("normalize")(image) if _has_one_scale(transform) else transform(image)


def prepare_chips(
    images: Iterable[np.ndarray],
    names: Sequence[str],
    transform: Pipeline,
    *,
    full_scale: float | None = None,
    shown: str | None = None,
) -> ChipBatch:
    """Prepare images.

    Args:
        images: (H, W), or (C, H, W) of the transform's bands, each; they may be read one by one. Of one band behind an
            operator as :func:`~sarhub_models.transforms.normalize_amplitude` takes them, else as the transform does.
        names: one for each image, for messages, too.
        transform: the network's preprocessing, in evaluation mode.
        full_scale: amplitude that becomes 1, where that is the transform's input.
        shown: name of the band whose amplitude is shown and whose regions are found; by default the first.

    Raises:
        ImageError: there is no image, or one holds NaN, is constant, or becomes another shape than the first; the
            message names it.
        UnknownNameError: the transform has no such band.
    """
    index = band_index(transform, shown) or 0
    values: list[Tensor] = []
    amplitudes: list[Tensor] = []
    for name, image in zip(names, images, strict=True):
        try:
            check_scene(image.shape[-2:], transform.size)
            if (image == image[..., :1, :1]).all():
                raise ImageError("all pixels are equal, so there is nothing to look at")
            if _has_one_scale(transform):
                given = normalize_amplitude(image, full_scale=full_scale, trained=transform.trained_full_scale)
                given = np.asarray(given, dtype=np.float32)
                chip, plane = prepare(transform, given), torch.from_numpy(given).reshape(image.shape[-2:])
            else:
                chip, plane = prepare(transform, image), _plane(transform, image.reshape(-1, *image.shape[-2:])[index])
        except ImageError as err:
            raise ImageError(f"{name}: {err}") from err
        if values and chip.shape != values[0].shape:
            raise ImageError(f"{name}: expected a chip that becomes {tuple(values[0].shape)}, got {tuple(chip.shape)}")
        values.append(chip)
        amplitudes.append(_as_placed(transform, plane))
    if not values:
        raise ImageError("expected at least one image, got none")
    mean, std = (transform.mean, transform.std) if _has_one_scale(transform) else (0.0, 1.0)
    return ChipBatch(tuple(names), torch.stack(values), torch.stack(amplitudes).numpy(), mean, std, index)


def band_index(transform: Pipeline, band: str | None) -> int | None:
    """Return the position of a band in the network's input; ``None`` for none.

    Raises:
        UnknownNameError: the network does not take such a band.
    """
    if band is None:
        return None
    bands = [name.upper() for name in transform.bands]
    if band.upper() not in bands:
        raise UnknownNameError(f"the network takes no band {band!r}; its bands: {', '.join(transform.bands)}")
    return bands.index(band.upper())


def _plane(transform: Pipeline, plane: np.ndarray) -> Tensor:
    """Return the amplitude (H, W) in [0, 1] of a band, for the eye: 1 is its largest value."""
    step = transform.steps["radiometry"]
    values = torch.from_numpy(np.abs(plane) if np.iscomplexobj(plane) else np.asarray(plane)).float()
    if step.given is None:  # nobody published what it is
        values = values - values.min()
    else:
        values = convert_radiometry(values, step.given, "amplitude", full_scale=step.full_scale)
    return values / values.max().clamp_min(torch.finfo(values.dtype).tiny)


def _as_placed(transform: Pipeline, plane: Tensor) -> Tensor:
    """Return a plane (H, W) cut and resized as the transform does it."""
    batch = plane[None, None]
    for name in transform.steps:
        if name in ("crop", "resize", "final_crop"):
            batch = transform.steps[name](batch)
    return batch[0, 0].clamp(0, 1)


def read_chips(
    files: Sequence[str | os.PathLike[str]],
    transform: Pipeline,
    *,
    names: Sequence[str] | None = None,
    full_scale: float | None = None,
    band: int | str | Sequence[int] | None = None,
    bands: Sequence[str] | None = None,
    nodata: str = "refuse",
    shown: str | None = None,
) -> ChipBatch:
    """Read and prepare images, of which all are in memory then.

    Args:
        files: what :func:`~sarhub_models.io.images.read_image` reads.
        transform: the network's preprocessing, in evaluation mode.
        names: of the chips; by default the files' paths as given.
        full_scale: as of :func:`prepare_chips`.
        band: band to read for a network of one, counted from 1 or by the name that the files give it; or positions of
            all bands of a network of several.
        bands: names of the files' bands, in their order, where the files do not say them and the network takes several.
        nodata: what pixels without data do (:func:`~sarhub_models.io.images.read_image`); ``"skip"`` leaves out chips
            with more than a tenth of them, and a warning says how many.
        shown: as of :func:`prepare_chips`.

    Raises:
        ImageError: an image cannot be read, holds NaN, is constant, or becomes another shape than the first; the
            message names it.
        OptionError: ``band`` is one, and the network takes several.
        UnknownNameError: the network takes no band ``shown``.
    """
    several = len(transform.bands) > 1
    if several and isinstance(band, int | str):
        raise OptionError(f"the network takes the bands {', '.join(transform.bands)}: they are read by their names")
    labels = [os.fspath(file) for file in files] if names is None else list(names)
    images: list[np.ndarray] = []
    kept: list[str] = []
    left_out: list[str] = []
    for file, label in zip(files, labels, strict=True):
        try:
            if isinstance(band, int | str) or not several:
                image = read_image(file, band=band if isinstance(band, int | str) else None, nodata=nodata)
            else:
                image = read_pixels(file, wanted=transform.bands, given=bands, band=band, nodata=nodata)
        except NodataError:
            if nodata != "skip":
                raise
            left_out.append(label)
            continue
        images.append(image)
        kept.append(label)
    if left_out:
        warnings.warn(f"{len(left_out)} chips without data were left out, {left_out[0]} first", stacklevel=2)
    return prepare_chips(images, kept, transform, full_scale=full_scale, shown=shown)


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
