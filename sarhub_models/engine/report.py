"""Tables and figures of a run's folder: metrics.csv, curves and a confusion matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from torch import Tensor

matplotlib.use("agg")
from matplotlib import pyplot as plt

from ..io.figures import save_figure

# Columns of an epoch's row that are no scores.
RUNNING = ("epoch", "loss", "learning_rate", "images_per_second", "waiting_for_data", "skipped")


def plot_curves(rows: Sequence[Mapping[str, float]], file: Path) -> None:
    """Draw the loss and the validation scores over the epochs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    epochs = [row["epoch"] for row in rows]
    left.plot(epochs, [row["loss"] for row in rows], marker="." if len(rows) < 30 else None)
    left.set(xlabel="epoch", ylabel="training loss")
    for name in rows[0]:
        if name not in RUNNING:
            right.plot(epochs, [row[name] for row in rows], label=name.replace("_", " "))
    right.set(xlabel="epoch", ylabel="validation", ylim=(0, 1))
    if right.lines:
        right.legend()
    save_figure(figure, file, dpi=150)
    plt.close(figure)


def plot_detail(detail: Tensor, class_names: Sequence[str], file: Path, *, label: str = "F1") -> None:
    """Draw a confusion matrix (C, C), or one number of each class (C,), which are a ``label``."""
    if detail.ndim == 2:
        plot_confusion(detail, class_names, file)
        return
    figure, axes = plt.subplots(figsize=(7, 1 + 0.3 * len(class_names)), layout="constrained")
    axes.barh(range(len(class_names)), detail.tolist())
    axes.set_yticks(range(len(class_names)), [name[:60] for name in class_names])
    axes.invert_yaxis()
    axes.set(xlabel=label, xlim=(0, 1))
    save_figure(figure, file, dpi=150)
    plt.close(figure)


def plot_confusion(counts: Tensor, class_names: Sequence[str], file: Path) -> None:
    """Draw a confusion matrix (C, C) with rows of true classes; colors are shares of the row."""
    shares = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    side = 2.5 + 0.4 * len(class_names)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    for row, column in counts.nonzero().tolist():
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(int(counts[row, column])), ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(len(class_names)), class_names, rotation=90)
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set(xlabel="predicted", ylabel="true")
    save_figure(figure, file, dpi=150)
    plt.close(figure)


def plot_calibration(chances: Mapping[str, Tensor], labels: Tensor, file: Path, *, bins: int = 10) -> None:
    """Draw the share of what is right over the confidence, which both should be.

    Args:
        chances: probabilities (N, C), by what they are called.
        labels: int64 (N,), or zeros and ones (N, C).
        file: to write.
        bins: of the confidence.
    """
    figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    for name, values in chances.items():
        if labels.ndim == 2:
            confidence, right = values.flatten(), labels.flatten().float()
        else:
            confidence, predicted = values.max(dim=1)
            right = (predicted == labels).float()
        place = (confidence * bins).long().clamp(max=bins - 1)
        points = [(confidence[place == b].mean(), right[place == b].mean()) for b in range(bins) if (place == b).any()]
        axes.plot(*zip(*points, strict=True), marker=".", label=name)
    axes.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    save_figure(figure, file, dpi=150)
    plt.close(figure)
