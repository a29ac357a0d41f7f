"""The bases of the detection readers: images on disk, boxes in memory.

Boxes are as in :mod:`~sarhub_models.datasets.annotations.boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...errors import DataError, ImageError
from ...io.images import image_size
from ..annotations.boxes import CLASS_NAMES, Annotation, fit_boxes
from ..annotations.files import open_annotations
from ..base import ImageDataset
from ..lists import AnyPath, ImageIndex

__all__ = ["AnnotatedDataset", "Detection", "DetectionDataset"]


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


class DetectionDataset(ImageDataset[Detection]):
    """Images with the boxes of the ships in them.

    A box that reaches over the edge of its image is clipped. What then has no area, because it lies outside or had
    none, is left out.

    Args:
        root: folder of the images.
        annotations: one for each image; images are found by the tail of their path, as
            :class:`~sarhub_models.datasets.lists.ImageIndex` says.
        band: the band to read, from 1; by default the only one, or the luma of a picture whose colors differ.

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

    def __init__(self, root: AnyPath, annotations: Sequence[Annotation], *, band: int | None = None) -> None:
        files = ImageIndex(root).find([annotation.image for annotation in annotations])
        super().__init__(root, files, CLASS_NAMES)
        self.band = band
        _check_unique(self.names, annotations)
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

    def __getitem__(self, index: int) -> Detection:
        """Read one image.

        Raises:
            IndexError: there is no such sample.
            ImageError: the file is damaged, or has another size than annotated; the message names it.
        """
        image = self.read_band(self.files[index], band=self.band)
        self._check_size(index, image.shape)
        boxes = self.boxes[index].copy()
        return Detection(image, boxes, np.zeros(len(boxes), dtype=np.int64), self.names[index])

    def counts(self) -> np.ndarray:
        """Return the number of ships, int64 (1,)."""
        return np.array([sum(map(len, self.boxes))], dtype=np.int64)

    def size(self, index: int) -> tuple[int, int]:
        """Return height and width of one image in pixels; raises if they are not those annotated."""
        found = super().size(index)
        self._check_size(index, found)
        return found

    def label_text(self, index: int) -> str:
        """Return the number of ships in one image."""
        return str(len(self.boxes[index]))

    def notes(self) -> tuple[str, ...]:
        """Return a remark on the boxes that were left out."""
        if not self.left_out:
            return ()
        return (f"{len(self.left_out)} boxes without area were left out, in {self.left_out[0]} first",)

    def _check_size(self, index: int, found: tuple[int, ...]) -> None:
        if found != tuple(self.sizes[index]):
            raise ImageError(
                f"{self.files[index]}: expected {' by '.join(map(str, self.sizes[index]))} pixels as annotated, "
                f"got {' by '.join(map(str, found))}; are these the images of these annotations?"
            )


class AnnotatedDataset(DetectionDataset):
    """The images of one split of a published data set, with its COCO or VOC files.

    Args:
        root: folder of the images and annotations; they may lie deeper.
        split: ``"train"`` or ``"test"``.
        annotations: a COCO file, or the folder of the annotations; by default the root. ``<split>.json`` or
            ``<split>2017.json`` in it or below comes first, else the VOC files, whose split the image's name tells.
        band: as of :class:`DetectionDataset`.

    Attributes:
        voc: whether the data set has VOC files.

    Raises:
        OptionError: there is no such split.
        IncompleteError: images or annotations are missing or damaged; it tells which.
        DataError: there are no annotations, or they are ambiguous or damaged.
    """

    voc: ClassVar[bool] = True

    def __init__(
        self, root: AnyPath, split: str, *, annotations: AnyPath | None = None, band: int | None = None
    ) -> None:
        found = open_annotations(root, split, annotations, self.split_of if self.voc else None)
        super().__init__(root, found, band=band)

    @staticmethod
    def split_of(stem: str) -> str | None:
        """Return the split to which an image belongs by its name without suffix; ``None`` for other images."""
        return None

    @classmethod
    def options(cls, root: Path, lists: Path | None) -> dict[str, Any]:
        """Return the arguments, but for root and split, that open the data set with the annotations of a folder."""
        return {} if lists is None else {"annotations": lists}


def _check_unique(names: Sequence[str], annotations: Sequence[Annotation]) -> None:
    seen: dict[str, Annotation] = {}
    for name, annotation in zip(names, annotations, strict=True):
        if name in seen:
            raise DataError(f"{annotation.file}: {seen[name].image!r} and {annotation.image!r} are both {name}")
        seen[name] = annotation
