"""The report of a fine-tuning for boxes, made from the boxes that its weights file predicts: scores and pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch

from ...datasets.windows.boxes import BoxWindows
from ...features.boxes import Boxes, BoxPredictor
from ...io.figures import save_figure
from ...io.tables import write_table
from ..tasks.detection import average_precision, box_scores

matplotlib.use("agg")
from matplotlib import pyplot as plt

_PICTURES = 6
_SURE = 0.3  # score from which a box is drawn
_SHOWN = (2, 98)  # percentiles of an image that are drawn black and white


def write_report(folder: Path, split: BoxWindows, name: str) -> tuple[dict[str, float], dict[str, float]]:
    """Predict the boxes of a split from the weights file and write what came out.

    Leaves ``<name>_boxes.json`` (COCO), ``<name>_scores.csv``, ``<name>_classes.csv`` (average precision and number of
    boxes of each class) and ``<name>_pictures.png``.

    Args:
        folder: of the run.
        split: its images and boxes.
        name: of the split.

    Returns:
        The scores of :data:`~sarhub_models.engine.tasks.detection.SCORES`, and the average precision of each class.
    """
    names = [image.relative_to(split.root).as_posix() for image in split.images]
    found = BoxPredictor(folder).predict_files(split.images, out=folder / f"{name}_boxes.json", names=names)
    scores, detail = score_boxes(found, split)
    rows = [{"score": key, "value": f"{value:.6f}"} for key, value in scores.items()]
    write_table(rows, folder / f"{name}_scores.csv")
    precision = dict(zip(split.class_names, detail, strict=True))
    counted = zip(precision.items(), split.counts().tolist(), strict=True)
    write_table(
        [{"class": key, "ap": f"{value:.4f}", "boxes": count} for (key, value), count in counted],
        folder / f"{name}_classes.csv",
    )
    _plot_pictures(split, found, folder / f"{name}_pictures.png")
    return scores, precision


def score_boxes(found: Boxes, split: BoxWindows) -> tuple[dict[str, float], list[float]]:
    """Return the scores of boxes in the images of a split, in their order, and the average precision of each class."""
    metric = average_precision()
    for one, true in zip(found.found, split.boxes, strict=True):
        metric.update(
            [
                {
                    "boxes": torch.from_numpy(one.boxes),
                    "scores": torch.from_numpy(one.scores),
                    "labels": torch.from_numpy(one.labels),
                }
            ],
            [{"boxes": torch.from_numpy(true[:, :4]), "labels": torch.from_numpy(true[:, 4]).long()}],
        )
    scores, detail = box_scores(metric, len(split.class_names))
    return scores, detail.tolist()


def _plot_pictures(split: BoxWindows, found: Boxes, file: Path) -> None:
    """Draw some images with their boxes, true and predicted."""
    chosen = np.linspace(0, len(split.images) - 1, min(_PICTURES, len(split.images))).round().astype(int).tolist()
    figure, grid = plt.subplots(-(-len(chosen) // 2), 2, figsize=(10, 5 * -(-len(chosen) // 2)), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, chosen, strict=False):
        band = np.abs(split.pixels(index)[0][0]).astype(np.float32)
        low, high = np.percentile(band, _SHOWN)
        axes.imshow(band, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
        axes.set_title(found.names[index][-40:], fontsize=7)
        one = found.found[index]
        sure = one.boxes[one.scores >= _SURE]
        for boxes, color in ((split.boxes[index][:, :4], "lime"), (sure, "red")):
            for x1, y1, x2, y2 in boxes.tolist():
                place = (x1 - 0.5, y1 - 0.5)  # pixel centers are whole numbers there
                axes.add_patch(plt.Rectangle(place, x2 - x1, y2 - y1, fill=False, color=color, linewidth=0.9))
    figure.suptitle(f"true: green; predicted with a score from {_SURE}: red", fontsize=9)
    figure.tight_layout()
    save_figure(figure, file, dpi=100)
    plt.close(figure)
