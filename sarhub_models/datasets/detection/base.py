"""What the readers of detection data sets have in common: images on disk, boxes in memory.

All boxes are ``x1, y1, x2, y2`` in pixels, the origin at the outer corner of the first pixel, as the annotations write
them: an image of W by H pixels spans 0 to W and 0 to H. There is one class, ``ship``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DataError, ImageError
from ...io.images import image_size, read_image
from ..lists import ImageIndex

__all__ = ["CLASS_NAMES", "Annotation", "Detection", "DetectionDataset", "fit_boxes"]

CLASS_NAMES = ("ship",)


class Detection(NamedTuple):
    """One image and the ships in it.

    Attributes:
        image: (H, W) in the values and the dtype of the file.
        boxes: float32 (N, 4), x1, y1, x2, y2 in pixels, within the image; N may be 0.
        labels: int64 (N,), all 0.
        name: path below the root of the data set, with ``/``.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    name: str


@dataclass(frozen=True)
class Annotation:
    """What an annotation file says of one image.

    Attributes:
        image: path of the image, as written; its tail tells it.
        size: height and width in pixels; ``None`` where the file does not say.
        boxes: float64 (N, 4), x1, y1, x2, y2 in pixels, as written.
        file: the annotation file, to be named in messages.
    """

    image: str
    size: tuple[int, int] | None
    boxes: np.ndarray
    file: Path


class DetectionDataset:
    """Images with the boxes of the ships in them.

    A box that reaches over the edge of its image is clipped. What then has no area, because it lies outside or had
    none, is left out.

    Args:
        root: folder of the images.
        annotations: one for each image; images are found by the tail of their path, as
            :class:`~sarhub_models.datasets.lists.ImageIndex` says.

    Attributes:
        root: folder of the images.
        files: the images.
        names: their paths below the root, with ``/``.
        sizes: int64 (len, 2), height and width of each image in pixels.
        boxes: float32 (N, 4) for each image.
        class_names: ``("ship",)``.
        left_out: names of images of which a box was left out, once for each box.

    Raises:
        IncompleteError: images are missing; it tells which.
        ImageError: an image, whose size the annotations do not say, is damaged.
        DataError: an image is annotated twice or is ambiguous, or a box is no box.
    """

    def __init__(self, root: str | os.PathLike[str], annotations: Sequence[Annotation]) -> None:
        self.root = Path(root)
        self.files = tuple(ImageIndex(root).find([annotation.image for annotation in annotations]))
        self.names = tuple(file.relative_to(self.root).as_posix() for file in self.files)
        _check_unique(self.names, annotations)
        self.class_names = CLASS_NAMES
        self.left_out: tuple[str, ...] = ()
        sizes, boxes = [], []
        for name, file, annotation in zip(self.names, self.files, annotations, strict=True):
            size = annotation.size or image_size(file)
            try:
                fitted = fit_boxes(annotation.boxes, size)
            except DataError as err:
                raise DataError(f"{annotation.file}, image {annotation.image!r}: {err}") from err
            sizes.append(size)
            boxes.append(fitted)
            self.left_out += (name,) * (len(annotation.boxes) - len(fitted))
        self.sizes = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        self.boxes = tuple(boxes)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Detection:
        """Read one image.

        Raises:
            IndexError: there is no such sample.
            ImageError: the file is damaged, or has another size than annotated; the message names it.
        """
        image = read_image(self.files[index])
        if image.shape != tuple(self.sizes[index]):
            raise ImageError(
                f"{self.files[index]}: expected {' by '.join(map(str, self.sizes[index]))} pixels as annotated, "
                f"got {' by '.join(map(str, image.shape))}; are these the images of these annotations?"
            )
        boxes = self.boxes[index].copy()
        return Detection(image, boxes, np.zeros(len(boxes), dtype=np.int64), self.names[index])

    def __iter__(self) -> Iterator[Detection]:
        return (self[index] for index in range(len(self)))

    def counts(self) -> np.ndarray:
        """Return the number of ships, int64 (1,)."""
        return np.array([sum(map(len, self.boxes))], dtype=np.int64)


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


def _check_unique(names: Sequence[str], annotations: Sequence[Annotation]) -> None:
    seen: dict[str, Annotation] = {}
    for name, annotation in zip(names, annotations, strict=True):
        if name in seen:
            raise DataError(f"{annotation.file}: {seen[name].image!r} and {annotation.image!r} are both {name}")
        seen[name] = annotation
