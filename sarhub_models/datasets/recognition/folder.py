"""The two layouts that every scene data set can be brought into: a folder for each class, or a list beside images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...io.images import SUFFIXES
from ..catalog import CatalogEntry
from ..lists import AnyPath, ImageIndex, Listed, label_array, list_files, read_list
from .base import SceneDataset

__all__ = ["DATASET", "FolderDataset", "ListDataset", "class_folders", "listed_in_folders"]


class FolderDataset(SceneDataset):
    """Images in a folder for each class, in any format of :func:`~sarhub_models.io.images.read_image`.

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
        root: AnyPath,
        split: str | None = None,
        *,
        lists: AnyPath | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        root = Path(root)
        names = tuple(class_names) if class_names is not None else _class_folders(root)
        label_of = {file: label for label, name in enumerate(names) for file in list_files(root / name)}
        files = list(label_of)
        if split is not None:
            list_file = self._list(root, lists, split)
            files = listed_in_folders(root, list_file, read_list(list_file, len(names)), label_of, names)
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
        root: AnyPath,
        list_file: AnyPath,
        class_names: Sequence[str],
        *,
        multilabel: bool = False,
        suffixes: Sequence[str] = SUFFIXES,
    ) -> None:
        entries = read_list(list_file, len(class_names), multilabel=multilabel)
        files = ImageIndex(root, suffixes=suffixes).find([entry.path for entry in entries])
        super().__init__(root, files, label_array(entries, len(class_names), multilabel=multilabel), class_names)


def _class_folders(root: Path) -> tuple[str, ...]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with a sub-folder for each class")
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{root}: expected a sub-folder for each class, found none")
    return tuple(names)


def class_folders(root: Path, class_names: Sequence[str]) -> dict[Path, int]:
    """Return the images below a folder that lie in, or below, a folder called like a class, with their labels.

    Names of folders may differ from those of the classes in case, blanks and punctuation. The innermost folder counts.

    Args:
        root: where to look.
        class_names: the classes, in the order of their labels.

    Returns:
        Label of each image, sorted by path; images of other folders are passed over.

    Raises:
        DataError: there is no such folder, no image in it belongs to a class, or one lies there in two formats.
    """
    labels = {_folded(name): label for label, name in enumerate(class_names)}
    label_of: dict[Path, int] = {}
    seen: dict[Path, Path] = {}
    for file in list_files(root):
        folders = (_folded(part) for part in reversed(file.relative_to(root).parts[:-1]))
        label = next((labels[folder] for folder in folders if folder in labels), None)
        if label is None:
            continue
        if seen.setdefault(file.with_suffix(""), file) != file:
            raise DataError(f"{seen[file.with_suffix('')]} and {file} are the same image; keep one format")
        label_of[file] = label
    if not label_of:
        raise DataError(f"{root}: expected images in folders called {', '.join(class_names)}, found none")
    return label_of


def listed_in_folders(
    root: Path,
    list_file: Path,
    entries: Sequence[Listed],
    label_of: Mapping[Path, int],
    class_names: Sequence[str],
) -> list[Path]:
    """Return the images that a list names, and check its labels against the folders they lie in.

    Args:
        root: folder of the images.
        list_file: where the entries come from, to be named in messages.
        entries: its lines.
        label_of: label of each image, by its folder.
        class_names: name of each class.

    Raises:
        IncompleteError: listed images are missing; it tells which.
        DataError: an image is ambiguous, or lies in the folder of another class.
    """
    files = ImageIndex(root).find([entry.path for entry in entries])
    for entry, file in zip(entries, files, strict=True):
        if label_of.get(file) != entry.labels[0]:
            raise DataError(
                f"{list_file} says that {entry.path!r} is class {entry.labels[0]} ({class_names[entry.labels[0]]}), "
                f"but it is {file}; expected labels in the order {', '.join(class_names)}"
            )
    return files


def _folded(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


DATASET = CatalogEntry(
    FolderDataset, {"train": None, "val": None, "test": None}, whole=True, target=True, finetune_steps=1000
)
