"""Readers by the name of their data set, and images as amplitudes in [0, 1]."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..datasets.catalog import find
from ..datasets.recognition.base import Sample
from ..datasets.windows.boxes import BoxWindows
from ..datasets.windows.masks import MaskWindows
from ..errors import DataError, OptionError, RadiometryWarning
from ..transforms import normalize_amplitude
from ..transforms.steps import ToRadiometry
from ..zoo.entries import Input, with_tuples
from .seeds import generator

if TYPE_CHECKING:
    from .sections import Data

WINDOWED_READERS: dict[str, Any] = {"masks": MaskWindows, "boxes": BoxWindows}
WHOLE = "all"
"""Split of everything there is, of data sets that need no lists."""


class Scenes(Protocol):
    """The interface of every reader; :class:`~sarhub_models.datasets.SceneDataset` describes it."""

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


class Subset:
    """Some samples of a reader, with its interface.

    Args:
        scenes: the reader.
        indices: which samples, in the order in which they shall come, int64 (N,).
    """

    def __init__(self, scenes: Scenes, indices: np.ndarray) -> None:
        self.scenes, self.indices = scenes, indices
        self.labels = scenes.labels[indices]
        self.names = tuple(scenes.names[index] for index in indices)
        self.class_names, self.multilabel = scenes.class_names, scenes.multilabel

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        return self.scenes[int(self.indices[index])]

    def counts(self) -> np.ndarray:
        """Return the number of samples of each class, int64 (C,)."""
        if self.multilabel:
            return self.labels.sum(axis=0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.class_names))


def stratified(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose a fraction of the samples of every class at random, at least one of each that has any.

    The samples of a smaller fraction are among those of a larger one. Samples with several labels are chosen without
    regard to them.

    Args:
        labels: class of each sample, int64 (N,), or zeros and ones (N, C).
        fraction: in (0, 1].
        seed: decides which ones.

    Returns:
        Their indices, increasing, int64 (M,).
    """
    classes = labels if labels.ndim == 1 else np.zeros(len(labels), dtype=np.int64)
    chosen = []
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        order = torch.randperm(len(members), generator=generator(seed, "fraction", int(label))).numpy()
        chosen.append(members[order[: max(1, round(fraction * len(members)))]])
    return np.sort(np.concatenate(chosen))


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
        reader, whole = _reader_of(data.name)
        chosen = None if split == WHOLE and whole else split
        scenes: Scenes = reader(data.root.expanduser(), chosen, **options)
    except TypeError as err:
        raise OptionError(f"data.options {options} do not fit the reader of {data.name}: {err}") from None
    if len(scenes) == 0:
        raise DataError(f"the {split} split of {data.name} in {data.root} is empty")
    return scenes


def _reader_of(name: str) -> tuple[Any, bool]:
    """Return the reader of a data set, and whether it opens everything there is."""
    if name in WINDOWED_READERS:
        return WINDOWED_READERS[name], False
    entry = find(name)
    return entry.reader, entry.whole


def physical(data: Data) -> Callable[[np.ndarray], Tensor]:
    """Return the function that gives an image the radiometry that the chain of a recipe begins with.

    It takes (H, W) or (C, H, W) as read, returns float32 (C, H, W), and raises an ImageError of what the image cannot
    hold.

    Raises:
        OptionError: there is no such radiometry, or it cannot be converted.
    """
    given = Input(**with_tuples(data.input or {}))
    step = ToRadiometry(given.bands, given.radiometry, given.range, given=data.radiometry, full_scale=data.full_scale)
    return partial(amplitude, full_scale=data.full_scale) if step.takes_amplitude else partial(_converted, step)


def _converted(step: ToRadiometry, image: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RadiometryWarning)  # one an image and epoch: who opens the data says it once
        converted: Tensor = step(image)[0]
    return converted


def amplitude(image: np.ndarray, full_scale: float | None) -> Tensor:
    """Return an image as amplitude in [0, 1], float32 (1, H, W).

    Raises:
        ImageError: it has another shape, or a value that is NaN, infinite, negative or too large.
    """
    return torch.from_numpy(np.asarray(normalize_amplitude(image, full_scale=full_scale), dtype=np.float32))[None]
