"""The picture of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from .compare import Comparison

__all__ = ["draw"]

_COLUMNS = 4
_COLOURS = 20  # of the colour map; more classes than that share colours


def draw(file: Path, comparison: Comparison, features: Mapping[str, np.ndarray], labels: np.ndarray | None) -> None:
    """Write one picture: accuracies (with labels), similarities, and each network's map of the chips.

    Args:
        file: the PNG file.
        comparison: the numbers.
        features: of the chips, (N, D), by network.
        labels: class of each chip (N,), or ``None``.
    """
    columns = min(_COLUMNS, len(features))
    rows = math.ceil(len(features) / columns)
    figure = Figure(figsize=(max(14, 4.4 * columns), 4.6 + 4.2 * rows), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[4.6, 4.2 * rows])
    top, bottom = halves
    figure.suptitle(f"{comparison.images} chips, {comparison.protocol}")
    left, right = top.subplots(1, 2)
    _draw_scores(left, comparison)
    _draw_similarity(right, comparison)
    axes = bottom.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, values) in zip(axes, features.items(), strict=False):
        _draw_map(axis, name, values, labels, comparison.classes)
    for axis in axes[len(features) :]:
        axis.set_axis_off()
    if comparison.classes:
        handles, texts = axes[0].get_legend_handles_labels()
        bottom.legend(handles, texts, loc="outside lower center", ncols=6, fontsize=8, markerscale=2)
    figure.savefig(file, dpi=110)


def _draw_scores(axis: Any, comparison: Comparison) -> None:
    if not comparison.scores:
        axis.text(0.5, 0.5, "no labels, no accuracies", ha="center", va="center")
        axis.set_axis_off()
        return
    names = comparison.networks
    places = np.arange(len(names))[::-1]
    for offset, field, label in ((0.2, "neighbours", "nearest neighbours"), (-0.2, "linear", "linear probe")):
        values = [getattr(comparison.scores[name], field) for name in names]
        bars = axis.barh(places + offset, values, 0.38, label=label)
        axis.bar_label(bars, [f"{value:.3f}" for value in values], padding=3, fontsize=8)
    axis.set_yticks(places, names, fontsize=8)
    axis.set(xlim=(0, 1.12), xlabel="accuracy")
    axis.axvline(1 / len(comparison.classes), color="black", linewidth=0.8, linestyle=":", label="chance")
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)


def _draw_similarity(axis: Any, comparison: Comparison) -> None:
    axis.imshow(comparison.similarity, vmin=0, vmax=1, cmap="viridis")
    for (row, column), value in np.ndenumerate(comparison.similarity):
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    places = range(len(comparison.networks))
    axis.set_xticks(places, comparison.networks, rotation=20, ha="right", fontsize=8)
    axis.set_yticks(places, comparison.networks, fontsize=8)
    axis.set_title("similarity of features (linear CKA)", fontsize=10)


def _draw_map(axis: Any, name: str, features: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...]) -> None:
    from matplotlib import colormaps

    components = PCA(min(2, *features.shape), svd_solver="randomized", random_state=0)
    points = components.fit_transform(StandardScaler().fit_transform(features))
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    if labels is None:
        axis.scatter(*points.T, s=6)
    for number, label in enumerate(classes):
        colour = colormaps["tab20"](number % _COLOURS)
        axis.scatter(*points[labels == label].T, s=6, color=colour, label=label)
    axis.set_title(f"{name}: principal components", fontsize=9)
    axis.set(xticks=[], yticks=[])
