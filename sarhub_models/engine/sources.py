"""Several data sets as one: every step takes the same number of samples of each, one after the other."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, OptionError, SarHubError
from .batches import Batch, Plan, Rank
from .sections import Optim
from .sections import Source as Section
from .seeds import key

_OWN = sorted(Section.model_fields.keys() - {"input"})  # what recipes call data.X of one data set
UNLABELLED = -1
"""Label of a sample whose source has no head."""


class Split(Protocol):
    """One split, as :class:`.Files` and :class:`.Shards` offer it, and :class:`Sources` does."""

    class_names: tuple[str, ...]
    multilabel: bool
    counts: np.ndarray

    def __len__(self) -> int:
        """Return the number of samples."""

    def training(self, plan: Plan, *, pin: bool = False) -> Iterable[Batch]:
        """Return the mini-batches of a plan."""

    def evaluation(self, batch_size: int, *, process: Rank = Rank(), pin: bool = False) -> Iterable[Batch]:
        """Return one process's share of the split, each sample once."""


@dataclass(frozen=True)
class Part:
    """One source.

    Attributes:
        name: by which the recipe calls it.
        split: its samples.
        section: of the recipe.
        classes: the outputs of the network that are its head, empty without one.
    """

    name: str
    split: Split
    section: Section
    classes: slice


@contextmanager
def naming_source(name: str) -> Iterator[None]:
    """Say of an error which source it is of, and call its options by their places below it."""
    try:
        yield
    except SarHubError as err:
        text = re.sub(rf"\bdata\.(?=({'|'.join(_OWN)})\b)", f"data.sources.{name}.", str(err))
        raise type(err)(f"source {name}: {text}") from err


class Sources:
    """The samples of several sources; labels count the classes of all heads, one source after the other.

    Args:
        splits: what is trained on, by the names of the recipe.
        sections: of the recipe, by the same names.

    Attributes:
        parts: the sources, in the order of the recipe.
        class_names: ``<source>/<class>`` of every head.
        multilabel: false.
        counts: samples of each class, int64 (C,).

    Raises:
        OptionError: a source with a head has several labels a sample.
    """

    multilabel = False

    def __init__(self, splits: Mapping[str, Split], sections: Mapping[str, Section]) -> None:
        self.parts: list[Part] = []
        names: list[str] = []
        for name, split in splits.items():
            own = split.class_names if sections[name].loss is not None else ()
            if own and split.multilabel:
                raise OptionError(f"data.sources.{name} has several labels a sample: data.sources.{name}.loss=null")
            self.parts.append(Part(name, split, sections[name], slice(len(names), len(names) + len(own))))
            names += [f"{name}/{label}" for label in own]
        self.class_names = tuple(names)
        counts = [part.split.counts for part in self.parts if part.section.loss is not None]
        self.counts = np.concatenate([np.zeros(0, dtype=np.int64), *counts])

    def __len__(self) -> int:
        return sum(len(part.split) for part in self.parts)

    def quotas(self, batch_size: int) -> list[int]:
        """Return how many samples of a process's step are of each source: in proportion to its weight, at least one.

        Raises:
            InputError: there are more sources than samples.
        """
        weights = np.array([part.section.weight for part in self.parts])
        spare = batch_size - len(weights)
        if spare < 0:
            raise InputError(f"optim.batch_size={batch_size} is too small for {len(weights)} sources")
        exact = np.maximum(weights / weights.sum() * batch_size - 1, 0)
        exact *= spare / max(exact.sum(), 1e-12)
        found = np.floor(exact).astype(int)
        for index in np.argsort(found - exact, kind="stable")[: spare - found.sum()]:
            found[index] += 1
        return (found + 1).tolist()

    def shared(self, optim: Optim, process: Rank) -> list[int]:
        """Return how many samples of a step of all processes are of each source.

        Warns:
            UserWarning: one process alone would take others, as shares are whole numbers for each process.
        """
        found = [process.world * quota for quota in self.quotas(optim.batch_size)]
        alone = self.quotas(process.world * optim.batch_size)
        if found != alone and process.rank == 0:
            names = ", ".join(part.name for part in self.parts)
            warnings.warn(
                f"with {process.world} processes of optim.batch_size={optim.batch_size}, a step has "
                f"{', '.join(map(str, found))} samples of {names}, and with one process {', '.join(map(str, alone))}: "
                "a larger optim.batch_size is nearer to the weights of the sources",
                stacklevel=2,
            )
        return found

    def slices(self, batch_size: int) -> list[slice]:
        """Return where in a process's step the samples of each source lie."""
        ends = list(accumulate(self.quotas(batch_size)))
        return [slice(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]

    def training(self, plan: Plan, *, pin: bool = False) -> Iterator[Batch]:
        """Yield all mini-batches of a plan; each source has an order of its own."""
        plans = [
            replace(plan, batch_size=quota, seed=key(plan.seed, "source", part.name))
            for part, quota in zip(self.parts, self.quotas(plan.batch_size), strict=True)
        ]
        loaders = [
            _of_source(part.name, part.split.training(own, pin=pin))
            for part, own in zip(self.parts, plans, strict=True)
        ]
        for batches in zip(*loaders, strict=True):
            yield self._join(batches)

    def evaluation(self, batch_size: int, *, process: Rank = Rank(), pin: bool = False) -> Iterator[Batch]:
        """Yield a process's share of all samples, each once, source by source."""
        for part in self.parts:
            for batch in _of_source(part.name, part.split.evaluation(batch_size, process=process, pin=pin)):
                yield batch._replace(labels=_labels(part, batch))

    def _join(self, batches: Sequence[Batch]) -> Batch:
        pairs = list(zip(self.parts, batches, strict=True))
        return Batch(
            images=[image for batch in batches for image in batch.images],
            labels=torch.cat([_labels(part, batch) for part, batch in pairs]),
            names=[f"{part.name}/{name}" for part, batch in pairs for name in batch.names],
            skipped=[f"{part.name}/{name}" for part, batch in pairs for name in batch.skipped],
        )


def _of_source(name: str, batches: Iterable[Batch]) -> Iterator[Batch]:
    with naming_source(name):
        yield from batches


def _labels(part: Part, batch: Batch) -> Tensor:
    if part.section.loss is None:
        return torch.full((len(batch.names),), UNLABELLED)
    return batch.labels + part.classes.start
