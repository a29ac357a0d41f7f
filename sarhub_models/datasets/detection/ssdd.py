"""SSDD: ships in 1,160 images of RadarSat-2, TerraSAR-X and Sentinel-1.

Zhang, Zhang, Li, Xu, Wang, et al.: SAR Ship Detection Dataset (SSDD): Official release and comprehensive data analysis.
Remote Sensing 13(18), 2021. On disk: images ``000001.jpg`` and COCO files ``train.json`` and ``test.json``, or a VOC
file for each image; the release has both, and boxes of two other kinds, in folders of their own. Images whose number
ends in 1 or 9 are for the test: 928 and 232.
"""

from __future__ import annotations

from ..annotations.boxes import CLASS_NAMES
from ..catalog import CatalogEntry
from .base import AnnotatedDataset

__all__ = ["DATASET", "SSDD"]


class SSDD(AnnotatedDataset):
    """The images of one split; ``root`` is such as ``BBox_SSDD/coco_style`` or ``BBox_SSDD/voc_style``."""

    @staticmethod
    def split_of(stem: str) -> str | None:
        """Return the split of an image, by the last digit of its number."""
        if not stem.isdecimal():
            return None
        return "test" if stem[-1] in "19" else "train"


DATASET = CatalogEntry(SSDD, {"train": 928, "test": 232}, class_names=CLASS_NAMES)
