"""Streaming a split from WebDataset shards, on disk or over HTTP, in the order that a seed and a step determine.

In an epoch the shards are dealt out, in random order, to *lanes*: each worker of each process has one, and fills its
mini-batches from it through a shuffle buffer. Batch number ``b`` of an epoch comes from lane ``b`` modulo the number
of workers. A lane makes exactly the batches that it owes, and goes through its shards again if they are too few, so
no process ever ends before the others. A lane depends on nothing but seed, epoch and its own number: to go on within
an epoch, its first samples are read and dropped.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain, islice
from typing import Any

import numpy as np
import torch
import webdataset
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ..errors import DataError, ImageError, InputError, OptionError, SarHubError
from .batches import WORKERS, Batch, Batches, Item, Plan, Rank, collate, damaged, leave_signals_to_main
from .readers import amplitude
from .recipe import Data
from .seeds import generator, key
from .shard_format import Raw, Shard, decode, name_of, read_index, read_shard
from .stream import check_size, is_web


class Shards:
    """A split that is read as a stream; the counterpart of :class:`~sarhub_models.engine.batches.Files`.

    Args:
        data: section of the recipe; ``shards`` is the folder or URL where :mod:`training.pack` left them.
        split: name of the split.

    Attributes:
        index: what was packed.
        class_names: name of each class.
        multilabel: whether a sample carries several labels.
        counts: samples of each class, int64 (C,).

    Raises:
        DataError: the index or a shard is missing or damaged.
        DownloadError: the index cannot be fetched.
        OptionError: the shards hold another data set than the recipe's.
    """

    def __init__(self, data: Data, split: str) -> None:
        if data.shards is None:
            raise OptionError("where do the shards lie? data.shards=FOLDER or data.shards=URL says it")
        self.data, self.location = data, data.shards
        self.index = read_index(self.location, split)
        packed = self.index.settings
        if (packed.reader, packed.options) != (data.name, data.options):
            raise OptionError(
                f"the shards in {self.location} hold {packed.reader} with data.options {packed.options}, the recipe "
                f"asks for {data.name} with {data.options}; pack those into another folder"
            )
        if not is_web(self.location):
            for shard in self.index.shards:
                check_size(self.location, shard.name, shard.bytes)
        self.shards = [shard for shard in self.index.shards if shard.samples]
        self.class_names, self.multilabel = tuple(self.index.class_names), self.index.multilabel
        self.counts = np.array(self.index.counts, dtype=np.int64)

    def __len__(self) -> int:
        return self.index.samples

    def training(self, plan: Plan, pin: bool = False) -> Batches:
        """Return all mini-batches of a plan; the workers live as long as the run.

        With fewer shards than workers of all processes together, fewer workers are used.

        Raises:
            InputError: there are fewer shards than processes.
        """
        world = plan.process.world
        if len(self.shards) < world:
            raise InputError(
                f"{len(self.shards)} shards in {self.location} are too few for {world} processes: pack the split into "
                f"{world} or more, better into several times as many, with a smaller --shard-size"
            )
        lanes = max(1, min(self.data.workers, len(self.shards) // world))
        if lanes < self.data.workers:
            warnings.warn(
                f"{len(self.shards)} shards give each of {world} process(es) work for {lanes} worker(s), not for "
                f"data.workers={self.data.workers}; a smaller --shard-size makes more shards",
                stacklevel=2,
            )
        return self._load(partial(self._training, plan), lanes, pin)

    def evaluation(self, batch_size: int, process: Rank = Rank(), pin: bool = False) -> Batches:
        """Return a process's share of the split, each sample once.

        It is every ``world``-th shard where that shares them evenly, else every ``world``-th sample of all shards.
        """
        whole = len(self.shards) % process.world == 0
        shards = self.shards[process.rank :: process.world] if whole else self.shards
        offsets = list(accumulate((shard.samples for shard in shards), initial=0))
        share = Rank() if whole else process
        make = partial(self._evaluation, list(zip(shards, offsets[:-1], strict=True)), batch_size, share)
        return self._load(make, max(1, min(self.data.workers, len(shards))), pin)

    def _load(self, make: Callable[[int, int], Iterator[Batch]], workers: int, pin: bool) -> Batches:
        parallel = self.data.workers > 0
        loader: DataLoader[Any] = DataLoader(
            _Stream(make),
            batch_size=None,
            collate_fn=as_it_is,
            num_workers=workers if parallel else 0,
            pin_memory=pin,
            prefetch_factor=4 if parallel else None,
            multiprocessing_context=WORKERS if parallel else None,
            worker_init_fn=leave_signals_to_main,
        )
        return Batches(loader)

    def _training(self, plan: Plan, worker: int, workers: int) -> Iterator[Batch]:
        """Yield the batches of one worker: every ``workers``-th, from number ``start + worker`` on."""
        number = plan.start + worker
        while number < plan.epochs * plan.steps:
            epoch, first = divmod(number, plan.steps)
            made, lane = divmod(first, workers)
            batches = self._lane(plan, epoch, lane, workers, made)
            for _ in range(first, plan.steps, workers):
                yield next(batches)
                number += workers

    def _lane(self, plan: Plan, epoch: int, lane: int, lanes: int, made: int) -> Iterator[Batch]:
        """Yield the batches of a lane without end, but for those that were made before."""
        process = plan.process
        lane = lane * process.world + process.rank  # neighbours may differ by a shard: of different processes
        order = torch.randperm(len(self.shards), generator=generator(plan.seed, "shards", epoch)).tolist()
        shards = [self.shards[index] for index in order[lane :: lanes * process.world]]
        raws = self._shuffled(shards, random.Random(key(plan.seed, "buffer", epoch, lane)))
        patience = 2 * sum(shard.samples for shard in shards)
        if self.data.on_error == "skip":  # only decoding shows which samples did not count
            return islice(self._batches(raws, plan.batch_size, patience), made, None)
        return self._batches(islice(raws, made * plan.batch_size, None), plan.batch_size, patience)

    def _shuffled(self, shards: Sequence[Shard], rng: random.Random) -> Iterator[Raw]:
        """Yield the samples of some shards again and again, each once in every pass."""
        # Packing has mixed the samples, so the first batches need not wait until the buffer is full.
        mix = webdataset.shuffle(self.data.shuffle_buffer, initial=100, rng=rng)
        while True:
            yield from mix(chain.from_iterable(read_shard(self.location, shard) for shard in shards))

    def _evaluation(
        self, shards: Sequence[tuple[Shard, int]], batch_size: int, share: Rank, worker: int, workers: int
    ) -> Iterator[Batch]:
        raws = (
            raw
            for shard, offset in shards[worker::workers]
            for position, raw in enumerate(read_shard(self.location, shard), start=offset)
            if position % share.world == share.rank
        )
        return self._batches(raws, batch_size, len(self))

    def _batches(self, raws: Iterable[Raw], batch_size: int, patience: int) -> Iterator[Batch]:
        """Yield mini-batches; the names of damaged samples go with the batch before the next good one."""
        items: list[Item] = []
        skipped: list[str] = []
        in_a_row = 0
        for raw in raws:
            item = self._item(raw)
            if item is None:
                skipped.append(name_of(raw))
                in_a_row += 1
                if in_a_row > patience:
                    raise DataError(f"no sample in {raw['__url__']} can be read, {skipped[-1]} among them")
                continue
            in_a_row = 0
            if len(items) == batch_size:
                yield collate(items)._replace(skipped=skipped)
                items, skipped = [], []
            items.append(item)
        if items:
            yield collate(items)._replace(skipped=skipped)

    def _item(self, raw: Raw) -> Item | None:
        """Return a sample, or ``None`` for a damaged one that is to be skipped."""
        try:
            image, label, name = decode(raw, self.multilabel)
            return Item(amplitude(image, self.data.full_scale), label, name)
        except (ImageError, DataError) as err:
            if self.data.on_error == "skip":
                return None
            raise damaged(f"{name_of(raw)} in {raw['__url__']}", err) from err


class _Stream(IterableDataset[Any]):
    """The mini-batches of one worker; an error is an item, too, as :class:`.Batches` expects."""

    def __init__(self, make: Callable[[int, int], Iterator[Batch]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[Batch | SarHubError]:
        info = get_worker_info()
        try:
            yield from self.make(*((0, 1) if info is None else (info.id, info.num_workers)))
        except SarHubError as err:
            yield err


def as_it_is(item: Any) -> Any:
    """Return what a worker made; a DataLoader would turn arrays in it into tensors."""
    return item
