"""SARBake: target and shadow in the chips of MSTAR's ten vehicles.

Malmgren-Hansen, Nobel-Jørgensen: Convolutional neural networks for SAR image segmentation. ISSPIT, 2015. On disk: a
mask for each chip in a folder for each vehicle, ``2S1/HB14931.000.png`` or ``.csv`` (0 background, 1 target, 2 shadow),
and the chips of MSTAR, as pictures (``HB14931.000.jpeg``) in the folders of the original archives, whose names tell the
depression angle. Chips taken at 17° are for training, those at 15° for the test, of every vehicle that has a mask.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError, OptionError
from ..catalog import CatalogEntry
from ..lists import AnyPath, list_files
from .base import MaskedDataset

__all__ = ["CLASS_NAMES", "DATASET", "SARBake"]

CLASS_NAMES = ("background", "target", "shadow")
_CODES = {0: 0, 1: 1, 2: 2}
_DEPRESSION = {"train": 17, "test": 15}
_CHIP = re.compile(r"HB\d+\.\d{3}", re.IGNORECASE)
_FOLDER = re.compile(r"(\d\d)_?DEG(?:REES)?", re.IGNORECASE)


class SARBake(MaskedDataset):
    """The chips of one split, (1, H, W) in the values of the file, with masks of target and shadow.

    Args:
        root: folder of MSTAR's chips as pictures; they may lie deeper.
        split: ``"train"`` (17°) or ``"test"`` (15°).
        annotations: folder of the masks; by default ``root``.
        band: as of :class:`.MaskedDataset`.

    Raises:
        OptionError: there is no such split.
        IncompleteError: chips are missing; it tells which.
        DataError: there are no masks or no chips at this angle, or a mask could belong to two chips.
    """

    def __init__(
        self, root: AnyPath, split: str, *, annotations: AnyPath | None = None, band: int | None = None
    ) -> None:
        if split not in _DEPRESSION:
            raise OptionError(f"expected the split 'train' or 'test', got {split!r}")
        folder = Path(root if annotations is None else annotations)
        files = sorted(file for file in folder.rglob("HB*") if file.suffix.lower() in (".png", ".csv"))
        masks = [file for file in files if _CHIP.fullmatch(file.stem)]
        if not masks:
            raise DataError(f"{folder}: expected masks such as 2S1/HB14931.000.png in this folder or below, found none")
        chips = {(file.stem, _depression(file)) for file in self.image_files(Path(root)) if file not in set(files)}
        here = {stem for stem, angle in chips if angle == _DEPRESSION[split]}
        if not here:
            angle = f"{_DEPRESSION[split]}_DEG"
            raise DataError(f"{root}: expected chips below a folder {angle}, as MSTAR's archives have them, found none")
        elsewhere = {stem for stem, _ in chips} - here
        chosen = [mask for mask in masks if mask.stem not in elsewhere]
        super().__init__(root, _one_a_chip(chosen, Path(root)), CLASS_NAMES, codes=_CODES, band=band)

    @staticmethod
    def image_files(root: Path) -> list[Path]:
        """Return the chips below a folder."""
        return [file for file in list_files(root) if _CHIP.fullmatch(file.stem)]


def _one_a_chip(masks: Sequence[Path], root: Path) -> list[Path]:
    """Return the masks without those of chips of other vehicles: one of the published files lies in two folders."""
    counts = Counter(mask.stem for mask in masks)
    doubtful = {stem for stem, count in counts.items() if count > 1}
    folders = {(file.stem, part) for file in SARBake.image_files(root) if file.stem in doubtful for part in file.parts}
    return [mask for mask in masks if mask.stem not in doubtful or (mask.stem, mask.parent.name) in folders]


def _depression(file: Path) -> int | None:
    """Return the depression angle in degrees that the folders of a chip say."""
    found = [match for part in file.parts if (match := _FOLDER.fullmatch(part))]
    return int(found[-1][1]) if found else None


DATASET = CatalogEntry(SARBake, {"train": None, "test": None}, class_names=CLASS_NAMES)
