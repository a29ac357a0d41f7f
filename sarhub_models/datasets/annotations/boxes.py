"""Boxes of ships, as annotation files write them.

All boxes are ``x1, y1, x2, y2`` in pixels, the origin at the outer corner of the first pixel: an image of W by H pixels
spans 0 to W and 0 to H. There is one class, ``ship``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import DataError

__all__ = ["CLASS_NAMES", "Annotation", "fit_boxes"]

CLASS_NAMES = ("ship",)


@dataclass(frozen=True)
class Annotation:
    """The boxes of one image, as its annotation file writes them.

    Attributes:
        image: path of the image, as written; its tail tells it.
        size: height and width in pixels; ``None`` where the file does not say.
        boxes: float64 (N, 4), x1, y1, x2, y2 in pixels, as written.
        file: the annotation file, to be named in messages.
        labels: index of the category of each box, where the file has several.
    """

    image: str
    size: tuple[int, int] | None
    boxes: np.ndarray
    file: Path
    labels: tuple[int, ...] = ()


def fit_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clip boxes to their image and leave out those without area.

    Args:
        boxes: (N, 4), x1, y1, x2, y2 in pixels.
        size: height and width of the image in pixels.

    Returns:
        float32 (M, 4), M ≤ N, in the same order.

    Raises:
        DataError: a coordinate is NaN or infinite, or a box has a negative width or height.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    if wrong.any():
        numbers = ", ".join(f"{value:g}" for value in boxes[wrong][0])
        raise DataError(f"expected a box with x1 ≤ x2 and y1 ≤ y2 in pixels, got {numbers}; damaged annotation?")
    height, width = size
    clipped = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    return clipped[(clipped[:, 2:] > clipped[:, :2]).all(axis=1)]
