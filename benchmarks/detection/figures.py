"""Images with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.mm.figures import panel_grid, show_image

__all__ = ["Boxes", "box_figure"]

_TRUTH, _FOUND = "#009E73", "#E69F00"


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image.

    Attributes:
        boxes: (K, 4), x and y of the upper left corner, width, height, in pixels.
        scores: (K,) in [0, 1], or ``None`` for the truth.
    """

    boxes: np.ndarray
    scores: np.ndarray | None = None


def box_figure(rows: Sequence[tuple[np.ndarray, Sequence[Boxes]]], titles: Sequence[str]) -> Figure:
    """Draw a row for each image, in which every panel shows the image with other boxes.

    Args:
        rows: the image (H, W), and the boxes of each panel, as many as ``titles``.
        titles: of the columns.
    """
    figure, panels = panel_grid([image for image, *_ in rows], titles, 3.2)
    for line, (image, columns) in zip(panels, rows, strict=True):
        for axes, boxes in zip(line, columns, strict=True):
            show_image(axes, image)
            _draw(axes, boxes)
    return figure


def _draw(axes: Axes, boxes: Boxes) -> None:
    color = _TRUTH if boxes.scores is None else _FOUND
    for index, (x, y, width, height) in enumerate(boxes.boxes.tolist()):
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=color, linewidth=1))
        if boxes.scores is not None:
            style: dict[str, Any] = {"textcoords": "offset points", "size": 5, "color": color}
            axes.annotate(f"{boxes.scores[index]:.2f}", (x, y), (0, 1), **style)
