"""LS-SSDD-v1.0: small ships in 15 scenes of Sentinel-1.

Zhang, Zhang, Ke, Zhan, Shi, et al.: LS-SSDD-v1.0: A deep learning dataset dedicated to small ship detection from
large-scale Sentinel-1 SAR images. Remote Sensing 12(18), 2020. The scenes are cut into 20 rows and 30 columns of 800 by
800 pixels. On disk: sub-images ``<scene>_<row>_<column>.jpg`` and a VOC file for each (``JPEGImages_sub``,
``Annotations_sub``), or COCO files. Scenes 1 to 10 are for training, 11 to 15 for the test: 6,000 and 3,000.
"""

from __future__ import annotations

import os
import re

from .annotations import open_annotations
from .base import DetectionDataset

__all__ = ["LsSsdd"]

_SUB_IMAGE = re.compile(r"(?P<scene>\d{1,2})_\d{1,2}_\d{1,2}")
_LAST_TRAINING_SCENE = 10


class LsSsdd(DetectionDataset):
    """The sub-images of one split.

    Args:
        root: folder of the sub-images and annotations; they may lie deeper. The scenes themselves are passed over.
        split: ``"train"`` or ``"test"``.
        annotations: a COCO file, or the folder of the annotations; by default the root. ``<split>.json`` in it or
            below comes first, else the VOC files, whose split the number of the scene tells.

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
    match = _SUB_IMAGE.fullmatch(stem)
    if match is None:
        return None
    return "train" if int(match["scene"]) <= _LAST_TRAINING_SCENE else "test"
