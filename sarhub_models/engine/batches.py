"""Mini-batches from a reader: which samples make up which step, and what happens to a damaged one.

The order of an epoch depends on the seed and the epoch alone. A step takes the next ``world × batch_size`` samples
of it, of which each process takes its slice; so the same steps see the same samples on any number of processes. An
epoch that is longer than the split goes through it again, in another order.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import DataError, ImageError, InputError, OptionError, SarHubError
from ..io.workers import end_with_parent
from .readers import Scenes, physical
from .sections import Data, Optim
from .seeds import generator

# Forked workers share the reader's memory, and end when the run is killed; those of a fork server would stay.
WORKERS = "fork" if sys.platform == "linux" else None


class Item(NamedTuple):
    """One sample, ready for a batch.

    Attributes:
        image: float32 (C, H, W), in general one band of amplitude in [0, 1]; ``None`` if the sample is damaged and left
            out.
        label: class index, or uint8 (C,) of zeros and ones.
        name: of the sample.
        skipped: names of the damaged samples in whose place it stands.
    """

    image: Tensor | None
    label: int | np.ndarray
    name: str
    skipped: tuple[str, ...] = ()


class Batch(NamedTuple):
    """A mini-batch of one process.

    Attributes:
        images: float32 (B, C, H, W), or a list of (C, H, W) where the sizes differ; in general one band of amplitude in
            [0, 1].
        labels: int64 (B,), or float32 (B, C) of zeros and ones.
        names: of the samples.
        skipped: names of the damaged samples that were left out.
    """

    images: Tensor | list[Tensor]
    labels: Tensor
    names: list[str]
    skipped: list[str]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        images = self.images
        moved = (
            images.to(device, non_blocking=True)
            if isinstance(images, Tensor)
            else [image.to(device, non_blocking=True) for image in images]
        )
        return self._replace(images=moved, labels=self.labels.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which copies to a GPU overlap with its work."""
        images = self.images
        pinned = images.pin_memory() if isinstance(images, Tensor) else [image.pin_memory() for image in images]
        return self._replace(images=pinned, labels=self.labels.pin_memory())


@dataclass(frozen=True)
class Rank:
    """The number of this process, and of how many."""

    rank: int = 0
    world: int = 1


def collate(items: Sequence[Item]) -> Batch:
    """Stack items but for those left out; images of different sizes, or none, are a list."""
    skipped = [name for item in items for name in item.skipped]
    kept = [item for item in items if item.image is not None]
    images = [item.image for item in kept if item.image is not None]
    same = len({image.shape for image in images}) == 1
    if isinstance(items[0].label, np.ndarray):
        labels = torch.tensor(np.array([item.label for item in kept]), dtype=torch.float32)
    else:
        labels = torch.tensor([item.label for item in kept], dtype=torch.int64)
    return Batch(torch.stack(images) if same else images, labels, [item.name for item in kept], skipped)


class Items(Dataset[Item]):
    """The samples of a reader as items.

    Args:
        scenes: the reader.
        data: the recipe's section.
        replace: what becomes of a damaged sample with ``on_error="skip"``: true gives the next one that can be read in
            its place, so that a batch stays full; false leaves it out, so that none is scored twice.
    """

    def __init__(self, scenes: Scenes, data: Data, replace: bool) -> None:
        self.scenes, self.physical, self.skip = scenes, physical(data), data.on_error == "skip"
        self.replace = replace

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitems__(self, indices: Sequence[int]) -> list[Item] | SarHubError:
        """Return the samples of a mini-batch for :class:`Batches`, or the error that one of them raises."""
        try:
            return [self[index] for index in indices]
        except SarHubError as err:
            return err

    def __getitem__(self, index: int) -> Item:
        """Return a sample.

        Raises:
            IndexError: there is no such sample.
            DataError: it is damaged and ``on_error`` is ``"stop"``, or none can be read.
        """
        skipped: list[str] = []
        for offset in range(len(self.scenes)):
            position = (index + offset) % len(self.scenes)
            try:
                image, label, name = self.scenes[position]
                return Item(self.physical(image), label, name, tuple(skipped))
            except (ImageError, DataError) as err:
                skipped.append(self.scenes.names[position])
                if not self.skip:
                    raise damaged(skipped[0], err) from err
                if not self.replace:
                    return Item(None, self.scenes.labels[index], skipped[0], (skipped[0],))
        raise DataError(f"none of the {len(self.scenes)} samples can be read, {skipped[0]} first")


def damaged(name: str, cause: Exception) -> DataError:
    """Return the error that names a damaged sample and the two ways on."""
    return DataError(f"sample {name}: {cause} (repair or remove it, or data.on_error=skip leaves such samples out)")


def steps_per_epoch(samples: int, optim: Optim, world: int) -> int:
    """Return the mini-batches of an epoch, a multiple of ``optim.accumulate``.

    These are ``optim.epoch_steps``, or one pass over the samples, those left over not seen in it.

    Raises:
        InputError: there are fewer samples than one step of all processes takes.
    """
    if optim.epoch_steps is not None:
        return optim.epoch_steps
    steps = samples // (optim.batch_size * world * optim.accumulate) * optim.accumulate
    if steps == 0:
        raise InputError(
            f"{samples} samples to train on are fewer than one step takes: optim.batch_size={optim.batch_size} × "
            f"{world} process(es) × optim.accumulate={optim.accumulate}; optim.epoch_steps=N goes through them as "
            "often as N steps need"
        )
    return steps


