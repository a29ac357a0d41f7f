"""The base of the readers of windows: the table of the images, which windows there are, and the pixels in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from ...errors import DataError
from ...io.raster import Raster, fill_nodata
from ...io.selected import read_selected
from ...io.tables import read_table
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
    """Windows of images, as a table lists them; those to train on overlap by half.

    Args:
        root: folder of the images.
        split: take only the rows of this split.
        table: file with a row an image.
        columns: of the table, ``image``, ``split``, ``height`` and ``width`` among them.
        class_names: name of each class.
        window: side of a window in pixels.
        bands: names of the bands to read; by default the only one.
        given: names of the bands in the files, where these do not say them.
        band: positions of the bands to read, counted from 1, in place of names.

    Attributes:
        rows: those of the split.
        windows: one for each sample.
        labels: int64 (N, C): how much of each class is in the image of a window.

    Raises:
        DataError: the table cannot be read, or names no image of the split.
    """

    multilabel = False
    labels: np.ndarray
    plain_beyond: ClassVar[bool] = False  # mirrored objects would be objects without a box

    def __init__(
        self,
        root: AnyPath,
        split: str,
        table: Path,
        columns: Sequence[str],
        class_names: Sequence[str],
        *,
        window: int,
        bands: Sequence[str] = (),
        given: Sequence[str] | None = None,
        band: Sequence[int] | None = None,
    ) -> None:
        self.rows = [row for row in read_table(table, columns=columns) if row["split"] == split]
        if not self.rows:
            raise DataError(f"{table} lists no image of the split {split}")
        self.window, self.images = window, tuple(Path(root) / row["image"] for row in self.rows)
        self.bands = Bands(tuple(bands), None if given is None else tuple(given), None if band is None else tuple(band))
        stride = window // 2 if split == TRAIN else window
        self.windows = [
            Window(index, *place)
            for index, row in enumerate(self.rows)
            for place in grid(int(row["height"]), int(row["width"]), window=window, stride=stride)
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
