"""SSDD: ships in 1,160 images of RadarSat-2, TerraSAR-X and Sentinel-1.

Zhang, Zhang, Li, Xu, Wang, et al.: SAR Ship Detection Dataset (SSDD): Official release and comprehensive data analysis.
Remote Sensing 13(18), 2021. On disk: images ``000001.jpg`` and COCO files ``train.json`` and ``test.json``, or a VOC
file for each image; the release has both, and boxes of two other kinds, in folders of their own. Images whose number
ends in 1 or 9 are for the test: 928 and 232. Many images are cuts of one scene that overlap, or show it in another
polarization; the splits ``clean_test``, ``group_train`` and ``group_test`` heed that.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import OptionError
from ..annotations.boxes import CLASS_NAMES
from ..annotations.files import open_annotations
from ..catalog import CatalogEntry
from ..groups import read_groups, split_groups
from ..lists import AnyPath
from .base import AnnotatedDataset, DetectionDataset

__all__ = ["DATASET", "SSDD"]


class SSDD(AnnotatedDataset):
    """The images of one split; ``root`` is such as ``BBox_SSDD/coco_style`` or ``BBox_SSDD/voc_style``.

    Args:
        root: folder of the images and annotations; they may lie deeper.
        split: ``"train"`` or ``"test"``, as published; ``"clean_test"``, the test images that share no pixel with a
            training image; or ``"group_train"`` or ``"group_test"``, 80 and 20 percent of all images, of which no two
            that share pixels are in different ones.
        annotations: as of :class:`.AnnotatedDataset`; for the last two, files of both published splits are needed.
        band: as of :class:`.DetectionDataset`.
    """

    def __init__(
        self, root: AnyPath, split: str, *, annotations: AnyPath | None = None, band: int | None = None
    ) -> None:
        if split not in _DERIVED:
            super().__init__(root, split, annotations=annotations, band=band)
            return
        if annotations is not None and Path(annotations).is_file():
            raise OptionError(f"the split {split} needs a folder with the annotations of train and test, got a file")
        needed = ("test",) if split == "clean_test" else ("train", "test")
        found = [entry for part in needed for entry in open_annotations(root, part, annotations, self.split_of)]
        chosen = _derived(split)
        kept = [entry for entry in found if Path(entry.image.replace("\\", "/")).stem in chosen]
        DetectionDataset.__init__(self, root, kept, band=band)

    @staticmethod
    def split_of(stem: str) -> str | None:
        """Return the split of an image, by the last digit of its number."""
        if not stem.isdecimal():
            return None
        return "test" if stem[-1] in "19" else "train"


_DERIVED = ("clean_test", "group_train", "group_test")


def _derived(split: str) -> set[str]:
    """Return the names of the images of a split that keeps groups together."""
    groups = read_groups("ssdd")
    if split == "clean_test":
        trained = {group for name, group in groups.items() if SSDD.split_of(name) == "train"}
        return {name for name, group in groups.items() if SSDD.split_of(name) == "test" and group not in trained}
    names = sorted(groups)
    parts = split_groups([groups[name] for name in names], shares={"train": 0.8, "test": 0.2})
    return {name for name, part in zip(names, parts, strict=True) if f"group_{part}" == split}


DATASET = CatalogEntry(
    SSDD,
    {"train": 928, "test": 232},
    subsets={"clean_test": 20, "group_train": 928, "group_test": 232},
    class_names=CLASS_NAMES,
)
