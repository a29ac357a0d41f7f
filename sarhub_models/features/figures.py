"""Draw the pictures of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from ..io.images import read_image
from .probe import Scores

__all__ = ["chips_figure", "comparison_figure"]

_COLUMNS = 4
_COLORS = 20  # of the color map; more classes than that share colors
_CHIPS = 8  # of each class


def comparison_figure(
    title: str,
    features: Mapping[str, np.ndarray],
    scores: Mapping[str, Scores],
    similarity: np.ndarray,
    labels: np.ndarray | None,
) -> Figure:
    """Draw accuracies (with labels), similarities, and each network's map of the chips.

    Args:
        title: of the figure.
        features: of the chips, (N, D), by network.
        scores: by network; empty without labels.
        similarity: of each pair of networks, (networks, networks).
        labels: class of each chip (N,), or ``None``.
    """
    classes = np.unique(labels).tolist() if labels is not None else []
    columns = min(_COLUMNS, len(features))
    rows = math.ceil(len(features) / columns)
    figure = Figure(figsize=(max(14, 4.4 * columns), 4.6 + 4.2 * rows), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[4.6, 4.2 * rows])
    top, bottom = halves
    figure.suptitle(title)
    left, right = top.subplots(1, 2)
    _draw_scores(left, list(features), scores, len(classes))
    _draw_similarity(right, list(features), similarity)
    axes = bottom.subplots(rows, columns, squeeze=False).ravel()
    for axis, (name, values) in zip(axes, features.items(), strict=False):
        _draw_map(axis, name, values, labels, classes)
    for axis in axes[len(features) :]:
        axis.set_axis_off()
    if classes:
        handles, texts = axes[0].get_legend_handles_labels()
        bottom.legend(handles, texts, loc="outside lower center", ncols=6, fontsize=8, markerscale=2)
    return figure


def chips_figure(files: Sequence[Path], labels: np.ndarray | None) -> Figure:
    """Draw some chips of each class (N,), each with its own contrast: two may differ a hundredfold in amplitude."""
    groups = np.zeros(len(files)) if labels is None else labels
    classes = np.unique(groups)
    figure = Figure(figsize=(1.2 * _CHIPS, 1.4 * len(classes)), layout="constrained")
    axes: Any = figure.subplots(len(classes), _CHIPS, squeeze=False)
    for row, label in zip(axes, classes, strict=True):
        members = np.flatnonzero(groups == label)
        for axis, index in zip(row, members[:: max(1, len(members) // _CHIPS)], strict=False):
            image = read_image(files[index], band=1, nodata="fill")
            if np.iscomplexobj(image) or image.min() >= 0:  # not dB
                image = np.sqrt(np.abs(image))
            low, high = np.percentile(image, (1, 99))
            axis.imshow(image, cmap="gray", vmin=low, vmax=high)
        for axis in row:
            axis.set_axis_off()
        if labels is not None:
            row[0].set_title(label, fontsize=8, loc="left")
    return figure


def _draw_scores(axis: Any, names: Sequence[str], scores: Mapping[str, Scores], classes: int) -> None:
    if not scores:
        axis.text(0.5, 0.5, "no labels, no accuracies", ha="center", va="center")
        axis.set_axis_off()
        return
    places = np.arange(len(names))[::-1]
    for offset, field, label in ((0.2, "knn", "kNN"), (-0.2, "linear", "linear probe")):
        values = [getattr(scores[name], field) for name in names]
        bars = axis.barh(places + offset, values, 0.38, label=label)
        axis.bar_label(bars, [f"{value:.3f}" for value in values], padding=3, fontsize=8)
    axis.set_yticks(places, names, fontsize=8)
    axis.set(xlim=(0, 1.12), xlabel="accuracy")
    axis.axvline(1 / classes, color="black", linewidth=0.8, linestyle=":", label="chance")
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)


def _draw_similarity(axis: Any, names: Sequence[str], similarity: np.ndarray) -> None:
    axis.imshow(similarity, vmin=0, vmax=1, cmap="viridis")
    for (row, column), value in np.ndenumerate(similarity):
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    places = range(len(names))
    axis.set_xticks(places, names, rotation=20, ha="right", fontsize=8)
    axis.set_yticks(places, names, fontsize=8)
    axis.set_title("similarity of features (linear CKA)", fontsize=10)


def _draw_map(axis: Any, name: str, features: np.ndarray, labels: np.ndarray | None, classes: Sequence[str]) -> None:
    components = PCA(min(2, *features.shape), svd_solver="randomized", random_state=0)
    points = components.fit_transform(StandardScaler().fit_transform(features))
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    if labels is None:
        axis.scatter(*points.T, s=6)
    for number, label in enumerate(classes):
        color = colormaps["tab20"](number % _COLORS)
        axis.scatter(*points[labels == label].T, s=6, color=color, label=label)
    axis.set_title(f"{name}: principal components", fontsize=9)
    axis.set(xticks=[], yticks=[])
