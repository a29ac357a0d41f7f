"""A run's folder: weights, recipe and numbers, written after training and read back for evaluation and bundling."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import nn

from sarhub_models.errors import DataError
from sarhub_models.networks import build
from sarhub_models.transforms import SarTransform

from .data import Split, evaluation_transform, load_split
from .evaluate import confusion, predict, score
from .loop import Fitted, Row, fit
from .recipe import Recipe, from_dict
from .report import plot_confusion, plot_curves, write_csv

WEIGHTS, SUMMARY = "best.safetensors", "run.json"


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: where it lies.
        recipe: what was run.
        mean: of the pixels after the operator, on the training split.
        std: of the pixels after the operator, on the training split.
        class_names: name of each class.
        val: the validation scores of the kept epoch.
        seconds: how long training took.
    """

    folder: Path
    recipe: Recipe
    mean: float
    std: float
    class_names: tuple[str, ...]
    val: dict[str, float]
    seconds: float

    def transform(self) -> SarTransform:
        """Return the preprocessing at evaluation."""
        return evaluation_transform(self.recipe, self.mean, self.std)

    def model(self) -> nn.Module:
        """Return the network with the kept weights, in evaluation mode."""
        return load_model(self.folder / WEIGHTS, self.recipe.network, len(self.class_names))


def load_model(file: Path, network: str, num_classes: int) -> nn.Module:
    """Return a network with the weights of a safetensors file in float32, in evaluation mode."""
    model = build(network, num_classes=num_classes)
    model.load_state_dict({key: t.float() if t.is_floating_point() else t for key, t in load_file(file).items()})
    return model.eval()


def train(recipe: Recipe, data: Path, out: Path) -> Run:
    """Train, and leave weights, metrics.csv, curves.png and the validation split's confusion.png in ``out``.

    Raises:
        DataError: the data are not there.
    """
    splits = load_split(data, recipe, "train"), load_split(data, recipe, "val")
    out.mkdir(parents=True, exist_ok=True)
    (out / SUMMARY).unlink(missing_ok=True)
    started = time.monotonic()
    fitted = _fit_with_bar(recipe, *splits, out / "metrics.csv")
    seconds = time.monotonic() - started
    save_file(fitted.state, out / WEIGHTS)
    plot_curves(fitted.history, out / "curves.png")
    summary = {
        "recipe": recipe.to_dict(),
        "mean": fitted.mean,
        "std": fitted.std,
        "class_names": splits[0].class_names,
        "val": {name: value for name, value in fitted.best.items() if name not in ("epoch", "loss")},
        "best_epoch": fitted.best["epoch"],
        "seconds": round(seconds, 1),
    }
    # Last, so that a folder with this file holds a whole run.
    (out / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    run = load_run(out)
    evaluate_split(run, splits[1], out / "confusion_val.png")
    return run


def load_run(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        DataError: the folder holds no finished run.
    """
    file = folder / SUMMARY
    if not file.is_file():
        raise DataError(
            f"expected a finished run in {folder}, found no {SUMMARY}; train it: python -m training.pretrain"
        )
    values = json.loads(file.read_text(encoding="utf-8"))
    return Run(
        folder=folder,
        recipe=from_dict(values["recipe"]),
        mean=values["mean"],
        std=values["std"],
        class_names=tuple(values["class_names"]),
        val=values["val"],
        seconds=values["seconds"],
    )


def evaluate_split(run: Run, split: Split, figure: Path) -> dict[str, float]:
    """Score the kept weights on a split and draw its confusion matrix."""
    logits = predict(run.model(), split.amplitude, run.transform())
    plot_confusion(confusion(logits, split.labels, len(run.class_names)), run.class_names, figure)
    return score(logits, split.labels, len(run.class_names))


def _fit_with_bar(recipe: Recipe, train_split: Split, val_split: Split, table: Path) -> Fitted:
    """Train with a progress bar; the table grows with every epoch, so that it can be watched."""
    rows: list[Row] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bars:
        task = bars.add_task(f"{recipe.network} {recipe.operator}", total=recipe.epochs)

        def report(row: Row) -> None:
            rows.append(row)
            write_csv(rows, table)
            text = f"loss {row['loss']:.3f}  val accuracy {row['overall_accuracy']:.3f}"
            bars.update(task, advance=1, description=text)

        return fit(recipe, train_split, val_split, report)


def use_threads(count: int | None) -> None:
    """Limit torch to so many CPU threads, or leave its choice."""
    if count is not None:
        torch.set_num_threads(count)
