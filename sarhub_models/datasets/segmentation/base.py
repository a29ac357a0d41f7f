"""The base of the segmentation readers: images and masks on disk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..base import ImageDataset

__all__ = ["Segmentation", "SegmentationDataset"]


class Segmentation(NamedTuple):
    """One image and its mask.

    Attributes:
        image: (C, H, W), one plane for each band; 0 where there is no data.
        mask: uint8 (H, W), indices into ``class_names``.
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
