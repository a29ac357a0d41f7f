"""A step of the training loop beside the same network in a plain float32 loop.

Run from a clone: ``python -m benchmarks.speed.training [--networks resnet18 swin_t] [--compile] [--json FILE]``. Both
loops see the same simulated chips, in turns, each in a process of its own, on the GPU if there is one. The plain one is
what a tutorial would write: contiguous float32 tensors, a DataLoader that prepares chip by chip, ``torch.optim.AdamW``
as it comes. Ours is :class:`.Trainer` with a recipe's bfloat16 autocast, channels-last layout, fused
optimizer, class-balanced loss and batched DRAA, and memory that is kept from step to step.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from sarhub_models.datasets.recognition.base import Sample
from sarhub_models.datasets.simulated import CLASS_NAMES, simulate_chips
from sarhub_models.engine.augment import make_transform
from sarhub_models.engine.batches import Batch, Files
from sarhub_models.engine.memory import keep_freed_memory
from sarhub_models.engine.recipe import Recipe
from sarhub_models.engine.sections import Augment
from sarhub_models.engine.trainer import Trainer, make_accelerator
from sarhub_models.networks import build, spec
from training.recipes import load_recipe

from .timing import interleaved, print_table, write_report

PLAIN, OURS, COMPILED = "plain float32 loop", "training loop", "training loop, compiled"
BUDGETS = {"plain / this": 2.5, "waiting for data": 0.05, "DRAA and loss": 0.05}
DENSE_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # FLOP/s without sparsity, by the vendor's data sheets
SIZE, BATCHES = 128, 16
Steps = Iterator[dict[str, float]]


class Chips:
    """Simulated chips with the interface of a reader."""

    multilabel = False

    def __init__(self, count: int, size: int) -> None:
        images, labels, self.class_names = simulate_chips(-(-count // len(CLASS_NAMES)), size=size)
        order = np.random.default_rng(0).permutation(len(images))
        self.images, self.labels = images[order], labels[order]
        self.names = tuple(str(index) for index in order)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        """Return one chip."""
        return Sample(self.images[index], int(self.labels[index]), self.names[index])

    def counts(self) -> np.ndarray:
        """Return the chips of each class."""
        return np.bincount(self.labels, minlength=len(self.class_names))


def _network(name: str, classes: int) -> nn.Module:
    sized: dict[str, Any] = {"img_size": SIZE} if "img_size" in spec(name).timm_args else {}
    return build(name, num_classes=classes, **sized)


@dataclass(frozen=True)
class Setup:
    """Network, data and recipe that both loops train.

    Attributes:
        network: architecture.
        batch_size: chips of a step; ``None`` takes the recipe's.
    """

    network: str
    batch_size: int | None

    def recipe(self, compiled: bool = False) -> Recipe:
        """Return the recipe whose preprocessing both use."""
        values = {"runtime.compile": str(compiled).lower(), "data.workers": 0, "optim.max_lr": 1e-5}
        if self.batch_size is not None:
            values["optim.batch_size"] = self.batch_size
        return load_recipe(f"{self.network}_osu", [f"{key}={value}" for key, value in values.items()])


def plain_loop(setup: Setup) -> Steps:
    """Train a step each time the next value is asked for."""
    recipe = setup.recipe()
    p, batch_size = recipe.preprocess, recipe.optim.batch_size
    chips, device = Chips(BATCHES * batch_size, SIZE), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transform = make_transform(p, p.mean or 0, p.std or 1, augment=Augment())
    pairs = [(image, label) for image, label, _ in (chips[index] for index in range(len(chips)))]
    loader: DataLoader[Any] = DataLoader(
        pairs,  # type: ignore[arg-type]
        batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=lambda batch: (torch.stack([transform(x) for x, _ in batch]), torch.tensor([y for _, y in batch])),
    )
    model = _network(setup.network, len(chips.class_names)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for images, labels in itertools.chain.from_iterable(itertools.repeat(loader)):
        loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        yield {}


def our_loop(setup: Setup, compiled: bool) -> Steps:
    """Train a step each time the next value is asked for; yields the seconds waited for data, and of the extras."""
    recipe = setup.recipe(compiled)
    accelerator = make_accelerator(recipe.runtime, 1)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    source = Files(Chips(BATCHES * recipe.optim.batch_size, SIZE), recipe.data)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(recipe, source, source, Path(folder), accelerator)
        waited, extras = 0.0, math.nan
        for batch in trainer.batches():
            trainer.train_step(batch).item()
            if trainer.step == 2:  # once, in a step that is not timed
                extras = seconds_of_extras(trainer, batch)
            yield {"waited": trainer.waited - waited, "extras": extras}
            waited = trainer.waited


def seconds_of_extras(trainer: Trainer, batch: Batch) -> float:
    """Return the time of augmentation and loss, forward and backward."""
    numbers = torch.rand(4, len(batch.names))
    logits = torch.randn(
        len(batch.names), len(trainer.train.class_names), device=trainer.accelerator.device, requires_grad=True
    )

    def extras() -> None:
        trainer.objective.transform(batch.images, numbers=numbers)
        trainer.objective.loss(logits, batch.labels).backward()
        if logits.is_cuda:
            torch.cuda.synchronize()

    return statistics.median(interleaved({"extras": extras}, 20)["extras"])


class Peer:
    """A loop in a process of its own: what one does to its process, such as to its memory, the other does not feel.

    Attributes:
        noted: what the loop has yielded, step by step.
    """

    def __init__(self, loop: Callable[..., Steps], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, loop, *arguments), daemon=True)
        self._process.start()
        theirs.close()  # or the end of the process would not be seen
        self.noted: list[dict[str, float]] = []

    def step(self) -> None:
        """Train a step."""
        self._connection.send(True)
        self.noted.append(self._connection.recv())

    def close(self) -> None:
        """End the process."""
        self._connection.send(False)
        self._process.join()


def _serve(connection: Connection, loop: Callable[..., Steps], *arguments: object) -> None:
    steps = loop(*arguments)
    while connection.recv():
        connection.send(next(steps))


def share_of_peak(network: str, images_per_second: float) -> str:
    """Return the achieved share of the GPU's dense bfloat16 peak, empty on other devices."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for gpu, value in DENSE_BF16.items() if gpu in name), None)
    if peak is None:
        return ""
    with FlopCounterMode(display=False) as counter:
        _network(network, len(CLASS_NAMES))(torch.zeros(2, 3, SIZE, SIZE)).sum().backward()
    return f"{counter.get_total_flops() / 2 * images_per_second / peak:.1%}"


