"""Made-up patches that a network learns to tell apart within seconds."""

from __future__ import annotations

import csv
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.run import open_splits
from sarhub_models.engine.trainer import Trainer, make_accelerator
from training.recipes import load_recipe

from .packed import data_of, pack

# Processes that begin with the training imported, else each would take seconds to start.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["training.pretrain"])


def write_part(file: Path, classes: list[str], per_split: int, seed: int) -> None:
    """Write a packed part: speckle with stripes whose spacing depends on the class."""
    rng = np.random.default_rng(seed)
    splits = np.repeat(["train", "val", "test"], per_split)
    labels = np.tile(np.arange(len(classes)), len(splits))
    splits = np.repeat(splits, len(classes))
    cycles = 2.0 * 4.0 ** (labels + seed)
    stripes = 1 + 0.95 * np.sin(2 * np.pi * cycles[:, None] * np.arange(64) / 64)
    iq = 100 * rng.normal(size=(len(labels), 64, 64, 2)) * stripes[:, None, :, None]
    names = np.array([f"{classes[c]}/{classes[c]}_A_HH_{100 * i}_0" for i, c in enumerate(labels)])
    arrays = {"iq": iq.astype(np.int16), "label": labels, "split": splits}
    np.savez_compressed(file, **arrays, name=names, classes=np.array(classes))


@pytest.fixture(scope="session")
def tiny_dsn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packed parts s1 (two classes) and tsx (one class), 16 patches of each class in every split."""
    folder = tmp_path_factory.mktemp("dsn")
    write_part(folder / "s1.npz", ["forest", "water"], per_split=16, seed=0)
    write_part(folder / "tsx.npz", ["ships"], per_split=16, seed=2)
    return folder


@pytest.fixture(scope="session")
def packed(tiny_dsn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 samples in eight shards, and a validation split; not to be changed."""
    out = tmp_path_factory.mktemp("shards")
    data = data_of("mobilenetv3_dsn", f"data.root={tiny_dsn}")
    pack(data, out, shards=8)
    pack(data, out, shards=2, split="val")
    return out


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_images(root: Path, counts: dict[str, int], sizes: tuple[tuple[int, int], ...] = ((40, 40),)) -> Path:
    """Write a folder data set: images of speckle, of these sizes in turn, and one list that all three splits share."""
    rng = np.random.default_rng(0)
    lines = []
    for label, (name, count) in enumerate(sorted(counts.items())):
        (root / name).mkdir(parents=True)
        for index in range(count):
            size = sizes[len(lines) % len(sizes)]
            np.save(root / name / f"{index}.npy", (1 + label) / 4 * rng.random(size, dtype=np.float32))
            lines.append(f"{name}/{index}.npy {label}\n")
    for split in ("train", "val", "test"):
        (root / f"{split}.txt").write_text("".join(lines))
    return root


def tiny(name: str, root: Path, *assignments: str) -> Recipe:
    """A recipe with everything as small as it gets, and nothing random but the order and the first weights."""
    values = ("preprocess.size=32", "preprocess.draa=false", "augment.geometry=none", "augment.cutmix=0")
    sizes = ("optim.epochs=1", "optim.batch_size=8", "optim.ema=null", "model.drop_rate=0", "model.drop_path_rate=0")
    computed = ("runtime.threads=1", "runtime.precision=fp32", "data.workers=0", f"data.root={root}")
    return load_recipe(name, [*values, *sizes, *computed, *assignments])


def fit(recipe: Recipe, out: Path) -> Trainer:
    """Train without figures and tables."""
    out.mkdir()
    trainer = Trainer(recipe, *open_splits(recipe), out, make_accelerator(recipe.runtime, recipe.optim.accumulate))
    assert trainer.run(lambda step, loss: None, lambda row: None)
    return trainer


def read_rows(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's metrics.csv."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]
