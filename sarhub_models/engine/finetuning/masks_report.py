"""The report of a fine-tuning for masks, made from the masks that its weights file predicts: scores and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor

from ...datasets.segmentation.base import NO_LABEL
from ...datasets.windows.masks import MaskWindows
from ...features.masks import MaskPredictor, Masks
from ...io.figures import save_figure
from ...io.masks import mask_colors, read_numbers
from ...io.tables import write_table
from ..report import plot_confusion
from ..tasks.segmentation import class_iou, mask_scores

matplotlib.use("agg")
from matplotlib import pyplot as plt

_PICTURES = 6
_SHOWN = (2, 98)  # percentiles of an image that are drawn black and white


def write_report(folder: Path, split: MaskWindows, name: str) -> tuple[dict[str, float], dict[str, float]]:
    """Predict the masks of a split from the weights file and write what came out.

    Leaves the folder ``<name>_masks``, ``<name>_scores.csv``, ``<name>_classes.csv`` (IoU, precision, recall and number
    of pixels of each class), ``<name>.png`` (confusion matrix) and ``<name>_pictures.png``.

    Args:
        folder: of the run.
        split: its images and masks.
        name: of the split.

    Returns:
        The scores of :func:`~sarhub_models.engine.tasks.segmentation.mask_scores`, and the IoU of each class.
    """
    names = [image.relative_to(split.root).as_posix() for image in split.images]
    found = MaskPredictor(folder).predict_files(split.images, out=folder / f"{name}_masks", names=names)
    confusion = count_pixels(found, split)
    scores, iou = mask_scores(confusion), class_iou(confusion)
    write_table(
        [{"score": key, "value": f"{value:.6f}"} for key, value in scores.items()], folder / f"{name}_scores.csv"
    )
    counts = confusion.double()
    columns = (iou, counts.diag() / counts.sum(dim=0), counts.diag() / counts.sum(dim=1), counts.sum(dim=1))
    write_table(
        [
            {"class": c, "iou": f"{i:.4f}", "precision": f"{p:.4f}", "recall": f"{r:.4f}", "pixels": int(n)}
            for c, i, p, r, n in zip(split.class_names, *(column.tolist() for column in columns), strict=True)
        ],
        folder / f"{name}_classes.csv",
    )
    plot_confusion(confusion, split.class_names, folder / f"{name}.png")
    _plot_pictures(split, found, folder / f"{name}_pictures.png")
    return scores, dict(zip(split.class_names, iou.tolist(), strict=True))


def count_pixels(found: Masks, split: MaskWindows) -> Tensor:
    """Return the confusion matrix of written masks, int64 (C, C), rows true and columns predicted."""
    classes = len(split.class_names)
    counts = np.zeros(classes * classes, np.int64)
    for index, file in enumerate(found.files):
        predicted, true = read_numbers(file).array[0].astype(np.int64), split.classes(index).astype(np.int64)
        known = (predicted != NO_LABEL) & (true != NO_LABEL)
        counts += np.bincount(true[known] * classes + predicted[known], minlength=classes * classes)
    return torch.from_numpy(counts.reshape(classes, classes))


def _plot_pictures(split: MaskWindows, found: Masks, file: Path) -> None:
    """Draw some images beside their masks, true and predicted."""
    chosen = np.linspace(0, len(split.images) - 1, min(_PICTURES, len(split.images))).round().astype(int).tolist()
    figure, grid = plt.subplots(len(chosen), 3, figsize=(9, 3 * len(chosen)), squeeze=False, layout="constrained")
    for axes, index in zip(grid, chosen, strict=True):
        band = np.abs(split.pixels(index)[0][0]).astype(np.float32)
        low, high = np.percentile(band, _SHOWN)
        axes[0].imshow(band, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        predicted = read_numbers(found.files[index]).array[0]
        for place, mask in ((1, split.classes(index)), (2, predicted)):
            axes[place].imshow(_colored(mask, split.class_names), interpolation="nearest")
        axes[0].set_ylabel(found.names[index][-40:], fontsize=6)
        for one in axes:
            one.set(xticks=[], yticks=[])
    for axes, title in zip(grid[0], ("image", "mask", "predicted"), strict=True):
        axes.set_title(title)
    colors = mask_colors(len(split.class_names))
    handles = [plt.Rectangle((0, 0), 1, 1, color=[c / 255 for c in colors[i]]) for i in range(len(colors))]
    figure.legend(handles, split.class_names, loc="outside lower center", ncols=min(6, len(colors)))
    save_figure(figure, file, dpi=100)
    plt.close(figure)


def _colored(mask: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    table = np.full((256, 4), 255, np.uint8)  # white: no class
    table[: len(class_names)] = mask_colors(len(class_names))
    return table[mask]
