"""The base of the segmentation readers: images and masks on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError, ImageError, IncompleteError
from ...io.images import read_image
from ..base import ImageDataset
from ..lists import AnyPath, list_files

__all__ = ["NO_LABEL", "MaskedDataset", "Segmentation", "SegmentationDataset", "read_mask"]

NO_LABEL = 255
"""Value of a mask where nobody says the class; MMSegmentation and PyTorch's losses take it as ``ignore_index``."""


class Segmentation(NamedTuple):
    """One image and its mask.

    Attributes:
        image: (C, H, W), one plane for each band; 0 where there is no data.
        mask: uint8 (H, W), indices into ``class_names``, or :data:`NO_LABEL`.
        name: path of the image below the root, with ``/``.
    """

    image: np.ndarray
    mask: np.ndarray
    name: str


class SegmentationDataset(ImageDataset[Segmentation]):
    """Images with the class of each pixel."""

    def __getitem__(self, index: int) -> Segmentation:
        """Read one image and its mask.

        Raises:
            IndexError: there is no such sample.
            ImageError: the image is missing or damaged; the message names it.
            DataError: what the mask is made of is damaged, or does not fit the image.
        """
        return Segmentation(*self._read(index), self.names[index])

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


class MaskedDataset(SegmentationDataset):
    """Images of one band with a mask for each, both found by the name without suffix.

    Args:
        root: folder of the images; they may lie deeper.
        masks: the masks; of a name that several images have, the one counts that lies in a folder called like that of
            the mask.
        class_names: name of each class.
        codes: class of each value of a mask, an index into ``class_names`` or :data:`NO_LABEL`.
        band: the band to read, from 1; by default the only one, or the luma of a picture whose colors differ.

    Attributes:
        masks: the mask of each image.

    Raises:
        IncompleteError: images are missing; it tells which.
        DataError: a mask could belong to several images, or there are no images.
    """

    def __init__(
        self,
        root: AnyPath,
        masks: Sequence[Path],
        class_names: Sequence[str],
        *,
        codes: Mapping[int, int],
        band: int | None = None,
    ) -> None:
        self.masks, self.codes, self.band = tuple(masks), dict(codes), band
        images = _by_stem(file for file in self.image_files(Path(root)) if file not in set(masks))
        found = [_image_of(mask, images.get(mask.stem, [])) for mask in masks]
        if missing := [mask.name for mask, image in zip(masks, found, strict=True) if image is None]:
            raise IncompleteError(
                f"{len(missing)} of {len(masks)} masks have no image below {root}, {missing[0]} first",
                missing=missing,
                found=[image for image in found if image is not None],
            )
        super().__init__(root, [image for image in found if image is not None], class_names)

    @staticmethod
    def image_files(root: Path) -> list[Path]:
        """Return the files below a folder that may be images of the data set."""
        return list_files(root)

    @classmethod
    def options(cls, root: Path, lists: Path | None) -> dict[str, Any]:
        """Return the arguments, but for root and split, that open the data set with the masks of a folder."""
        return {} if lists is None else {"annotations": lists}

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = self.read_band(self.files[index], band=self.band)
        mask = read_mask(self.masks[index], self.codes)
        if mask.shape != image.shape:
            raise DataError(f"{self.masks[index]} has shape {mask.shape}, its image {self.files[index]} {image.shape}")
        return image[None], mask


def read_mask(file: Path, codes: Mapping[int, int]) -> np.ndarray:
    """Read a mask and give its values the numbers of classes.

    Args:
        file: a picture or raster of one band, or a table of whole numbers (``.csv``), a line for each row.
        codes: class of each value that may occur.

    Returns:
        uint8 (H, W).

    Raises:
        DataError: the file cannot be read, or holds another value.
    """
    try:
        if file.suffix.lower() == ".csv":
            values = np.loadtxt(file, delimiter=",", dtype=np.int64, ndmin=2, encoding="utf-8-sig")
        else:
            values = read_image(file)
    except (OSError, ValueError, ImageError) as err:
        raise DataError(f"{file} is no mask: {err}") from err
    classes = np.full(values.shape, -1, np.int64)
    for value, label in codes.items():
        classes[values == value] = label
    if (classes < 0).any():
        other = np.unique(values[classes < 0])[:3]
        raise DataError(
            f"{file}: expected the values {', '.join(map(str, codes))}, got {', '.join(f'{v:g}' for v in other)}"
        )
    return classes.astype(np.uint8)


def _by_stem(files: Any) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(file.stem, []).append(file)
    return found


def _image_of(mask: Path, candidates: Sequence[Path]) -> Path | None:
    """Return the image of a mask: the only one of its name, or the one in a folder of the same name."""
    if len(candidates) > 1:
        folder = mask.parent.name
        candidates = [file for file in candidates if folder in file.parts] or candidates
    if len(candidates) > 1:
        raise DataError(f"{mask} could belong to {candidates[0]} or {candidates[1]}; give a folder with one of them")
    return candidates[0] if candidates else None
