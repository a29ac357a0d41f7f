"""Windows of one's own images with the class of each pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, ImageError
from ...io.masks import read_numbers
from ...io.windows import cut
from ..lists import AnyPath
from ..recognition.base import Sample
from ..segmentation.base import NO_LABEL
from .base import WindowDataset

__all__ = ["COLUMNS", "TABLE", "MaskWindows", "read_classes"]

TABLE = "pairs.csv"
"""Name of the table of images and masks."""

COLUMNS = ("image", "mask", "split", "group", "height", "width", "pixels")
"""Its columns; ``pixels`` are those of each class, with ``;`` between them."""


def read_classes(
    file: Path, codes: Mapping[int, int], *, ignore: int | None = None, valid: np.ndarray | None = None
) -> np.ndarray:
    """Read a mask and give its numbers the indices of classes.

    Args:
        file: as of :func:`~sarhub_models.io.masks.read_numbers`.
        codes: index of each number.
        ignore: number of pixels without a class; so are those that the file says have no data.
        valid: where the image has data, bool (H, W): elsewhere any number stands for no class.

    Returns:
        uint8 (H, W), :data:`.NO_LABEL` where there is no class.

    Raises:
        DataError: the file cannot be read, or holds another number.
    """
    try:
        raster = read_numbers(file)
    except ImageError as err:
        raise DataError(f"{err} (of a mask)") from err
    numbers = raster.array[0]
    there = raster.mask if valid is None else raster.mask & valid
    found = np.full(numbers.shape, NO_LABEL, np.uint8)
    known = ~there | (numbers == ignore if ignore is not None else False)
    for number, index in codes.items():
        chosen = there & (numbers == number) & (number != ignore)
        found[chosen] = index
        known |= chosen
    if not known.all():
        other = ", ".join(map(str, np.unique(numbers[~known])[:3]))
        raise DataError(
            f"{file} holds the number {other}; the classes are {', '.join(map(str, codes))} (classes says others, "
            "ignore one without a class)"
        )
    return found


class MaskWindows(WindowDataset):
    """Windows of images with masks, as a table lists them.

    Args:
        root: folder of the images.
        split: take only the rows of this split.
        lists: folder of the table ``pairs.csv`` with :data:`COLUMNS`; masks are written as paths from the root.
        window: side of a window in pixels.
        numbers: in the masks, of each class.
        class_names: name of each class.
        ignore: as of :func:`read_classes`.
        bands: names of the bands to read; by default the only one.
        given: names of the bands in the files, where these do not say them.
        band: positions of the bands to read, counted from 1, in place of names.

    Raises:
        DataError: the table cannot be read, or names no image of the split.
    """

    def __init__(
        self,
        root: AnyPath,
        split: str,
        *,
        lists: AnyPath,
        window: int,
        numbers: Sequence[int],
        class_names: Sequence[str],
        ignore: int | None = None,
        bands: Sequence[str] = (),
        given: Sequence[str] | None = None,
        band: Sequence[int] | None = None,
    ) -> None:
        table = Path(lists) / TABLE
        super().__init__(root, split, table, COLUMNS, class_names, window=window, bands=bands, given=given, band=band)
        self.masks = tuple(Path(root) / row["mask"] for row in self.rows)
        self.codes, self.ignore = {number: index for index, number in enumerate(numbers)}, ignore
        self.totals = np.array([[int(n) for n in row["pixels"].split(";")] for row in self.rows], dtype=np.int64)
        self.labels = self.totals[[one.image for one in self.windows]]
        self._mask: tuple[int, np.ndarray] | None = None

    def counts(self) -> np.ndarray:
        """Return the number of pixels of each class, int64 (C,)."""
        return self.totals.sum(axis=0)

    def classes(self, image: int) -> np.ndarray:
        """Return the mask of an image, uint8 (H, W), :data:`.NO_LABEL` where it has no class or no data."""
        if self._mask is None or self._mask[0] != image:
            valid = self.pixels(image)[1]
            self._mask = (image, read_classes(self.masks[image], self.codes, ignore=self.ignore, valid=valid))
        return self._mask[1]

    def __getitem__(self, index: int) -> Sample:
        """Read one window; its label is uint8 (S, S), :data:`.NO_LABEL` where there is no class or there are no data.

        Raises:
            IndexError: there is no such window.
            ImageError: the image is missing or damaged; the message names it.
            DataError: the mask is missing or damaged.
        """
        one = self.windows[index]
        image, valid = self.part(one)
        mask = cut(self.classes(one.image), one.top, one.left, window=self.window, beyond=NO_LABEL)
        label: Any = np.where(valid, mask, np.uint8(NO_LABEL))
        return Sample(image, label, self.names[index])
