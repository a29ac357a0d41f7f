"""Chips as explanations take them: after the dynamic-range operator and the resizing, before mean and std."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError, OptionError
from ..images import read_image
from ..transforms import SarTransform, normalize_amplitude

__all__ = ["check_chips", "prepare", "read_chips"]


def prepare(transform: SarTransform, amplitude: np.ndarray | Tensor) -> Tensor:
    """Return a chip as the network sees it but for mean and standard deviation.

    Args:
        transform: the network's preprocessing; its ``mean`` and ``std`` are what the explanation then needs.
        amplitude: as ``transform`` takes it, in [0, 1].

    Returns:
        float32 in [0, 1], (C, S, S) for one chip and (B, C, S, S) for a batch.
    """
    return transform(amplitude) * transform.std + transform.mean


def read_chips(
    files: Sequence[str | os.PathLike[str]],
    transform: SarTransform,
    *,
    full_scale: float | None = None,
    band: int | None = None,
) -> Tensor:
    """Read and prepare images.

    Args:
        files: what :func:`~sarhub_models.images.read_image` reads.
        transform: the network's preprocessing, in evaluation mode.
        full_scale: amplitude that becomes 1 (:func:`~sarhub_models.transforms.normalize_amplitude`).
        band: band to read, counted from 1.

    Returns:
        float32 (N, C, S, S).

    Raises:
        ImageError: an image cannot be read, holds NaN, is constant, or becomes another shape than the first; the
            message names it.
    """
    chips: list[Tensor] = []
    for file in map(Path, files):
        image = read_image(file, band=band)
        try:
            amplitude = normalize_amplitude(image, full_scale)
            if (amplitude == amplitude[0, 0]).all():
                raise ImageError("all pixels are equal, so there is nothing to look at")
            chip = prepare(transform, amplitude)
        except ImageError as err:
            raise ImageError(f"{file}: {err}") from err
        if chips and chip.shape != chips[0].shape:
            raise ImageError(f"{file}: expected a chip that becomes {tuple(chips[0].shape)}, got {tuple(chip.shape)}")
        chips.append(chip)
    if not chips:
        raise ImageError("expected at least one image, got none")
    return torch.stack(chips)


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
