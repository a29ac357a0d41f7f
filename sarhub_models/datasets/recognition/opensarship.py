"""OpenSARShip: Sentinel-1 chips of ships, up to 14 classes.

Huang, Liu, Li, Guo, Yu, Meng, Liu: OpenSARShip: A dataset dedicated to Sentinel-1 ship interpretation. IEEE JSTARS
11(1), 2018. On disk: 8-bit chips of several sizes, called ``<column>_<row>_<length>_<width>_vv.jpg`` in the published
lists, in a folder for each class. The lists come in three sizes, ``low``, ``medium`` and ``large``, for networks that
take 32, 96 and 128 pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...errors import OptionError
from ..catalog import CatalogEntry
from ..lists import AnyPath, find_list, read_list
from .base import SceneDataset
from .folder import class_folders, listed_in_folders

__all__ = ["CLASS_NAMES", "DATASET", "SIZES", "OpenSARShip"]

CLASS_NAMES = (
    "Tug",
    "Pilot_Vessel",
    "Towing",
    "Search_and_Rescue_vessel",
    "Law_Enforcement",
    "Pleasure_Craft",
    "Port_Tender",
    "Passenger",
    "Wing_in_ground",
    "High_speed_craft",
    "Dredging_or_underwater_ops",
    "Cargo",
    "Tanker",
    "Fishing",
)
SIZES = {"low": 32, "medium": 96, "large": 128}
"""Side of the input for each size of the published lists, in pixels."""

_SPLITS = tuple(f"{size}_{part}" for size in SIZES for part in ("train", "test"))
_SPLIT = re.compile(rf"({'|'.join(SIZES)})_(?:train|test)")
_POLARIZATION = re.compile(r"_(v[vh])$", re.IGNORECASE)


class OpenSARShip(SceneDataset):
    """The chips of one split.

    Published lists number all 14 classes, but those of the larger sizes hold fewer: 14 (low), 13 (medium) and 7
    (large). Here ``class_names`` are the classes that the two lists of a size hold, in the order of
    :data:`CLASS_NAMES`, and labels index them. Any other list, and none, leaves all 14.

    Args:
        root: folder of the class folders; they may lie deeper.
        split: take only the chips of the list ``<split>.txt``, in its order: ``low_train``, ``low_test``,
            ``medium_train``, … Its labels must agree with the folders. By default all chips.
        lists: folder of the lists; by default ``root``. A published list needs the other one of its size beside it.
        polarization: ``"vv"`` or ``"vh"``; without a list, chips whose names say the other one are left out.

    Raises:
        OptionError: there is no such polarization.
        IncompleteError: chips of the list are missing; it tells which.
        DataError: no chips were found, or a list is missing, malformed, ambiguous, or contradicts the folders.
    """

    def __init__(
        self,
        root: AnyPath,
        split: str | None = None,
        *,
        lists: AnyPath | None = None,
        polarization: str = "vv",
    ) -> None:
        if polarization not in ("vv", "vh"):
            raise OptionError(f"expected polarization 'vv' or 'vh', got {polarization!r}")
        root = Path(root)
        label_of = class_folders(root, CLASS_NAMES)
        if split is None:
            files = [file for file in label_of if _polarization(file) in (None, polarization)]
            labels = np.array([label_of[file] for file in files], dtype=np.int64)
            super().__init__(root, files, labels, CLASS_NAMES)
            return
        folder = Path(root if lists is None else lists)
        list_file = find_list(folder, split)
        entries = read_list(list_file, len(CLASS_NAMES))
        files = listed_in_folders(root, list_file, entries, label_of, CLASS_NAMES)
        kept = _classes(folder, split)
        labels = np.array([kept.index(entry.labels[0]) for entry in entries], dtype=np.int64)
        super().__init__(root, files, labels, [CLASS_NAMES[label] for label in kept])


def _polarization(file: Path) -> str | None:
    match = _POLARIZATION.search(file.stem)
    return match[1].lower() if match else None


def _classes(folder: Path, split: str) -> Sequence[int]:
    """Return the published labels that occur in the two lists of a size."""
    match = _SPLIT.fullmatch(split)
    if match is None:
        return range(len(CLASS_NAMES))
    files = [find_list(folder, f"{match[1]}_{part}") for part in ("train", "test")]
    return sorted({entry.labels[0] for file in files for entry in read_list(file, len(CLASS_NAMES))})


DATASET = CatalogEntry(
    OpenSARShip,
    dict.fromkeys(_SPLITS),
    class_names=CLASS_NAMES,
    class_count={split: {"low": 14, "medium": 13, "large": 7}[split.partition("_")[0]] for split in _SPLITS},
    whole=True,
    lists=tuple(f"Fine-tuning/Target_recognition/data/OSS/{split}.txt" for split in _SPLITS),
    recipe={  # large chips, 7 classes; mean and std are the paper's, null measures those of chips on another scale
        "data": {"train": "large_train", "test": "large_test", "balanced": True},
        "preprocess": {"operator": "none", "draa": False, "size": 128, "mean": 0.00258246, "std": 0.0032765},
        "evaluation": {"split": None},
        "variants": {
            "data.train": {
                "medium_train": {
                    "data": {"test": "medium_test"},
                    "preprocess": {"size": 96, "mean": 0.00184448, "std": 0.00251385},
                },
                "low_train": {
                    "data": {"test": "low_test"},
                    "preprocess": {"size": 32, "mean": 0.00307491, "std": 0.00376823},
                },
            }
        },
    },
    target=True,
)
