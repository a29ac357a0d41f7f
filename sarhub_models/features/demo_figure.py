"""The pictures of the demo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from .demo import Task

__all__ = ["draw"]

_COLOURS = {"pre-trained": "tab:blue", "untrained": "tab:gray"}
_CHIPS = 8  # pictures of each class


def draw(
    folder: Path,
    model: str,
    tasks: Sequence[Task],
    features: Mapping[str, Mapping[str, np.ndarray]],
    accuracy: Mapping[str, Mapping[str, np.ndarray]],
    counts: Mapping[str, tuple[int, ...]],
) -> tuple[Path, ...]:
    """Write ``demo.png`` (accuracies and features) and ``chips.png`` (some chips of each class).

    Args:
        folder: where to write.
        model: name of the weights, for the title.
        tasks: the chips.
        features: of the tested chips, (M, D), by title of the task and network.
        accuracy: (numbers of labels, draws) in [0, 1], by title of the task and network.
        counts: numbers of labels per class, by title of the task.

    Returns:
        The files.
    """
    figure = Figure(figsize=(15, 4.4 * len(tasks)), layout="constrained")
    figure.suptitle(f"{model}: a linear classifier from a few labels per class")
    axes = figure.subplots(len(tasks), 3, squeeze=False)
    for row, task in zip(axes, tasks, strict=True):
        _draw_accuracy(row[0], task, accuracy[task.title], counts[task.title])
        for axis, (name, values) in zip(row[1:], features[task.title].items(), strict=True):
            _draw_components(axis, values, task, name)
        row[2].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, markerscale=2)
    files = (folder / "demo.png", folder / "chips.png")
    figure.savefig(files[0], dpi=110)
    _draw_chips(tasks).savefig(files[1], dpi=110)
    return files


def _draw_accuracy(axis: Any, task: Task, accuracy: Mapping[str, np.ndarray], counts: tuple[int, ...]) -> None:
    for name, values in accuracy.items():
        axis.errorbar(
            counts, values.mean(axis=1), values.std(axis=1), marker="o", capsize=3, label=name, color=_COLOURS[name]
        )
    axis.axhline(1 / len(task.class_names), color="black", linewidth=0.8, linestyle=":", label="chance")
    axis.set(
        title=task.title,
        xlabel="labels per class",
        ylabel="balanced accuracy (mean and sd of the draws)",
        xscale="log",
        ylim=(0, 1),
    )
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.minorticks_off()
    axis.legend()


def _draw_components(axis: Any, features: np.ndarray, task: Task, name: str) -> None:
    components = PCA(2, svd_solver="randomized", random_state=0)  # two of a thousand: many times faster than all
    points = components.fit_transform(StandardScaler().fit_transform(features))
    for label, class_name in enumerate(task.class_names):
        axis.scatter(*points[task.test_labels == label].T, s=8, label=class_name)
    axis.set(title=f"{name}: principal components", xticks=[], yticks=[])


def _draw_chips(tasks: Sequence[Task]) -> Figure:
    rows = [(task, label) for task in tasks for label in range(len(task.class_names))]
    figure = Figure(figsize=(1.2 * _CHIPS, 1.4 * len(rows)), layout="constrained")
    for axis, (task, label) in zip(figure.subplots(len(rows), squeeze=False)[:, 0], rows, strict=True):
        chips = task.test[task.test_labels == label][:_CHIPS]
        axis.imshow(np.concatenate([_picture(chip) for chip in chips], axis=1), cmap="gray")
        axis.set_title(task.class_names[label], fontsize=8, loc="left")
        axis.set_axis_off()
    return figure


def _picture(chip: np.ndarray) -> np.ndarray:
    """Return a chip with its own contrast, as the brightest pixels of two chips may differ a hundredfold."""
    root = np.sqrt(chip)
    return np.clip(root / max(np.percentile(root, 99), 1e-12), 0, 1)
