"""The splits of a recipe's data, from single files or shards, and the statistics of their pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from ..errors import DataError, OptionError
from .augment import make_transform
from .batches import Batch, Files, Plan, Rank
from .readers import Subset, open_split, stratified
from .recipe import Data, Preprocess
from .shards import Shards

_PROBE = 4096  # samples that decide mean and std


class Source(Protocol):
    """One split, as :class:`.Files` and :class:`.Shards` offer it."""

    class_names: tuple[str, ...]
    multilabel: bool
    counts: np.ndarray

    def __len__(self) -> int:
        """Return the number of samples."""

    def training(self, plan: Plan, *, pin: bool = False) -> Iterable[Batch]:
        """Return the mini-batches of a plan."""

    def evaluation(self, batch_size: int, *, process: Rank = Rank(), pin: bool = False) -> Iterable[Batch]:
        """Return one process's share of the split, each sample once."""


def open_source(data: Data, split: str) -> Source:
    """Open a split, all of it.

    Raises:
        OptionError: the recipe does not say where the data lie.
        DataError: they are not there.
    """
    return Files(open_split(data, split), data) if data.shards is None else Shards(data, split)


def open_training(data: Data, seed: int) -> Source:
    """Open the samples to train on: the fraction of the split that the recipe asks for.

    Args:
        data: the recipe's section.
        seed: decides which samples, see :func:`~sarhub_models.engine.readers.stratified`.

    Raises:
        OptionError: as :func:`open_source`; or a part of shards, or a balanced draw from them, is asked for.
        DataError: as :func:`open_source`.
    """
    if data.shards is not None and (data.fraction < 1 or data.balanced):
        raise OptionError(
            "shards are streamed in the order in which they lie: data.fraction and data.balanced need single files, "
            "data.root=FOLDER in place of data.shards"
        )
    source = open_source(data, data.train)
    if data.fraction == 1 or not isinstance(source, Files):
        return source
    chosen = stratified(source.scenes.labels, data.fraction, seed)
    return Files(Subset(source.scenes, chosen), data)


def mean_std(source: Source, preprocess: Preprocess) -> tuple[float, float]:
    """Return mean and standard deviation over the pixels after the operator: the recipe's, or else measured.

    Up to some thousand samples, spread over the split, are measured with the operator's evaluation parameter.

    Raises:
        DataError: a sample is damaged, or all pixels are alike.
    """
    if preprocess.mean is not None and preprocess.std is not None:
        return preprocess.mean, preprocess.std
    transform = make_transform(preprocess, 0.0, 1.0).until("normalize")
    count, total, squares = 0, 0.0, 0.0
    for batch in source.evaluation(256, process=Rank(0, max(1, len(source) // _PROBE))):
        images = batch.images if isinstance(batch.images, list) else [batch.images]
        for image in images:
            pixels = transform(image).double()
            count += pixels.numel()
            total += pixels.sum().item()
            squares += pixels.square().sum().item()
    variance = squares / count - (total / count) ** 2 if count else 0.0
    if not variance > 0:
        raise DataError(
            f"all pixels of {count} are alike after {preprocess.operator}: expected images with a structure"
        )
    mean = total / count if preprocess.mean is None else preprocess.mean
    return mean, variance**0.5 if preprocess.std is None else preprocess.std
