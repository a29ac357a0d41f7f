"""Windows of one's own images with boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..lists import AnyPath
from ..recognition.base import Sample
from .base import Window, WindowDataset

__all__ = ["COLUMNS", "TABLE", "BoxWindows"]

TABLE = "boxes.csv"
"""Name of the table of images and boxes."""

COLUMNS = ("image", "split", "group", "height", "width", "boxes")
"""Its columns; ``boxes`` is JSON: x1, y1, x2, y2 in pixels, and the index of the class, of each."""

_INSIDE = 0.5  # share of a box that a window must hold to count it as its own
_NONE = -1  # class of the rows that fill up


class BoxWindows(WindowDataset):
    """Windows of images with boxes, as a table lists them.

    Args:
        root: folder of the images.
        split: take only the rows of this split.
        lists: folder of the table ``boxes.csv`` with :data:`COLUMNS`.
        window: side of a window in pixels.
        class_names: name of each class.
        bands: names of the bands to read; by default the only one.
        given: names of the bands in the files, where these do not say them.
        band: positions of the bands to read, counted from 1, in place of names.

    Attributes:
        boxes: of each image, float32 (N, 5): x1, y1, x2, y2 in pixels and the class.

    Raises:
        DataError: the table cannot be read, or names no image of the split.
    """

    plain_beyond = True

    def __init__(
        self,
        root: AnyPath,
        split: str,
        *,
        lists: AnyPath,
        window: int,
        class_names: Sequence[str],
        bands: Sequence[str] = (),
        given: Sequence[str] | None = None,
        band: Sequence[int] | None = None,
    ) -> None:
        table = Path(lists) / TABLE
        super().__init__(root, split, table, COLUMNS, class_names, window=window, bands=bands, given=given, band=band)
        self.boxes = tuple(np.array(json.loads(row["boxes"]), np.float32).reshape(-1, 5) for row in self.rows)
        self._inside = [_boxes_in(self.boxes[one.image], one, window) for one in self.windows]
        self._most = max(1, *(len(found) for found in self._inside))
        self.totals = np.stack([_counts(found, len(class_names)) for found in self.boxes])
        self.labels = self.totals[[one.image for one in self.windows]]

    def counts(self) -> np.ndarray:
        """Return the number of boxes of each class, int64 (C,)."""
        return self.totals.sum(axis=0)

    def __getitem__(self, index: int) -> Sample:
        """Read one window; its label is float32 (M, 5), as in :attr:`boxes`, rows of class -1 fill it up.

        Raises:
            IndexError: there is no such window.
            ImageError: the image is missing or damaged; the message names it.
        """
        image, _ = self.part(self.windows[index])
        label: Any = np.full((self._most, 5), _NONE, np.float32)
        label[: len(self._inside[index])] = self._inside[index]
        return Sample(image, label, self.names[index])


def _boxes_in(boxes: np.ndarray, window: Window, side: int) -> np.ndarray:
    """Return the boxes of an image of which a window holds half or more, cut off at its ends."""
    moved = boxes.copy()
    moved[:, :4] -= np.array([window.left, window.top] * 2, np.float32)
    clipped = moved.copy()
    clipped[:, :4] = clipped[:, :4].clip(0, side)
    whole, inside = (np.prod(one[:, 2:4] - one[:, :2], axis=1) for one in (moved, clipped))
    return clipped[inside >= _INSIDE * whole]


def _counts(boxes: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(boxes[:, 4].astype(np.int64), minlength=classes)
