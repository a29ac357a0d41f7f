"""HRSID: ships in 5,604 images of 800 by 800 pixels, of Sentinel-1 and TerraSAR-X.

Wei, Zeng, Qu, Wang, Su, Shi: HRSID: A high-resolution SAR images dataset for ship detection and instance segmentation.
IEEE Access 8, 2020. On disk: ``JPEGImages/`` and the COCO files ``train2017.json`` and ``test2017.json``.
"""

from __future__ import annotations

import os

from .annotations import open_annotations
from .base import DetectionDataset

__all__ = ["HRSID"]


class HRSID(DetectionDataset):
    """The images of one split.

    Args:
        root: folder of the images and annotations, such as ``HRSID_JPG``; they may lie deeper.
        split: ``"train"`` or ``"test"``.
        annotations: a COCO file, or the folder that holds ``<split>2017.json``; by default the root.

    Raises:
        OptionError: there is no such split.
        IncompleteError: images are missing; it tells which.
        DataError: there are no annotations, or they are ambiguous or damaged.
    """

    def __init__(
        self, root: str | os.PathLike[str], split: str, *, annotations: str | os.PathLike[str] | None = None
    ) -> None:
        super().__init__(root, open_annotations(root, split, annotations, None))
