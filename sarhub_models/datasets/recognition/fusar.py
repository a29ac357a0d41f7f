"""FUSAR-Ship: Gaofen-3 chips of ships, 6 classes.

Hou, Ao, Song, Lai, Wang, Xu: FUSAR-Ship: building a high-resolution SAR-AIS matchup dataset of Gaofen-3 for ship
detection and recognition. Science China Information Sciences 63, 2020. On disk: chips ``Ship_C01S07N1121.tiff`` in a
folder for each class, with a folder for each kind below it; or ``.npy`` files of the same names. Of the 15 classes, the
paper takes 6.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..catalog import CatalogEntry
from ..lists import AnyPath, label_array, read_list
from .base import SceneDataset
from .folder import class_folders, listed_in_folders

__all__ = ["CLASS_NAMES", "DATASET", "FUSARShip"]

CLASS_NAMES = ("Cargo", "Dredger", "Fishing", "Passenger", "Tanker", "Tug")


class FUSARShip(SceneDataset):
    """The chips of one split.

    Args:
        root: folder of the class folders; they may lie deeper, and images deeper in them. Other classes are passed
            over.
        split: take only the chips of the list ``FuSAR_<split>.txt`` or ``<split>.txt``, in its order; the published
            ones are ``train6`` and ``test6``. Chips are found by name alone, which no two of the data set share. Its
            labels must agree with the folders. By default all chips.
        lists: folder of the lists; by default ``root``.

    Raises:
        IncompleteError: chips of the list are missing; it tells which.
        DataError: no chips were found, or the list is missing, malformed, ambiguous, or contradicts the folders.
    """

    list_prefix = "FuSAR_"

    def __init__(self, root: AnyPath, split: str | None = None, *, lists: AnyPath | None = None) -> None:
        root = Path(root)
        label_of = class_folders(root, CLASS_NAMES)
        if split is None:
            super().__init__(root, list(label_of), np.array(list(label_of.values()), dtype=np.int64), CLASS_NAMES)
            return
        list_file = self._list(root, lists, split)
        entries = [
            replace(entry, path=re.split(r"[/\\]", entry.path)[-1]) for entry in read_list(list_file, len(CLASS_NAMES))
        ]
        files = listed_in_folders(root, list_file, entries, label_of, CLASS_NAMES)
        super().__init__(root, files, label_array(entries, len(CLASS_NAMES)), CLASS_NAMES)


DATASET = CatalogEntry(
    FUSARShip,
    {"train6": 1_678, "test6": 1_662},
    class_names=CLASS_NAMES,
    whole=True,
    lists=tuple(f"Fine-tuning/Target_recognition/data/FSS/FuSAR_{split}.txt" for split in ("train6", "test6")),
    recipe={  # 6 classes by the published lists, the middle of each chip
        "data": {"train": "train6", "test": "test6", "balanced": True},
        "preprocess": {"crop": 128, "operator": "none", "draa": False, "mean": 0.0442077, "std": 0.00497706},
        "evaluation": {"split": None},
    },
    target=True,
)
