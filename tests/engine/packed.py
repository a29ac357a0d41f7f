"""Small data sets, the shards made of them, how they are read, and ways to damage a shard."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sarhub_models.engine.batches import Batch, Plan, Rank
from sarhub_models.engine.readers import open_split
from sarhub_models.engine.sections import Data
from sarhub_models.engine.shards import Index, Shards
from tests.datasets.scenes import pixels, write_bigearthnet_patch, write_npy, write_png
from training.pack import pack_split
from training.recipes import load_recipe

STEPS, BATCH = 5, 4


def write_folder(root: Path, classes: int = 3, each: int = 8) -> Path:
    """Write a folder for each class, with PNG and .npy of two sizes, and a list train.txt sorted by class."""
    lines = []
    for label in range(classes):
        for number in range(each):
            stem, seed = f"{'abc'[label]}/{number}", 100 * label + number
            write_png(root / f"{stem}.png", seed) if number % 2 else write_npy(root / f"{stem}.npy", seed)
            if number == 0:
                np.save(root / f"{stem}.npy", pixels(seed, 12))
            lines.append(f"{stem} {label}")
    (root / "train.txt").write_text("\n".join(lines))
    return root


def write_bigearthnet(root: Path, count: int = 6) -> Path:
    """Write patches with one to three labels, and a list train.txt."""
    lines = []
    for number in range(count):
        name = f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_61_{number}"
        write_bigearthnet_patch(root, name, ["Pastures"], seed=number)
        lines.append(f"{name} {','.join(str(label) for label in range(number % 3, 3))}")
    (root / "train.txt").write_text("\n".join(lines))
    return root


def data_of(recipe: str, *assignments: str) -> Data:
    return load_recipe(recipe, ["data.workers=0", *assignments]).data


def pack(data: Data, out: Path, shards: int, split: str = "train", **options: int) -> Index:
    return pack_split(open_split(data, split), data, split, out, shards, **options)


def member(file: Path, sample: str, suffix: str = "npy") -> tarfile.TarInfo:
    """Return the header of a file of the sample with this name."""
    with tarfile.open(file) as tar:
        notes = {info.name.split(".")[0]: info for info in tar if info.name.endswith(".json")}
        key = next(k for k, info in notes.items() if json.load(tar.extractfile(info))["name"] == sample)
        return tar.getmember(f"{key}.{suffix}")


def names_in(file: Path) -> list[str]:
    """Return the names of the samples of a shard, in order."""
    with tarfile.open(file) as tar:
        return [json.load(tar.extractfile(info))["name"] for info in tar if info.name.endswith(".json")]


def flip(file: Path, offset: int) -> None:
    """Change a byte of a file."""
    content = bytearray(file.read_bytes())
    content[offset] ^= 0xFF
    file.write_bytes(content)


def opened(location: Path | str, *assignments: str) -> Shards:
    return Shards(
        data_of("mobilenetv3_dsn", f"data.shards={location}", "data.shuffle_buffer=10", *assignments), "train"
    )


def plan(start: int = 0, process: Rank = Rank(), epochs: int = 2, steps: int = STEPS, seed: int = 0) -> Plan:
    return Plan(steps, epochs, BATCH, seed, process, start)


def names(batches: Iterator[Batch] | object) -> list[list[str]]:
    return [batch.names for batch in batches]


def flat(batches: list[list[str]]) -> list[str]:
    return [name for batch in batches for name in batch]
