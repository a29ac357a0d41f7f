"""Sen1Floods11: water in 446 chips of Sentinel-1 during floods, labeled by hand.

Bonafilia, Tellman, Anderson, Issenberg: Sen1Floods11: a georeferenced dataset to train and test deep learning flood
algorithms for Sentinel-1. CVPR Workshops, 2020. On disk: ``S1Hand/<Country>_<id>_S1Hand.tif`` (float32, bands VV and
VH in decibels, NaN where there is no data, 512 by 512 pixels), ``LabelHand/<Country>_<id>_LabelHand.tif`` (-1 no data,
0 no water, 1 water), and lists ``flood_<split>_data.csv`` with the names of both.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ...errors import DataError, IncompleteError
from ...io.images import read_raster
from ..catalog import CatalogEntry
from ..lists import AnyPath
from .base import NO_LABEL, SegmentationDataset, read_mask

__all__ = ["CLASS_NAMES", "DATASET", "Sen1Floods11"]

BANDS = ("VV", "VH")
CLASS_NAMES = ("no water", "water")
_CODES = {0: 0, 1: 1, -1: NO_LABEL}
_IMAGE, _LABEL = "_S1Hand", "_LabelHand"
_SPLITS = {"train": "train", "val": "valid", "test": "test", "bolivia": "bolivia"}


class Sen1Floods11(SegmentationDataset):
    """The chips of one split, float32 (2, H, W) in decibels (VV, VH), with masks of water.

    Pixels without data are 0 in the image, in both bands, and :data:`.NO_LABEL` in the mask.

    Args:
        root: folder of the chips and labels; they may lie deeper.
        split: take the chips of the list ``flood_<split>_data.csv``: ``train``, ``val``, ``test`` or ``bolivia``, which
            holds the one country that is in none of the others. By default all chips.
        lists: folder of the lists; by default ``root``, where they may lie deeper.

    Attributes:
        labels: the file of the labels of each chip.

    Raises:
        IncompleteError: chips or labels are missing; it tells which.
        DataError: there are no chips, or the list is missing or malformed.
    """

    def __init__(self, root: AnyPath, split: str | None = None, *, lists: AnyPath | None = None) -> None:
        root = Path(root)
        images = {file.stem.removesuffix(_IMAGE): file for file in sorted(root.rglob(f"*{_IMAGE}.tif"))}
        labels = {file.stem.removesuffix(_LABEL): file for file in sorted(root.rglob(f"*{_LABEL}.tif"))}
        if not images:
            raise DataError(f"{root}: expected <Country>_<id>{_IMAGE}.tif in this folder or below, found none")
        chips = list(images) if split is None else _listed(root if lists is None else Path(lists), split)
        missing = [f"{chip}{_IMAGE}.tif" for chip in chips if chip not in images]
        missing += [f"{chip}{_LABEL}.tif" for chip in chips if chip in images and chip not in labels]
        if missing:
            raise IncompleteError(
                f"{len(missing)} files of {len(chips)} chips are not below {root}, {missing[0]} first",
                missing=missing,
                found=[images[chip] for chip in chips if chip in images],
            )
        super().__init__(root, [images[chip] for chip in chips], CLASS_NAMES)
        self.labels = tuple(labels[chip] for chip in chips)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        raster = read_raster(self.files[index]).match(BANDS, given=BANDS)
        mask = read_mask(self.labels[index], _CODES)
        if mask.shape != raster.mask.shape:
            raise DataError(f"{self.labels[index]} has shape {mask.shape}, its chip {raster.mask.shape}")
        image = np.where(raster.mask, raster.array, 0).astype(np.float32)
        return image, np.where(raster.mask, mask, np.uint8(NO_LABEL))


def _listed(folder: Path, split: str) -> list[str]:
    name = f"flood_{_SPLITS.get(split, split)}_data.csv"
    found = sorted(folder.rglob(name))
    if not found:
        raise DataError(f"expected the list of the split {split!r} in {folder}, found no {name} there or below")
    try:
        with found[0].open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"cannot read the list {found[0]}: {err}") from err
    for row in rows:
        if not row[0].endswith(f"{_IMAGE}.tif"):
            raise DataError(f"{found[0]}: expected names that end in {_IMAGE}.tif, got {row[0][:60]!r}")
    if not rows:
        raise DataError(f"{found[0]} is empty; expected the names of a chip and its labels in each line")
    return [row[0].removesuffix(f"{_IMAGE}.tif") for row in rows]


# The sizes of the splits were not published with the data, but by those who use it
DATASET = CatalogEntry(Sen1Floods11, dict.fromkeys(_SPLITS), total=446, class_names=CLASS_NAMES, whole=True)
