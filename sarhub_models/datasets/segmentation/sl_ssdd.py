"""SL-SSDD: land and sea in the images of SSDD.

Ke, Zhang, Zhang: SL-SSDD, sea and land masks of SSDD, https://github.com/Han-Ke/SL-SSDD. On disk: masks
``train/000001.png`` and ``test/000001.png`` (0 land, 255 sea) for the images ``000001.jpg`` of SSDD, in SSDD's split.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError, OptionError
from ..catalog import CatalogEntry
from ..lists import AnyPath
from .base import MaskedDataset

__all__ = ["CLASS_NAMES", "DATASET", "SlSsdd"]

CLASS_NAMES = ("land", "sea")
_CODES = {0: 0, 255: 1}
_SPLITS = ("train", "test")


class SlSsdd(MaskedDataset):
    """The images of one split, (1, H, W) in the values of the file, with masks of land and sea.

    Args:
        root: folder of SSDD's images; they may lie deeper.
        split: ``"train"`` or ``"test"``.
        annotations: holds the folders ``train`` and ``test`` of the masks; by default ``root``.
        band: as of :class:`.MaskedDataset`.

    Raises:
        OptionError: there is no such split.
        IncompleteError: images are missing; it tells which.
        DataError: there are no masks.
    """

    def __init__(
        self, root: AnyPath, split: str, *, annotations: AnyPath | None = None, band: int | None = None
    ) -> None:
        if split not in _SPLITS:
            raise OptionError(f"expected the split 'train' or 'test', got {split!r}")
        folder = Path(root if annotations is None else annotations) / split
        masks = sorted(folder.glob("*.png"))
        if not masks:
            raise DataError(f"{folder}: expected masks such as 000001.png, found none; annotations=… names a folder")
        super().__init__(root, masks, CLASS_NAMES, codes=_CODES, band=band)


DATASET = CatalogEntry(SlSsdd, {"train": 928, "test": 232}, class_names=CLASS_NAMES)
