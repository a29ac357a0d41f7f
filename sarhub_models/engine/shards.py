"""Streaming a split from WebDataset shards, on disk or over HTTP, in the order that a seed and a step determine.

A folder or URL holds the index ``<split>.json`` and ``<split>-000000.tar`` …, in which a sample is ``<key>.npy`` (the
image as the reader gives it), ``<key>.cls`` (the class index) or ``<key>.labels.npy`` (uint8 (C,) of zeros and ones),
and ``<key>.json`` (its name). A shard whose SHA-256 is not the index's is not read.

In an epoch the shards are dealt out, in random order, to *lanes*: each worker of each process has one, and fills its
mini-batches from it through a shuffle buffer. Batch number ``b`` of an epoch comes from lane ``b`` modulo the number
of workers. A lane makes exactly the batches that it owes, and goes through its shards again if they are too few, so
no process ever ends before the others. A lane depends on nothing but seed, epoch and its own number: to go on within
an epoch, its first samples are read and dropped.
"""

from __future__ import annotations

import io
import json
import random
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import webdataset
from pydantic import ConfigDict, Field, ValidationError, model_validator
from torch.utils.data import IterableDataset, get_worker_info
from webdataset.tariterators import group_by_keys, tar_file_expander

from ..errors import (
    DataError,
    DownloadError,
    ImageError,
    InputError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    OptionError,
    SarHubError,
)
from ..io.files import digests
from ..io.limits import check_array
from ..weights.http import download
from ..weights.hub import offline
from .batches import Batch, Batches, Item, Plan, Rank, collate, damaged
from .readers import amplitude
from .sections import Count, Data, Section
from .seeds import generator, key

_SUFFIXES = {"npy", "cls", "labels.npy", "json"}  # others could be pickles, which webdataset would open
Raw = dict[str, Any]
"""A sample of a tar: ``__key__``, ``__url__``, and bytes or what they were decoded to by suffix."""


Size = Annotated[int, Field(ge=0, le=1 << 53)]


class Shard(Section):
    """One tar: ``counts`` of each class in it, and the names of the damaged images ``skipped`` in packing it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=200)]  # of a file
    samples: Size
    counts: list[Size]
    skipped: list[str]
    bytes: Count
    sha256: str


class Settings(Section):
    """Everything that decides the bytes of the shards; ``names_and_labels`` is the digest of the split's chips."""

    reader: str
    options: dict[str, Any]
    full_scale: float | None
    samples: Count
    names_and_labels: str
    shards: Count


class Index(Section):
    """All that is known of a packed split; it has fewer shards than the settings say until the packing is finished."""

    model_config = ConfigDict(extra="ignore")

    format: Literal[1] = 1
    split: str
    settings: Settings
    class_names: list[str]
    multilabel: bool
    shards: list[Shard]

    @model_validator(mode="after")
    def _check_counts(self) -> Index:
        if any(len(shard.counts) != len(self.class_names) for shard in self.shards):
            raise ValueError("a shard has counts of other classes")
        return self

    @property
    def samples(self) -> int:
        """The number of samples of all shards."""
        return sum(shard.samples for shard in self.shards)

    @property
    def counts(self) -> list[int]:
        """The samples of each class."""
        return [sum(counts) for counts in zip(*(shard.counts for shard in self.shards), strict=True)]

    @property
    def skipped(self) -> list[str]:
        """The names of the damaged images that no shard holds."""
        return [name for shard in self.shards for name in shard.skipped]


def read_index(location: str, split: str, *, unfinished: bool = False) -> Index:
    """Read the index of a split from a folder or URL; ``unfinished`` takes that of a packing that was interrupted, too.

    Raises:
        DataError: there is none, it is damaged, or the packing was interrupted.
        DownloadError: it cannot be fetched.
    """
    where = _address(location, f"{split}.json")
    command = f"python -m training.pack RECIPE data.root=DIR --split {split} --out DIR"
    try:
        with _local(where) as file:
            index = Index.model_validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, NotFoundError) as err:
        raise DataError(f"expected the index of the shards in {where}, found none; pack the split: {command}") from err
    except ValidationError as err:
        first = err.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise DataError(f"{where} is no index of this version ({reason}); pack into another folder: {command}") from err
    if len(index.shards) < index.settings.shards and not unfinished:
        raise DataError(f"{where}: the packing was interrupted; the same command resumes it: {command}")
    return index


