"""SSDD: ships in 1,160 images of RadarSat-2, TerraSAR-X and Sentinel-1.

Zhang, Zhang, Li, Xu, Wang, et al.: SAR Ship Detection Dataset (SSDD): Official release and comprehensive data analysis.
Remote Sensing 13(18), 2021. On disk: images ``000001.jpg`` and COCO files ``train.json`` and ``test.json``, or a VOC
file for each image; the release has both, and boxes of two other kinds, in folders of their own. Images whose number
ends in 1 or 9 are for the test: 928 and 232.
"""

from __future__ import annotations

import os

from .annotations import open_annotations
from .base import DetectionDataset

__all__ = ["SSDD"]


class SSDD(DetectionDataset):
    """The images of one split.

    Args:
        root: folder of the images and annotations, such as ``BBox_SSDD/coco_style`` or ``BBox_SSDD/voc_style``; they
            may lie deeper.
        split: ``"train"`` or ``"test"``.
        annotations: a COCO file, or the folder of the annotations; by default the root. ``<split>.json`` in it or
            below comes first, else the VOC files, whose split the image's name tells.

    Raises:
        OptionError: there is no such split.
        IncompleteError: images or annotations are missing or damaged; it tells which.
        DataError: there are no annotations, or they are ambiguous or damaged.
    """

    def __init__(
        self, root: str | os.PathLike[str], split: str, *, annotations: str | os.PathLike[str] | None = None
    ) -> None:
        super().__init__(root, open_annotations(root, split, annotations, _split_of))


def _split_of(stem: str) -> str | None:
    if not stem.isdecimal():
        return None
    return "test" if stem[-1] in "19" else "train"
