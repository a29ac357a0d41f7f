"""What the readers of scene data sets have in common: images on disk, labels in memory.

A reader is a map-style data set as :class:`torch.utils.data.DataLoader` takes it, without importing torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...io.images import read_image

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


class SceneDataset:
    """Images with one or several labels each.

    Attributes:
        files: the images.
        names: their paths below the root, with ``/``.
        labels: int64 (N,), indexing ``class_names``, or uint8 (N, C) of zeros and ones where ``multilabel``.
        class_names: name of each class.
        multilabel: whether an image carries several labels.
    """

    def __init__(self, root: Path, files: Sequence[Path], labels: np.ndarray, class_names: Sequence[str]) -> None:
        self.files = tuple(files)
        self.names = tuple(file.relative_to(root).as_posix() for file in files)
        self.labels = labels
        self.class_names = tuple(class_names)
        self.multilabel = labels.ndim == 2

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Read one image.

        Raises:
            IndexError: there is no such sample.
            ImageError: the file is missing or damaged; the message names it.
        """
        label = self.labels[index].copy() if self.multilabel else int(self.labels[index])
        return Sample(self._read(self.files[index]), label, self.names[index])

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def counts(self) -> np.ndarray:
        """Return the number of images of each class, int64 (C,)."""
        if self.multilabel:
            return self.labels.sum(axis=0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.class_names))

    def _read(self, file: Path) -> np.ndarray:
        return read_image(file)
