"""The base of the readers of windows: which there are, and the images that they are cut from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from ...io.raster import Raster, fill_nodata
from ...io.selected import read_selected
from ...io.windows import cut, grid
from ..base import ImageDataset
from ..lists import AnyPath
from ..recognition.base import Sample

__all__ = ["Bands", "Window", "WindowDataset", "background", "read_filled"]

TRAIN = "train"


@dataclass(frozen=True)
class Bands:
    """The bands that are read, as :func:`~sarhub_models.io.images.read_pixels` takes them.

    Attributes:
        wanted: names in the order of the network; none for the only band.
        given: names in the files, where these do not say them.
        band: positions, counted from 1.
    """

    wanted: tuple[str, ...] = ()
    given: tuple[str, ...] | None = None
    band: tuple[int, ...] | None = None

    def read(self, file: Path) -> Raster:
        """Read these bands of a file; errors as of :func:`~sarhub_models.io.selected.read_selected`."""
        return read_selected(file, wanted=self.wanted, given=self.given, band=self.band)


def read_filled(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels (C, H, W) of a raster, filled where there are no data, and where there are, bool (H, W).

    Raises:
        NodataError: no pixel of a band has data.
    """
    if raster.valid is None:
        return raster.array, raster.mask
    return fill_nodata(raster.array, raster.valid, nodata="fill", reason=raster.reason), raster.mask


def background(pixels: np.ndarray) -> float:
    """Return the lower median of an image, what stands beyond its ends where it is not mirrored there."""
    values = (np.abs(pixels) if pixels.dtype.kind == "c" else pixels).ravel()
    middle = (values.size - 1) // 2
    return float(np.partition(values, middle)[middle])


class Window(NamedTuple):
    """A part of an image.

    Attributes:
        image: index of the image.
        top: first row.
        left: first column.
    """

    image: int
    top: int
    left: int


class WindowDataset(ImageDataset[Sample]):
    """Windows of images; those to train on overlap by half.

    Args:
        root: folder of the images.
        split: name of the split.
        images: the images.
        sizes: height and width of each.
        class_names: name of each class.
        window: side of a window in pixels.
        bands: what is read of the images.

    Attributes:
        windows: one for each sample.
        labels: int64 (N, C): how much of each class is in the image of a window.
    """

    multilabel = False
    labels: np.ndarray
    plain_beyond: ClassVar[bool] = False  # mirrored objects would be objects without a box

    def __init__(
        self,
        root: AnyPath,
        split: str,
        images: Sequence[Path],
        sizes: Sequence[tuple[int, int]],
        class_names: Sequence[str],
        *,
        window: int,
        bands: Bands,
    ) -> None:
        self.window, self.bands, self.images = window, bands, tuple(images)
        stride = window // 2 if split == TRAIN else window
        self.windows = [
            Window(index, *place)
            for index, size in enumerate(sizes)
            for place in grid(*size, window=window, stride=stride)
        ]
        super().__init__(root, [self.images[one.image] for one in self.windows], class_names)
        self.names = tuple(f"{name}@{w.top},{w.left}" for name, w in zip(self.names, self.windows, strict=True))
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None

    def pixels(self, image: int) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and where it has data, see :func:`read_filled`; windows of one image often come in a row."""
        if self._last is None or self._last[0] != image:
            self._last = (image, *read_filled(self.bands.read(self.images[image])))
        return self._last[1:]

    def part(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Return a window of an image, (S, S) of one band or (C, S, S), and where it has data, bool (S, S)."""
        image, valid = self.pixels(window.image)
        beyond = background(image) if self.plain_beyond else None
        found = cut(image, window.top, window.left, window=self.window, beyond=beyond)
        return found[0] if len(found) == 1 else found, cut(
            valid, window.top, window.left, window=self.window, beyond=False
        )
