"""The preprocessing of weights for several bands: units, resize, crop and statistics, band by band."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from ..errors import ImageError, OptionError, UnitWarning
from .pipeline import as_tensor, flip_and_rotate
from .radiometry import check_option, check_values, convert_unit

__all__ = ["BandTransform"]


class BandTransform(nn.Module):
    """The preprocessing of a set of weights for several bands: an image in physical units becomes the network's input.

    In this order: conversion to the unit of the weights → clip → resize to a square (bilinear with antialiasing; an
    image that is not square is squeezed) → centre crop (what is missing is 0) → ``(x - mean) / std`` of each band → in
    training mode a horizontal flip with probability ½ and a rotation of up to ±10° (pixels from outside become 0, the
    mean). The module holds no tensors and works on the device of its input; with ``validate=False`` it never waits for
    that device.

    Args:
        mean: subtracted, one number a band.
        std: divided by after the mean, one number a band.
        size: side of the square to resize to, or ``None``.
        crop: side of the square to cut from the middle, or ``None``.
        clip: values are held between these, or ``None``.
        bands: names of the bands, in the order of the channels; for messages.
        trained_unit: what the weights expect, or ``None`` where nobody published it.
        unit: what the images hold, ``"amplitude"``, ``"intensity"``, ``"db"`` or ``"dn"``; ``None`` is just that.
        full_scale: the digital number that stands for amplitude 1.
        training: start in training mode; :meth:`train` and :meth:`eval` switch.
        validate: look for NaN, infinity, and values that cannot be or are plainly not of that unit.

    Attributes:
        takes_amplitude: ``False``: it wants the values of the file.

    Raises:
        OptionError: there is no such unit, it cannot be converted, or there are no bands.

    >>> transform = BandTransform((-12.59, -20.26), (5.26, 5.91), 256, 224, None, ("VV", "VH"), "db", "db")
    >>> transform(np.full((2, 100, 90), -12.0, dtype=np.float32)).shape
    torch.Size([2, 224, 224])
    """

    takes_amplitude = False

    def __init__(
        self,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        size: int | None,
        crop: int | None,
        clip: tuple[float, float] | None,
        bands: tuple[str, ...],
        trained_unit: str | None,
        unit: str | None = None,
        full_scale: float | None = None,
        training: bool = False,
        validate: bool = True,
    ) -> None:
        super().__init__()
        if not bands or not len(mean) == len(std) == len(bands):
            raise OptionError(f"expected a mean and a std for each band, got {mean} and {std} for {bands}")
        check_option(unit, trained_unit, full_scale)
        if trained_unit is None and unit is not None:
            warnings.warn(
                f"nobody published the unit that these weights expect: {unit} is not converted, values go to the "
                "network as they are",
                UnitWarning,
                stacklevel=3,
            )
        self.mean, self.std, self.bands = mean, std, bands
        self.size, self.crop, self.clip = size, crop, clip
        self.trained_unit, self.unit, self.full_scale = trained_unit, unit or trained_unit, full_scale
        self.validate = validate
        self.train(training)

    def forward(self, x: np.ndarray | Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Prepare one image or a batch.

        Args:
            x: values of ``unit``, real numbers of any type (complex ones are replaced by their magnitude where the unit
                is ``"amplitude"`` or ``"dn"``): (C, H, W) for one image, (B, C, H, W) for a batch, with the
                bands in the order of ``bands``; of one band also (H, W). NumPy array or tensor on any device.
            generator: random numbers for training mode, on the device of ``x``; by default torch's own.

        Returns:
            float32 tensor, (C, S, S) for one image and (B, C, S, S) for a batch, on the device of ``x``.

        Raises:
            ImageError: ``x`` has another shape, is empty, or is complex where its unit is not; with ``validate`` also
                if it holds NaN, infinity or values that its unit cannot have.

        Warns:
            UnitWarning: the values are plainly not of the unit (with ``validate``).
        """
        batch, single = self._batch(as_tensor(x))
        if self.validate:
            check_values(batch, self.unit)
        if self.trained_unit is not None and self.unit is not None:
            batch = convert_unit(batch, self.unit, self.trained_unit, self.full_scale)
        if self.clip is not None:
            batch = batch.clamp(*self.clip)
        if self.size is not None:
            batch = F.resize(batch, [self.size, self.size], antialias=True)
        if self.crop is not None:
            batch = F.center_crop(batch, [self.crop, self.crop])
        batch = F.normalize(batch, list(self.mean), list(self.std))
        if self.training:
            batch = flip_and_rotate(batch, *torch.rand(2, len(batch), generator=generator, device=batch.device))
        return batch[0] if single else batch

    def _batch(self, x: Tensor) -> tuple[Tensor, bool]:
        """Return real float32 values of shape (B, C, H, W), and whether ``x`` was a single image."""
        count, names = len(self.bands), ", ".join(self.bands)
        if x.is_complex() and self.unit in ("amplitude", "dn"):
            x = x.abs()
        if x.is_complex() or x.dtype == torch.bool:
            raise ImageError(f"expected real values of {names}, got {x.dtype}; SLC data have unit='dn'")
        if count == 1 and x.ndim == 2:
            x = x[None]
        if x.ndim not in (3, 4) or x.shape[-3] != count or x.numel() == 0:
            raise ImageError(
                f"expected {count} bands ({names}) of shape ({count}, H, W) or (B, {count}, H, W) with at least one "
                f"pixel, got {tuple(x.shape)}; bands=… of create_model and create_transform names those that there are"
            )
        return x.reshape(-1, *x.shape[-3:]).float(), x.ndim < 4

    def extra_repr(self) -> str:
        """Return the arguments for ``repr``."""
        shape = f"size={self.size}, crop={self.crop}"
        return f"bands={self.bands}, unit={self.unit!r}, mean={self.mean}, std={self.std}, {shape}"
