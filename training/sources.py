"""From the name of a data set to its reader, and from an image to an amplitude in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from sarhub_models.datasets import BigEarthNetS1, DsnSLC, FolderDataset, OpenSARUrban, Sample, TerraSARX
from sarhub_models.errors import DataError, OptionError
from sarhub_models.transforms import normalize_amplitude

from .recipe import Data

SPLITS = ("train", "val", "test")
_READERS: dict[str, Callable[..., Any]] = {
    "tsx": TerraSARX,
    "ben": BigEarthNetS1,
    "osu": OpenSARUrban,
    "dsn": DsnSLC,
    "folder": FolderDataset,
}


class Scenes(Protocol):
    """What every reader offers; :class:`~sarhub_models.datasets.SceneDataset` describes it."""

    labels: np.ndarray
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    multilabel: bool

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""

    def counts(self) -> np.ndarray:
        """Return the number of samples of each class."""


def open_split(data: Data, split: str) -> Scenes:
    """Open one split of the data set that a recipe names; no image is read.

    Raises:
        OptionError: the recipe says no root, or the reader does not know an option.
        DataError: the data are not there.
    """
    if data.root is None:
        raise OptionError("where does the data set lie? data.root=FOLDER says it (or data.shards, see training.pack)")
    options = {**data.options, **({} if data.lists is None else {"lists": data.lists.expanduser()})}
    try:
        scenes: Scenes = _READERS[data.name](data.root.expanduser(), split, **options)
    except TypeError as err:
        raise OptionError(f"data.options {options} do not fit the reader of {data.name}: {err}") from None
    if len(scenes) == 0:
        raise DataError(f"the {split} split of {data.name} in {data.root} is empty")
    return scenes


def amplitude(image: np.ndarray, full_scale: float | None) -> Tensor:
    """Return an image as amplitude in [0, 1], float32 (1, H, W).

    Raises:
        ImageError: it has another shape, or a value that is NaN, infinite, negative or too large.
    """
    return torch.from_numpy(np.asarray(normalize_amplitude(image, full_scale), dtype=np.float32))[None]
