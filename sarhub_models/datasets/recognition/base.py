"""The base of the recognition readers: images on disk, labels in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...io.images import read_image
from ..base import ImageDataset
from ..lists import AnyPath, find_list

__all__ = ["Sample", "SceneDataset"]


class Sample(NamedTuple):
    """One image and what is known of it.

    Attributes:
        image: (H, W) in the values and the dtype of the file, unless the reader says otherwise.
        label: index into ``class_names``, or uint8 (C,) of zeros and ones where the data set is multi-label.
        name: path below the root of the data set, with ``/``.
    """

    image: np.ndarray
    label: int | np.ndarray
    name: str


class SceneDataset(ImageDataset[Sample]):
    """Images with one or several labels each.

    Attributes:
        files: the images.
        names: their paths below the root, with ``/``.
        labels: int64 (N,), indexing ``class_names``, or uint8 (N, C) of zeros and ones where ``multilabel``.
        class_names: name of each class.
        multilabel: whether an image carries several labels.
    """

    def __init__(self, root: AnyPath, files: Sequence[Path], labels: np.ndarray, class_names: Sequence[str]) -> None:
        super().__init__(root, files, class_names)
        self.labels = labels
        self.multilabel = labels.ndim == 2

    def __getitem__(self, index: int) -> Sample:
        """Read one image.

        Raises:
            IndexError: there is no such sample.
            ImageError: the file is missing or damaged; the message names it.
        """
        label = self.labels[index].copy() if self.multilabel else int(self.labels[index])
        return Sample(self._read(self.files[index]), label, self.names[index])

    def counts(self) -> np.ndarray:
        """Return the number of images of each class, int64 (C,)."""
        if self.multilabel:
            return self.labels.sum(axis=0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.class_names))

    def label_text(self, index: int) -> str:
        """Return the class of one image by name, several with ``;`` between them."""
        chosen = np.flatnonzero(self.labels[index]) if self.multilabel else [self.labels[index]]
        return ";".join(self.class_names[label] for label in chosen)

    @classmethod
    def _list(cls, root: AnyPath, lists: AnyPath | None, split: str) -> Path:
        """Return the list of a split, in ``lists`` or else in ``root``."""
        return find_list(root if lists is None else lists, split, prefix=cls.list_prefix)

    def _read(self, file: Path) -> np.ndarray:
        return read_image(file)