def measure(setup: Setup, repeats: int, compiled: bool) -> list[dict[str, object]]:
    """Return one row for each loop: images per second, and the ratio to the plain one."""
    peers = {PLAIN: Peer(plain_loop, setup), OURS: Peer(our_loop, setup, False)}
    if compiled:
        peers[COMPILED] = Peer(our_loop, setup, True)
    for peer in peers.values():  # compilation, and memory that is kept
        peer.step()
    seconds = interleaved({name: peer.step for name, peer in peers.items()}, repeats)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    batch_size = setup.recipe().optim.batch_size
    rows: list[dict[str, object]] = []
    for name, peer in peers.items():
        peer.close()
        rate = batch_size / medians[name]
        row: dict[str, object] = {"network": setup.network, "loop": name, "images/s": round(rate, 1)}
        row["plain / this"] = round(medians[PLAIN] / medians[name], 2)
        if name != PLAIN:
            waited = sum(noted["waited"] for noted in peer.noted[-repeats:])
            row["waiting for data"] = f"{waited / sum(seconds[name]):.1%}"
            row["DRAA and loss"] = f"{peer.noted[-1]['extras'] / medians[name]:.1%}"
        row["share of peak"] = share_of_peak(setup.network, rate)
        rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [{key: row.get(key, "") for key in keys} for row in rows]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="A step of the training loop beside a plain float32 loop.")
    parser.add_argument("--networks", nargs="+", default=["resnet18", "swin_t"], help="architectures")
    parser.add_argument("--batch-size", type=int, help="chips of a step [the recipe's]")
    parser.add_argument("--repeats", type=int, default=9, help="timed steps of each loop")
    parser.add_argument("--compile", action="store_true", help="the loop with torch.compile, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    rows = [
        row
        for network in options.networks
        for row in measure(Setup(network, options.batch_size), options.repeats, options.compile)
    ]
    print_table(rows)
    if options.json is not None:
        write_report(options.json, "training", rows, torch=torch.__version__, budgets=BUDGETS)


if __name__ == "__main__":
    main()
