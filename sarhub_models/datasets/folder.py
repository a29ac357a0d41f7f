"""The two layouts that every scene data set can be brought into: a folder for each class, or a list beside images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..images import SUFFIXES
from .base import SceneDataset
from .lists import ImageIndex, find_list, label_array, list_files, read_list

__all__ = ["FolderDataset", "ListDataset"]


class FolderDataset(SceneDataset):
    """Images in a folder for each class, in any format of :func:`~sarhub_models.images.read_image`.

    Args:
        root: holds the class folders; images may lie deeper in them. Hidden files and folders are passed over.
        split: take only the images of the list ``<split>.txt`` (see :mod:`~sarhub_models.datasets.lists`), in its
            order. Its labels must agree with the folders.
        lists: folder of the list; by default ``root``.
        class_names: the folders to read, in the order of their labels; by default all, sorted.

    Raises:
        DataError: the root has no class folders, one is missing or without images, or the list does not fit.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        *,
        lists: str | os.PathLike[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        root = Path(root)
        names = tuple(class_names) if class_names is not None else _class_folders(root)
        label_of = {file: label for label, name in enumerate(names) for file in list_files(root / name)}
        files = list(label_of)
        if split is not None:
            files = _listed_files(root, find_list(root if lists is None else lists, split), label_of, names)
        labels = np.array([label_of[file] for file in files], dtype=np.int64)
        super().__init__(root, files, labels, names)


class ListDataset(SceneDataset):
    """Images that a list names, with the labels of the list.

    Args:
        root: folder of the images; the paths of the list are matched on the tail, as
            :class:`~sarhub_models.datasets.lists.ImageIndex` says.
        list_file: lines ``path label``, or ``path label,label,…`` where ``multilabel``.
        class_names: name of each class.
        multilabel: whether an image carries several labels.
        suffixes: which files count as images.

    Raises:
        DataError: the list is missing or malformed, or an image is missing or ambiguous.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        list_file: str | os.PathLike[str],
        class_names: Sequence[str],
        *,
        multilabel: bool = False,
        suffixes: Sequence[str] = SUFFIXES,
    ) -> None:
        entries = read_list(list_file, len(class_names), multilabel=multilabel)
        files = ImageIndex(root, suffixes).find([entry.path for entry in entries])
        super().__init__(Path(root), files, label_array(entries, len(class_names), multilabel=multilabel), class_names)


def _class_folders(root: Path) -> tuple[str, ...]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with a sub-folder for each class")
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{root}: expected a sub-folder for each class, found none")
    return tuple(names)


def _listed_files(root: Path, list_file: Path, label_of: dict[Path, int], names: Sequence[str]) -> list[Path]:
    entries = read_list(list_file, len(names))
    files = ImageIndex(root).find([entry.path for entry in entries])
    for entry, file in zip(entries, files, strict=True):
        if label_of.get(file) != entry.labels[0]:
            raise DataError(
                f"{list_file} says that {entry.path!r} is class {entry.labels[0]} ({names[entry.labels[0]]}), "
                f"but it is {file}; class_names=… gives the order of the classes in the list"
            )
    return files
