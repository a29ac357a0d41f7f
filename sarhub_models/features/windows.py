"""Predictions of images of any size, window by window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..datasets.windows.base import Bands, background, read_filled
from ..errors import ImageError
from ..io.raster import Raster
from ..io.windows import cut, grid
from ..transforms import normalize_amplitude
from ..zoo.entries import SINGLE
from .journal import maker_digest
from .predict import Predictor

__all__ = ["Image", "Row", "WindowPredictor"]

Image = str | os.PathLike[str] | np.ndarray | Tensor
Row = tuple[int, list[tuple[int, Any]]]
"""The first row of windows that lie side by side, and the first column of each with what the network says of it."""

_OVERLAP = 4  # a quarter of a window


class WindowPredictor(Predictor):
    """A predictor of masks or boxes, whose network sees windows; arguments as of :class:`.Predictor`.

    Pixels without data are filled for the network and get no answer, whatever ``nodata`` says.
    """

    plain_beyond: ClassVar[bool] = False

    @property
    def window(self) -> int:
        """Side of the windows in pixels."""
        assert self.transform.size is not None
        return self.transform.size

    @property
    def stride(self) -> int:
        """Pixels from one window to the next."""
        return self.window - self.window // _OVERLAP

    def read(self, image: Image) -> Raster:
        """Return an image with all that its file says.

        Raises:
            ImageError: it cannot be used; the message names it.
        """
        if isinstance(image, np.ndarray | Tensor):
            array = np.asarray(image)
            if array.ndim not in (2, 3):
                raise ImageError(f"expected an image (H, W) or (C, H, W), got {array.shape}")
            return Raster(array.reshape(-1, *array.shape[-2:]))
        wanted = () if self.transform.bands == (SINGLE,) else self.transform.bands
        given, band = (None if names is None else tuple(names) for names in (self.bands, self.band))
        return Bands(wanted, given, band).read(Path(image))

    def rows(self, raster: Raster, *, batch_size: int) -> Iterator[Row]:
        """Yield what the network says of the windows of an image, one row of windows after the other.

        Args:
            raster: of :meth:`read`.
            batch_size: windows that go through the network at once.

        Raises:
            ImageError: the pixels are not what they were said to be.
        """
        pixels, valid = read_filled(raster)
        beyond = background(pixels) if self.plain_beyond else None
        places = grid(*valid.shape, window=self.window, stride=self.stride)
        for top, group in groupby(places, key=lambda place: place[0]):
            lefts = [left for _, left in group if valid[top : top + self.window, left : left + self.window].any()]
            found: list[tuple[int, Any]] = []
            for begin in range(0, len(lefts), batch_size):
                chosen = lefts[begin : begin + batch_size]
                parts = np.stack([cut(pixels, top, left, window=self.window, beyond=beyond) for left in chosen])
                found += zip(chosen, self._answers(self._inputs(parts)), strict=True)
            yield top, found

    def maker(self) -> str:
        """Return the digest of all that decides what becomes of an image."""
        band, bands = (None if names is None else tuple(names) for names in (self.band, self.bands))
        return maker_digest(self.network, self.transform, self.full_scale, band, bands, self.stride)

    def _inputs(self, parts: np.ndarray) -> Tensor:
        if self.transform.takes_amplitude:
            trained = self.transform.trained_full_scale
            parts = normalize_amplitude(parts, full_scale=self.full_scale, trained=trained)
        prepared: Tensor = self.transform(parts)
        return prepared.to(self.device)

    @torch.inference_mode()
    def _answers(self, inputs: Tensor) -> list[Any]:
        """Return the answers of the network to a batch (B, C, S, S), one a window."""
        return list(self.network(inputs).float().cpu().numpy())
