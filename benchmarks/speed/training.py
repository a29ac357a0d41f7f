"""A step of the training loop beside the same network in a plain float32 loop.

Run from a clone: ``python -m benchmarks.speed.training [--networks resnet18 swin_t] [--compile] [--json FILE]``. Both
loops see the same simulated chips, in turns, on the GPU if there is one. The plain one is what a tutorial would write:
contiguous float32 tensors, a DataLoader that prepares chip by chip, ``torch.optim.AdamW`` as it comes. Ours is
:class:`training.loop.Trainer` with a recipe's bfloat16 autocast, channels-last layout, fused optimiser, class-balanced
loss and batched DRAA.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from sarhub_models.datasets import Sample
from sarhub_models.networks import build
from sarhub_models.simulate import simulate_chips
from sarhub_models.transforms import SarTransform
from training.batches import Files
from training.loop import Trainer, make_accelerator
from training.recipe import load_recipe

from .timing import interleaved, print_table, write_report

PLAIN, OURS, COMPILED = "plain float32 loop", "training loop", "training loop, compiled"
BUDGETS = {"plain / this": 2.5, "waiting for data": 0.05, "DRAA and loss": 0.05}
DENSE_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # FLOP/s without sparsity, by the vendor's data sheets


class Chips:
    """Simulated chips with the interface of a reader."""

    multilabel = False

    def __init__(self, count: int, size: int) -> None:
        images, labels, self.class_names = simulate_chips(-(-count // 6), size)
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


def plain_loop(network: str, chips: Chips, batch_size: int, device: torch.device) -> Iterator[None]:
    """Train a step each time the next value is asked for."""
    p = load_recipe(f"{network}_osu").preprocess
    limits = p.range
    transform = SarTransform(
        p.operator, limits.low, limits.high, limits.evaluation, p.mean or 0, p.std or 1, p.size, training=True
    )
    pairs = [(image, label) for image, label, _ in (chips[index] for index in range(len(chips)))]
    loader = DataLoader(
        pairs,  # type: ignore[arg-type]
        batch_size,
        shuffle=True,
        drop_last=True,
        collate_fn=lambda batch: (torch.stack([transform(x) for x, _ in batch]), torch.tensor([y for _, y in batch])),
    )
    model = build(network, num_classes=len(chips.class_names)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    for images, labels in itertools.chain.from_iterable(itertools.repeat(loader)):
        loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        yield


def our_trainer(network: str, chips: Chips, batch_size: int, folder: Path, compiled: bool) -> Trainer:
    """Return the loop of a recipe over the same chips."""
    recipe = load_recipe(
        f"{network}_osu",
        [
            f"optim.batch_size={batch_size}",
            f"runtime.compile={compiled}".lower(),
            "data.workers=0",
            "optim.max_lr=1e-5",
        ],
    )
    source = Files(chips, recipe.data)
    return Trainer(recipe, source, source, folder, make_accelerator(recipe.runtime, 1))


def our_loop(trainer: Trainer) -> Iterator[None]:
    """Train a step each time the next value is asked for."""
    for batch in trainer.batches():
        trainer.train_step(batch).item()
        yield


def share_of_extras(trainer: Trainer, seconds_per_step: float) -> float:
    """Return the time of augmentation and loss, forward and backward, as a share of a step."""
    batch = next(trainer.batches())
    numbers = torch.rand(4, len(batch.names))
    logits = torch.randn(len(batch.names), trainer.classes, device=trainer.accelerator.device, requires_grad=True)

    def extras() -> None:
        trainer.augment(batch.images, numbers)
        trainer.loss(logits, batch.labels).backward()
        if logits.is_cuda:
            torch.cuda.synchronize()

    return statistics.median(interleaved({"extras": extras}, 20)["extras"]) / seconds_per_step


def share_of_peak(network: str, classes: int, images_per_second: float) -> str:
    """Return the achieved share of the GPU's dense bfloat16 peak, empty on other devices."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    peak = next((value for gpu, value in DENSE_BF16.items() if gpu in name), None)
    if peak is None:
        return ""
    with FlopCounterMode(display=False) as counter:
        build(network, num_classes=classes)(torch.zeros(2, 3, 128, 128)).sum().backward()
    return f"{counter.get_total_flops() / 2 * images_per_second / peak:.1%}"


def measure(network: str, batch_size: int, repeats: int, compiled: bool) -> list[dict[str, object]]:
    """Return one row for each loop: images per second, and the ratio to the plain one."""
    chips = Chips(64 * batch_size, 128)
    with tempfile.TemporaryDirectory() as folder:
        trainers = {OURS: our_trainer(network, chips, batch_size, Path(folder), False)}
        device = trainers[OURS].accelerator.device
        if compiled:
            trainers[COMPILED] = our_trainer(network, chips, batch_size, Path(folder), True)
        loops = {PLAIN: plain_loop(network, chips, batch_size, device)}
        loops |= {name: our_loop(trainer) for name, trainer in trainers.items()}
        calls: dict[str, Callable[[], object]] = {name: loop.__next__ for name, loop in loops.items()}
        for call in calls.values():  # compilation, and memory that is kept
            call()
        begun = {name: trainer.waited for name, trainer in trainers.items()}
        seconds = interleaved(calls, repeats)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    rows: list[dict[str, object]] = []
    for name, value in medians.items():
        row: dict[str, object] = {"network": network, "loop": name, "images/s": round(batch_size / value, 1)}
        row["plain / this"] = round(medians[PLAIN] / value, 2)
        if name in trainers:
            waited = (trainers[name].waited - begun[name]) / (repeats + 1)
            row["waiting for data"] = f"{waited / value:.1%}"
            row["DRAA and loss"] = f"{share_of_extras(trainers[name], value):.1%}"
        row["share of peak"] = share_of_peak(network, len(chips.class_names), batch_size / value)
        rows.append(row)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [{key: row.get(key, "") for key in keys} for row in rows]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and, where asked, write it as JSON."""
    parser = argparse.ArgumentParser(description="A step of the training loop beside a plain float32 loop.")
    parser.add_argument("--networks", nargs="+", default=["resnet18", "swin_t"], help="architectures")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=9, help="timed steps of each loop")
    parser.add_argument("--compile", action="store_true", help="the loop with torch.compile, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file, too")
    options = parser.parse_args(arguments)
    rows = [
        row
        for network in options.networks
        for row in measure(network, options.batch_size, options.repeats, options.compile)
    ]
    print_table(rows)
    if options.json is not None:
        write_report(options.json, "training", rows, torch=torch.__version__, budgets=BUDGETS)


if __name__ == "__main__":
    main()
