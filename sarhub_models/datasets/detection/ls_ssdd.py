"""LS-SSDD-v1.0: small ships in 15 scenes of Sentinel-1.

Zhang, Zhang, Ke, Zhan, Shi, et al.: LS-SSDD-v1.0: A deep learning dataset dedicated to small ship detection from
large-scale Sentinel-1 SAR images. Remote Sensing 12(18), 2020. The scenes are cut into 20 rows and 30 columns of 800 by
800 pixels. On disk: sub-images ``<scene>_<row>_<column>.jpg`` and a VOC file for each (``JPEGImages_sub``,
``Annotations_sub``), or COCO files. Scenes 1 to 10 are for training, 11 to 15 for the test: 6,000 and 3,000.
"""

from __future__ import annotations

import re

from ..annotations.boxes import CLASS_NAMES
from ..catalog import CatalogEntry
from .base import AnnotatedDataset

__all__ = ["DATASET", "LsSsdd"]

_SUB_IMAGE = re.compile(r"(?P<scene>\d{1,2})_\d{1,2}_\d{1,2}")
_LAST_TRAINING_SCENE = 10


class LsSsdd(AnnotatedDataset):
    """The sub-images of one split; the scenes themselves are passed over."""

    @staticmethod
    def split_of(stem: str) -> str | None:
        """Return the split of a sub-image, by the number of its scene."""
        match = _SUB_IMAGE.fullmatch(stem)
        if match is None:
            return None
        return "train" if int(match["scene"]) <= _LAST_TRAINING_SCENE else "test"


DATASET = CatalogEntry(LsSsdd, {"train": 6_000, "test": 3_000}, class_names=CLASS_NAMES)
