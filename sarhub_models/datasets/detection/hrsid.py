"""HRSID: ships in 5,604 images of 800 by 800 pixels, of Sentinel-1 and TerraSAR-X.

Wei, Zeng, Qu, Wang, Su, Shi: HRSID: A high-resolution SAR images dataset for ship detection and instance segmentation.
IEEE Access 8, 2020. On disk: ``JPEGImages/`` and the COCO files ``train2017.json`` and ``test2017.json``.
"""

from __future__ import annotations

from ..annotations.boxes import CLASS_NAMES
from ..catalog import CatalogEntry
from .base import AnnotatedDataset

__all__ = ["DATASET", "HRSID"]


class HRSID(AnnotatedDataset):
    """The images of one split; ``root`` is such as ``HRSID_JPG``."""

    voc = False


DATASET = CatalogEntry(HRSID, {"train": None, "test": None}, total=5_604, class_names=CLASS_NAMES)