@dataclass(frozen=True)
class Plan:
    """The mini-batches that one process gets.

    Attributes:
        steps: mini-batches per epoch.
        epochs: passes over the training split.
        batch_size: samples of this process per mini-batch.
        seed: of the order.
        process: this process.
        start: the first mini-batch, counted over all epochs.
    """

    steps: int
    epochs: int
    batch_size: int
    seed: int
    process: Rank = Rank()
    start: int = 0


class StepSampler:
    """The indices of each mini-batch of a plan.

    Args:
        samples: size of the split.
        plan: which mini-batches.
        weights: for a draw with replacement, in proportion to them, (samples,); ``None`` shows every sample before any
            comes again.
    """

    def __init__(self, samples: int, plan: Plan, *, weights: Tensor | None = None) -> None:
        self.samples, self.plan, self.weights = samples, plan, weights

    def __len__(self) -> int:
        return self.plan.steps * self.plan.epochs - self.plan.start

    def __iter__(self) -> Iterator[list[int]]:
        plan = self.plan
        current, first = divmod(plan.start, plan.steps)
        for epoch in range(current, plan.epochs):
            order = self._order(epoch)
            for step in range(first, plan.steps):
                begin = (step * plan.process.world + plan.process.rank) * plan.batch_size
                yield order[begin : begin + plan.batch_size].tolist()
            first = 0

    def _order(self, epoch: int) -> Tensor:
        """Return the samples of an epoch for all processes, as many as it takes, or all of them."""
        plan = self.plan
        length = plan.steps * plan.batch_size * plan.process.world
        if self.weights is not None:
            return torch.multinomial(self.weights, length, True, generator=generator(plan.seed, "drawn", epoch))
        purposes = [("order", epoch), *(("order", epoch, again) for again in range(1, -(-length // self.samples)))]
        orders = [torch.randperm(self.samples, generator=generator(plan.seed, *purpose)) for purpose in purposes]
        return torch.cat(orders)


def as_it_is(item: Any) -> Any:
    """Return what a worker made; a DataLoader would turn arrays in it into tensors."""
    return item


def leave_the_end_to_main(worker: int) -> None:
    """Let a worker outlive the Ctrl-C or SIGTERM of its group, as the last steps need it, but not the main process."""
    end_with_parent(worker)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _collate_or_error(items: Sequence[Item] | SarHubError) -> Batch | SarHubError:
    return items if isinstance(items, SarHubError) else collate(items)


class Batches:
    """The mini-batches of a DataLoader. An error travels as an item: a worker would add its traceback to the text.

    Args:
        dataset: gives batches, lists of items, or errors.
        workers: processes beside this one.
        collate: makes a batch of what the dataset gives.
        pin: put batches into page-locked memory.
        **sampling: ``sampler``, ``batch_sampler`` or ``batch_size`` of the DataLoader; without ``batch_size`` each item
            is a batch.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        workers: int,
        *,
        collate: Callable[[Any], Any] = as_it_is,
        pin: bool = False,
        **sampling: Any,
    ) -> None:
        self.loader: DataLoader[Any] = DataLoader(
            dataset,
            collate_fn=collate,
            num_workers=workers,
            pin_memory=pin,
            prefetch_factor=4 if workers else None,
            multiprocessing_context=WORKERS if workers else None,
            worker_init_fn=leave_the_end_to_main,
            **({"batch_size": None} | sampling if "batch_sampler" not in sampling else sampling),
        )

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            if isinstance(batch, SarHubError):
                raise batch
            yield batch


def class_weights(scenes: Scenes) -> Tensor:
    """Return a weight for each sample, the inverse of its class's frequency: all classes are drawn equally often.

    Raises:
        OptionError: the samples have several labels each.
    """
    if scenes.multilabel:
        raise OptionError(
            "data.balanced draws classes equally often, which needs one label a sample; use loss.name=cbl"
        )
    return torch.from_numpy(1.0 / scenes.counts()[scenes.labels])


class Files:
    """A split whose samples are read one by one, in any order.

    Attributes:
        class_names: name of each class.
        multilabel: whether a sample carries several labels.
        counts: samples of each class, int64 (C,).
    """

    def __init__(self, scenes: Scenes, data: Data) -> None:
        self.scenes, self.data = scenes, data
        self.class_names, self.multilabel, self.counts = scenes.class_names, scenes.multilabel, scenes.counts()

    def __len__(self) -> int:
        return len(self.scenes)

    def training(self, plan: Plan, *, pin: bool = False) -> Batches:
        """Return all mini-batches of a plan; the workers live as long as the run."""
        weights = class_weights(self.scenes) if self.data.balanced else None
        return self._batches(True, pin, batch_sampler=StepSampler(len(self), plan, weights=weights))

    def evaluation(self, batch_size: int, *, process: Rank = Rank(), pin: bool = False) -> Batches:
        """Return a process's share of the split: every ``world``-th sample, each exactly once."""
        return self._batches(False, pin, sampler=range(process.rank, len(self), process.world), batch_size=batch_size)

    def _batches(self, replace: bool, pin: bool, **sampling: Any) -> Batches:
        items = Items(self.scenes, self.data, replace)
        return Batches(items, self.data.workers, collate=_collate_or_error, pin=pin, **sampling)
