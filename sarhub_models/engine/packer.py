"""One shard after another of a split: written, read back, summed up."""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass, field
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from webdataset import TarWriter

from ..datasets import Sample
from ..errors import DataError, ImageError, SarHubError
from ..io.files import digests, replace_atomically
from .batches import damaged
from .readers import Scenes, amplitude
from .recipe import Data
from .seeds import generator
from .shard_format import Pixels, Shard, decode, encode, name_of, tar_samples
from .stream import MEND

_SEED = 0  # of the order; another one would change all shards


@dataclass
class Tally:
    """What some images and their labels add up to.

    Attributes:
        counts: samples of each class, int64 (C,).
        dtypes: of the images.
        shapes: of the images.
        low: smallest value.
        high: largest value.
        pixels: number of values.
        total: sum of the values.
        squares: sum of their squares.
    """

    counts: np.ndarray
    dtypes: set[str] = field(default_factory=set)
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    low: float = math.inf
    high: float = -math.inf
    pixels: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, sample: Sample) -> None:
        """Count a sample."""
        self.counts[sample.label if isinstance(sample.label, int) else sample.label.astype(bool)] += 1
        self.dtypes.add(sample.image.dtype.name)
        self.shapes.add(sample.image.shape)
        values = np.abs(sample.image).astype(np.float64)
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.pixels += values.size
        self.total += float(values.sum())
        self.squares += float(np.square(values).sum())

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.counts + other.counts,
            self.dtypes | other.dtypes,
            self.shapes | other.shapes,
            min(self.low, other.low),
            max(self.high, other.high),
            self.pixels + other.pixels,
            self.total + other.total,
            self.squares + other.squares,
        )

    def statistics(self) -> Pixels:
        """Return what the index says of the pixels."""
        mean = self.total / self.pixels
        std = math.sqrt(max(0.0, self.squares / self.pixels - mean**2))
        shapes, dtypes = sorted(self.shapes), sorted(self.dtypes)
        return Pixels(dtypes=dtypes, shapes=shapes, min=self.low, max=self.high, mean=mean, std=std)


class Report(NamedTuple):
    """What was found on reading a shard back: its line of the index, the damaged images it lacks, and its sums."""

    shard: Shard
    skipped: list[str]
    tally: Tally


class Packer(Dataset[Any]):
    """The shards of a split; reading item ``k`` makes shard ``k``, or checks the one that is there.

    An error is an item, too, so that it reaches the user without a worker's traceback.
    """

    def __init__(self, scenes: Scenes, data: Data, split: str, out: Path, shards: int) -> None:
        self.scenes, self.full_scale, self.skip = scenes, data.full_scale, data.on_error == "skip"
        self.split, self.out = split, out
        self.order = torch.randperm(len(scenes), generator=generator(_SEED, "pack", split)).tolist()
        # of almost equal sizes, so that all workers of a training have the same to read
        bounds = [number * len(scenes) // shards for number in range(shards + 1)]
        self.parts = list(starmap(range, pairwise(bounds)))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Report | SarHubError:
        """Return what is in a shard, or why there is none; IndexError beyond the last."""
        part = self.parts[number]
        file = self.out / f"{self.split}-{number:06d}.tar"
        try:
            return self._inspect(part, file, file.name) if file.is_file() else self._make(part, file)
        except SarHubError as err:
            return err
        except OSError as err:
            return DataError(f"cannot write {file}: {err}; with space and permission, the same command goes on")

    def _make(self, part: range, file: Path) -> Report:
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream, TarWriter(stream, user="", group="", mtime=0, encoder=False) as tar:
                for position in part:
                    if (sample := self._read(position)) is not None:
                        tar.write(encode(f"{position:08d}", sample))
            report = self._inspect(part, temporary, file.name)
            replace_atomically(temporary, file)
            return report
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _read(self, position: int) -> Sample | None:
        """Return a sample, or ``None`` for a damaged one that is to be skipped."""
        index = self.order[position]
        try:
            sample = self.scenes[index]
            amplitude(sample.image, self.full_scale)  # training could not use it either
            return sample
        except (ImageError, DataError) as err:
            if self.skip:
                return None
            raise damaged(self.scenes.names[index], err) from err

    def _inspect(self, part: range, file: Path, name: str) -> Report:
        """Read a shard back, and compare it with what it should hold."""
        tally, found = Tally(np.zeros(len(self.scenes.class_names), dtype=np.int64)), set()
        with file.open("rb") as stream:
            for raw in tar_samples(stream, str(file)):
                try:
                    sample, position = decode(raw, self.scenes.multilabel), int(raw["__key__"])
                except (DataError, ValueError) as err:
                    raise DataError(f"{file}, sample {name_of(raw)}: {err}; {MEND}") from err
                if position not in part or not self._same(sample, self.order[position]):
                    raise DataError(f"{file} holds {sample.name}, which is not expected there; {MEND}")
                found.add(position)
                tally.add(sample)
        missing = [position for position in part if position not in found]
        lost = [self.scenes.names[self.order[p]] for p in missing if self._read(p) is not None]
        if lost:
            raise DataError(f"{file} lacks {len(lost)} of {len(part)} samples, {lost[0]} first; {MEND}")
        shard = Shard(name=name, samples=len(found), bytes=file.stat().st_size, sha256=digests(file).sha256)
        return Report(shard, [self.scenes.names[self.order[position]] for position in missing], tally)

    def _same(self, sample: Sample, index: int) -> bool:
        return sample.name == self.scenes.names[index] and np.array_equal(sample.label, self.scenes.labels[index])