def check_shard(file: Path, where: str, shard: Shard, *, content: bool = True) -> None:
    """Check that a shard is there, and has the size and, for ``content``, the SHA-256 of the index.

    Raises:
        DataError: it is missing or damaged, in a folder.
        IntegrityError: it is damaged, on the web.
    """
    fix = "the same training.pack command packs what is missing or damaged"
    if not file.is_file():
        raise DataError(f"{where} is missing; {fix}")
    try:
        if (size := file.stat().st_size) != shard.bytes:
            raise ValueError(f"expected {shard.bytes} bytes, found {size}")
        if content and digests(file).sha256 != shard.sha256:
            raise ValueError("its SHA-256 is not the index's")
        if content:
            _check_members(file)
    except (tarfile.TarError, ValueError, OverflowError) as err:
        kind = IntegrityError if _is_web(where) else DataError
        raise kind(f"{where} is damaged: {err}; {fix}") from err


def _check_members(file: Path) -> None:
    """Check that a tar is not compressed, and that its members lie within it: a stream follows whatever they claim."""
    size = file.stat().st_size
    with tarfile.open(file, "r:") as tar:
        for member in tar:
            if member.issparse() or not 0 <= member.size <= size - member.offset_data:
                raise tarfile.ReadError(f"its member {member.name!r} claims {member.size} bytes")


def _is_web(where: str) -> bool:
    return where.lower().startswith(("http://", "https://"))


def _address(location: str, name: str) -> str:
    return f"{location.rstrip('/')}/{name}" if _is_web(location) else str(Path(location).expanduser() / name)


