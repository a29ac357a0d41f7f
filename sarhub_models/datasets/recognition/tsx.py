"""TerraSAR-X scenes: 32 classes, not public.

On disk: amplitude patches as ``.npy`` and lists ``tsx_train.txt``, ``tsx_val.txt``, … of ``relative/path label``,
the paths with or without ``.npy``.
"""

from __future__ import annotations

from ..catalog import CatalogEntry
from ..lists import AnyPath
from .folder import ListDataset

__all__ = ["CLASS_NAMES", "DATASET", "TerraSARX"]

CLASS_NAMES = tuple(str(index) for index in range(32))
"""The classes by number: their names were not published."""


class TerraSARX(ListDataset):
    """The patches of one split.

    Args:
        root: folder of the ``.npy`` files.
        split: ``"train"`` reads the list ``tsx_train.txt`` or ``train.txt``, and so on.
        lists: folder of the lists; by default ``root``.

    Raises:
        DataError: the list or an image is missing, malformed or ambiguous.
    """

    list_prefix = "tsx_"

    def __init__(self, root: AnyPath, split: str, *, lists: AnyPath | None = None) -> None:
        super().__init__(root, self._list(root, lists, split), CLASS_NAMES, suffixes=(".npy",))


DATASET = CatalogEntry(
    TerraSARX,
    {"train": None, "val": None, "test": None},
    class_names=CLASS_NAMES,
    recipe={
        "preprocess": {"operator": "reinhard_devlin", "mean": 0.17721633016340846, "std": 0.023696591996910408},
    },
)
