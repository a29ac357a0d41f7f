"""SAR-ACD: aircraft of six types in GF-3 images of 1 m.

Sun, Lv, Wang, Fu: SCAN: Scattering characteristics analysis network for few-shot aircraft classification in
high-resolution SAR images. IEEE TGRS 60, 2022; https://github.com/AICyberTeam/SAR-ACD. On disk: a folder of pictures
for each type, of 32 to 200 pixels. Chips are shifted crops around a few hundred aircraft, so a random split puts the
same pixels on both sides. There are no published splits; those here keep the chips of one aircraft together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError, OptionError
from ..catalog import CatalogEntry
from ..groups import SHARES, read_groups, split_groups
from ..lists import AnyPath, read_list
from .base import SceneDataset
from .folder import class_folders, listed_in_folders

__all__ = ["CLASS_NAMES", "DATASET", "SARACD"]

CLASS_NAMES = ("A220", "A320321", "A330", "ARJ21", "Boeing737", "Boeing787")


class SARACD(SceneDataset):
    """The chips of one split, each of one aircraft.

    Args:
        root: folder of the class folders; they may lie deeper.
        split: ``"train"``, ``"val"`` or ``"test"``, about 70, 15 and 15 percent of the chips of every type, as far as
            groups permit, with no aircraft in two of them; or the name of a list. By default all chips.
        lists: folder of lists, which then decide; by default the groups that are known here.

    Attributes:
        groups: name of the aircraft of each chip, such as ``"A220-2"``; ``""`` where it is not known.

    Raises:
        OptionError: there is no such split.
        DataError: there are no chips, or some whose aircraft is not known; or the list does not fit.
    """

    def __init__(self, root: AnyPath, split: str | None = None, *, lists: AnyPath | None = None) -> None:
        root = Path(root)
        label_of = class_folders(root, CLASS_NAMES)
        known = read_groups("sar_acd")
        group_of = {file: known.get(f"{CLASS_NAMES[label]}/{file.stem}", "") for file, label in label_of.items()}
        files = list(label_of)
        if lists is not None and split is not None:
            list_file = self._list(root, lists, split)
            files = listed_in_folders(root, list_file, read_list(list_file, len(CLASS_NAMES)), label_of, CLASS_NAMES)
        elif split is not None:
            if split not in SHARES:
                raise OptionError(f"expected the split {', '.join(SHARES)}, or lists=FOLDER, got {split!r}")
            if unknown := [file for file, group in group_of.items() if not group]:
                raise DataError(
                    f"the aircraft of {len(unknown)} of {len(files)} chips are not known here, {unknown[0]} first; "
                    "remove these chips, or give lists of your own with lists=FOLDER"
                )
            names = sorted(known)  # of all chips: the split of one does not depend on which others are there
            types = [name.partition("/")[0] for name in names]
            parts = split_groups([known[name] for name in names], labels=types)
            part_of = dict(zip(names, parts, strict=True))
            files = [file for file in files if part_of[f"{CLASS_NAMES[label_of[file]]}/{file.stem}"] == split]
        self.groups = tuple(group_of[file] for file in files)
        super().__init__(root, files, np.array([label_of[file] for file in files], dtype=np.int64), CLASS_NAMES)


DATASET = CatalogEntry(
    SARACD,
    dict.fromkeys(SHARES),
    class_names=CLASS_NAMES,
    recipe={"preprocess": {"size": 128}, "evaluation": {"split": "val"}},
    target=True,
)