@contextmanager
def _local(where: str) -> Iterator[Path]:
    """Yield the path of a file, or of a copy of one on the web, which is deleted afterwards."""
    if not _is_web(where):
        yield Path(where)
        return
    if offline():
        raise OfflineError(
            f"{where} needs the network, which SARHUB_OFFLINE or HF_HUB_OFFLINE forbids; copy the shards to this "
            "machine and give their folder: data.shards=FOLDER"
        )
    with tempfile.TemporaryDirectory(prefix="sarhub-shards-") as folder:
        file = Path(folder) / where.rpartition("/")[2]
        try:
            download(where, file)
        except DownloadError as err:  # of which nothing is kept here
            raise type(err)(f"{where}: {str(err).partition('; ')[0]}; to resume, give the same command again") from err
        yield file


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
        if not _is_web(self.location):
            for shard in self.index.shards:
                where = _address(self.location, shard.name)
                check_shard(Path(where), where, shard, content=False)
        self.shards = [shard for shard in self.index.shards if shard.samples]
        self.class_names, self.multilabel = tuple(self.index.class_names), self.index.multilabel
        self.counts = np.array(self.index.counts, dtype=np.int64)
        self._intact: set[str] = set()  # shards of a folder that this process has hashed

    def __len__(self) -> int:
        return self.index.samples

    def training(self, plan: Plan, *, pin: bool = False) -> Batches:
        """Return all mini-batches of a plan; the workers live as long as the run.

        With fewer shards than workers of all processes together, fewer workers are used.

        Raises:
            InputError: there are fewer shards than processes.
        """
        world, count = plan.process.world, len(self.shards)
        if count < world:
            raise InputError(
                f"{count} shards in {self.location} are too few for {world} processes: pack the split into {world} or "
                "more, better into several times as many, with a smaller --shard-size"
            )
        lanes = max(1, min(self.data.workers, count // world))
        if lanes < self.data.workers:
            warnings.warn(
                f"{count} shards give each of {world} process(es) work for {lanes} worker(s), not for "
                f"data.workers={self.data.workers}; a smaller --shard-size makes more shards",
                stacklevel=2,
            )
        return self._load(partial(self._training, plan), lanes, pin)

    def evaluation(self, batch_size: int, *, process: Rank = Rank(), pin: bool = False) -> Batches:
        """Return a process's share of the split, each sample once.

        It is every ``world``-th shard where that shares them evenly, else every ``world``-th sample of all shards.
        """
        whole = len(self.shards) % process.world == 0
        shards = self.shards[process.rank :: process.world] if whole else self.shards
        offsets = accumulate((shard.samples for shard in shards), initial=0)
        share = Rank() if whole else process
        make = partial(self._evaluation, list(zip(shards, offsets, strict=False)), batch_size, share)
        return self._load(make, max(1, min(self.data.workers, len(shards))), pin)

    def _load(self, make: Callable[[int, int], Iterator[Batch]], workers: int, pin: bool) -> Batches:
        return Batches(_Stream(make), workers if self.data.workers else 0, pin=pin)

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
        lane = lane * process.world + process.rank  # neighbors may differ by a shard: of different processes
        order = torch.randperm(len(self.shards), generator=generator(plan.seed, "shards", epoch)).tolist()
        shards = [self.shards[index] for index in order[lane :: lanes * process.world]]
        raws = self._shuffled(shards, random.Random(key(plan.seed, "buffer", epoch, lane)))
        items = self._items(raws, patience=2 * sum(shard.samples for shard in shards))
        return islice(_batches(items, plan.batch_size), made, None)

    def _shuffled(self, shards: Sequence[Shard], rng: random.Random) -> Iterator[Raw]:
        """Yield the samples of some shards again and again, each once in every pass."""
        # Packing has mixed the samples, so the first batches need not wait until the buffer is full.
        mix = webdataset.shuffle(self.data.shuffle_buffer, initial=100, rng=rng)
        while True:
            yield from mix(chain.from_iterable(map(self._read, shards)))

    def _read(self, shard: Shard) -> Iterator[Raw]:
        """Yield the samples of a shard in their order, undecoded."""
        where = _address(self.location, shard.name)
        with _local(where) as file:
            check_shard(file, where, shard, content=where not in self._intact)
            if not _is_web(where):
                self._intact.add(where)
            with file.open("rb") as stream:
                try:
                    yield from group_by_keys(tar_file_expander([{"url": where, "stream": stream}]), suffixes=_SUFFIXES)
                except (tarfile.TarError, ValueError, EOFError, AssertionError) as err:
                    raise DataError(f"{where} is damaged ({err.args[0] if err.args else err!r})") from err

    def _evaluation(
        self, shards: Sequence[tuple[Shard, int]], batch_size: int, share: Rank, worker: int, workers: int
    ) -> Iterator[Batch]:
        raws = (
            raw
            for shard, offset in shards[worker::workers]
            for position, raw in enumerate(self._read(shard), start=offset)
            if position % share.world == share.rank
        )
        return _batches(self._items(raws), batch_size)

    def _decoded(self, raw: Raw) -> tuple[str, Any, np.ndarray]:
        """Return name, label and image of a sample."""
        classes = len(self.class_names)
        try:
            name, image = json.loads(raw["json"])["name"], _array(raw["npy"])
            label = _array(raw["labels.npy"]) if self.multilabel else int(raw["cls"])
            fits = label.shape == (classes,) if isinstance(label, np.ndarray) else 0 <= label < classes
            if not isinstance(name, str) or not fits:
                raise ValueError("its label is not of these classes, or its name is no text")
        except (LookupError, ValueError, TypeError, EOFError, RecursionError) as err:
            where = raw.get("__url__", self.location)
            raise DataError(f"{where} is damaged: sample {raw.get('__key__')!r} cannot be decoded ({err!r})") from err
        return name, label, image

    def _items(self, raws: Iterable[Raw], patience: int | None = None) -> Iterator[Item]:
        """Yield samples ready for a batch; a damaged one is left out, or with ``patience`` the next takes its place."""
        skipped: list[str] = []
        for raw in raws:
            name, label, image = self._decoded(raw)
            pixels = None
            try:
                pixels = amplitude(image, self.data.full_scale)
            except (ImageError, DataError) as err:
                if self.data.on_error == "stop":
                    raise damaged(f"{name} in {raw['__url__']}", err) from err
                skipped.append(name)
                if patience is not None and len(skipped) > patience:
                    raise DataError(f"no sample in {raw['__url__']} can be used, {name} among them") from err
            if pixels is not None or patience is None:
                yield Item(pixels, label, name, tuple(skipped))
                skipped = []


def _batches(items: Iterator[Item], size: int) -> Iterator[Batch]:
    while chunk := list(islice(items, size)):
        yield collate(chunk)


def _array(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    check_array(stream, len(content))
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


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
